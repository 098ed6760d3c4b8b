"""Facts about event files: they are read back with TensorBoard's own reader."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import (
    IMAGES,
    TENSORS,
    EventAccumulator,
)
from tensorboard.plugins.hparams import metadata

from pdd_ray.configuration.method_registry import read_method
from pdd_ray.methods import stage
from pdd_ray.methods.tensorboard import TAGS, StageWriter
from pdd_ray.testing.tiny import MODEL, data_artifact, experts, step_context
from tests.methods.test_contract import SMALL

if TYPE_CHECKING:
    from pathlib import Path

ALL = 0
"""Size of the reservoir of a tag that keeps everything."""


def read(folder: Path) -> EventAccumulator:
    events = EventAccumulator(str(folder), {"scalars": ALL, IMAGES: ALL, TENSORS: ALL})
    return events.Reload()


def hyper_parameters(folder: Path) -> dict[str, Any]:
    """Return the hyper-parameters of the run in ``folder`` as its HParams tab shows them."""
    tag = metadata.SESSION_START_INFO_TAG
    plugin_data = read(folder).SummaryMetadata(tag).plugin_data.content
    values = metadata.parse_session_start_info_plugin_data(plugin_data).hparams
    return {name: getattr(value, value.WhichOneof("kind")) for name, value in values.items()}


def steps_and_values(events: EventAccumulator, tag: str) -> list[tuple[int, float]]:
    return [(event.step, event.value) for event in events.Scalars(tag)]


def picture(events: EventAccumulator, index: int) -> np.ndarray:
    """Return picture number ``index`` of the tag `images`, uint8 [H, W, C]."""
    encoded = events.Images("images")[index].encoded_image_string
    return np.asarray(Image.open(io.BytesIO(encoded)))


# --- the writer ----------------------------------------------------------------------------------


def test_hyper_parameters_are_there_while_the_stage_runs(tmp_path: Path):
    with StageWriter(tmp_path / "run") as writer:
        writer.hyper_parameters({"seed": 3, "method": {"name": "mtt", "momentum": 0.5}})
        found = hyper_parameters(tmp_path / "run")
    assert found == {"seed": 3.0, "method.name": "mtt", "method.momentum": 0.5}


def test_hyper_parameters_keep_their_types_and_what_has_none_becomes_text(tmp_path: Path):
    with StageWriter(tmp_path) as writer:
        writer.hyper_parameters(
            {"a": {"b": {"truth": True, "number": 2}}, "nothing": None, "list": [1, 2], "empty": {}}
        )
    found = hyper_parameters(tmp_path)
    assert found == {"a.b.truth": True, "a.b.number": 2.0, "nothing": "none", "list": "[1, 2]"}
    assert isinstance(found["a.b.truth"], bool)


def test_a_run_is_called_like_its_folder_in_the_hparams_tab(tmp_path: Path):
    with StageWriter(tmp_path / "pdd.seed0.stage1-01234567") as writer:
        writer.hyper_parameters({"seed": 0})
    events = read(tmp_path / "pdd.seed0.stage1-01234567")
    content = events.SummaryMetadata(metadata.SESSION_START_INFO_TAG).plugin_data.content
    info = metadata.parse_session_start_info_plugin_data(content)
    assert info.group_name == "pdd.seed0.stage1-01234567"


def test_scalars_have_the_tags_of_the_table_and_unknown_ones_their_name(tmp_path: Path):
    with StageWriter(tmp_path) as writer:
        writer.scalars(1, {name: 1.5 for name in TAGS})
        writer.scalars(2, {"loss": 0.5, "temperature": 2.0})
    events = read(tmp_path)
    assert set(events.Tags()["scalars"]) == {*TAGS.values(), "temperature"}
    assert steps_and_values(events, "loss") == [(1, 1.5), (2, 0.5)]


def test_a_picture_has_a_row_for_each_class(tmp_path: Path):
    # Two classes with three images of 2x2 pixels each, one value per image.
    values = torch.tensor([0.0, 0.2, 0.4, 0.6, 0.8, 1.0])
    with StageWriter(tmp_path) as writer:
        writer.images(7, values.view(-1, 1, 1, 1).expand(-1, 1, 2, 2), images_per_class=3)
    events = read(tmp_path)
    assert [event.step for event in events.Images("images")] == [7]
    grid = picture(events, 0)[..., 0]
    assert grid.shape == (2 * 3 + 1, 3 * 3 + 1)
    assert grid[1::3, 1::3][:, :3].tolist() == [[0, 51, 102], [153, 204, 255]]


# --- the run of a stage --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The artifacts that stages read."""
    folder = tmp_path_factory.mktemp("inputs")
    trajectories = experts(folder, count=1)
    (folder / "data").mkdir()
    return {"data": data_artifact(folder / "data"), "expert.0": trajectories[0].path.parent}


def run_stage(name: str, inputs: dict[str, Path], folder: Path) -> EventAccumulator:
    config = {
        "method": read_method({"name": name, **SMALL.get(name, {})}).to_json(),
        "model": MODEL.to_json(),
        "images_per_class": 2,
        "seed": 0,
        "stage": 1,
        "held_out": [100],
    }
    stage.run(step_context(folder, config, inputs))
    return read(folder / "tb")


@pytest.mark.parametrize("name", SMALL)
def test_every_method_writes_the_same_tags_for_the_same_quantities(
    name: str, trained: dict[str, Path], tmp_path: Path
):
    events = run_stage(name, trained, tmp_path)
    tags = set(events.Tags()["scalars"])
    assert {"loss", "step_size"} <= tags <= set(TAGS.values())
    assert ("validation/accuracy" in tags) == (name == "mtt")
    assert events.Tags()["images"] == ["images"]
    updates = SMALL[name]["iterations"]
    assert [step for step, _ in steps_and_values(events, "loss")] == list(range(1, updates + 1))


@pytest.mark.parametrize("name", ["mtt", "dm", "idc", "random"])
def test_the_last_picture_is_what_the_stage_hands_on(
    name: str, trained: dict[str, Path], tmp_path: Path
):
    events = run_stage(name, trained, tmp_path)
    shown = events.Images("images")
    assert [event.step for event in shown] == sorted({event.step for event in shown})
    saved = np.asarray(Image.open(tmp_path / "output/images.png"))
    assert np.array_equal(picture(events, -1), saved)


@pytest.mark.parametrize("name", ["mtt", "dm", "random"])
def test_the_last_scalars_are_those_of_what_the_stage_hands_on(
    name: str, trained: dict[str, Path], tmp_path: Path
):
    events = run_stage(name, trained, tmp_path)
    outcome = json.loads((tmp_path / "output/outcome.json").read_text(encoding="utf-8"))
    tags = {"step_size": "step_size", "validation_accuracy": "validation/accuracy"}
    for fact, tag in tags.items():
        if fact in outcome:
            step, value = steps_and_values(events, tag)[-1]
            assert value == pytest.approx(outcome[fact], rel=1e-6)
            assert step == events.Images("images")[-1].step


def test_the_hyper_parameters_of_a_stage_are_its_settings(trained: dict[str, Path], tmp_path: Path):
    run_stage("dm", trained, tmp_path)
    found = hyper_parameters(tmp_path / "tb")
    assert found["method.name"] == "dm"
    assert found["method.iterations"] == SMALL["dm"]["iterations"]
    assert found["model.width"] == MODEL.width
    assert (found["seed"], found["stage"], found["images_per_class"]) == (0, 1, 2)
    assert "held_out" not in found
