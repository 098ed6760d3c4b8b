"""Files of other projects: what is read, and what is refused."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from pdd_ray.core.errors import FormatError
from pdd_ray.interop.reference_files import (
    find_trajectories,
    read_condensation_result,
    read_idc,
    read_pdd_idc,
    read_stages,
    read_trajectories,
)
from pdd_ray.models import parameter_shapes
from pdd_ray.models.networks.convnet import ConvNetSpec

LAYOUT = parameter_shapes(ConvNetSpec(width=2, depth=1), (3, 4, 4), 2)
IMAGE = (3, 4, 4)


def expert(snapshots: int = 3, seed: int = 0) -> list[list[torch.Tensor]]:
    source = torch.Generator().manual_seed(seed)
    return [
        [torch.randn(shape, generator=source) for shape in LAYOUT.values()]
        for _ in range(snapshots)
    ]


def labelled(classes: int, per_class: int, value: float = 0.0) -> list[torch.Tensor]:
    labels = torch.arange(classes).repeat_interleave(per_class)
    return [torch.full((len(labels), *IMAGE), value), labels]


def save_union(folder: Path, images: torch.Tensor, labels: torch.Tensor, alpha: float) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(images, folder / "images_best.pt")
    torch.save(labels, folder / "labels_best.pt")
    torch.save(torch.tensor(alpha), folder / "syn_lr_best.pt")


def test_trajectories_are_read_as_flat_vectors(tmp_path: Path):
    experts = [expert(seed=0), expert(seed=1)]
    path = tmp_path / "replay_buffer_0.pt"
    torch.save(experts, path)
    got = read_trajectories(path, LAYOUT)
    assert got.shape == (2, 3, sum(math.prod(shape) for shape in LAYOUT.values()))
    for e in range(2):
        for t in range(3):
            flat = torch.cat([value.reshape(-1) for value in experts[e][t]])
            assert torch.equal(got[e, t], flat)


def test_trajectories_of_another_network_are_refused_by_name(tmp_path: Path):
    path = tmp_path / "replay_buffer_0.pt"
    torch.save([expert()], path)
    wider = parameter_shapes(ConvNetSpec(width=3, depth=1), (3, 4, 4), 2)
    with pytest.raises(FormatError, match=r"features\.0\.weight has shape \[2, 3, 3, 3\]"):
        read_trajectories(path, wider)
    deeper = parameter_shapes(ConvNetSpec(width=2, depth=2), (3, 4, 4), 2)
    with pytest.raises(FormatError, match="must have 10 entries, got 6"):
        read_trajectories(path, deeper)


def test_trajectories_that_never_move_are_refused(tmp_path: Path):
    path = tmp_path / "replay_buffer_0.pt"
    torch.save([[expert()[0]] * 3], path)
    with pytest.raises(FormatError, match="expert 0 ends where it starts"):
        read_trajectories(path, LAYOUT)


def test_experts_of_different_lengths_are_refused(tmp_path: Path):
    path = tmp_path / "replay_buffer_0.pt"
    torch.save([expert(3), expert(2)], path)
    with pytest.raises(FormatError, match=r"different numbers of snapshots: \[2, 3\]"):
        read_trajectories(path, LAYOUT)


@pytest.mark.parametrize("content", [[], {"a": 1}, [[]], [[[1.0]]], torch.zeros(3)])
def test_other_contents_are_refused(tmp_path: Path, content: object):
    path = tmp_path / "file.pt"
    torch.save(content, path)
    for read in (lambda p: read_trajectories(p, LAYOUT), read_idc, read_condensation_result):
        with pytest.raises(FormatError, match=r"file\.pt"):
            read(path)


def test_trajectory_files_come_in_the_order_of_their_numbers(tmp_path: Path):
    for number in (10, 2, *range(2), *range(3, 10)):
        (tmp_path / f"replay_buffer_{number}.pt").touch()
    (tmp_path / "images_best.pt").touch()
    numbers = [int(path.stem.rsplit("_", 1)[1]) for path in find_trajectories(tmp_path)]
    assert numbers == list(range(11))


def test_a_missing_trajectory_file_is_an_error(tmp_path: Path):
    for number in (0, 2):
        (tmp_path / f"replay_buffer_{number}.pt").touch()
    with pytest.raises(FormatError, match="got 0, 2"):
        find_trajectories(tmp_path)
    with pytest.raises(FormatError, match="is not a folder"):
        find_trajectories(tmp_path / "nothing")


def test_stages_are_what_each_added_to_the_union(tmp_path: Path):
    first, second = labelled(2, 1, 1.0), labelled(2, 1, 2.0)
    save_union(tmp_path / "interval1_epoch1-5", *first, 0.01)
    both = [torch.cat(pair) for pair in zip(first, second, strict=True)]
    save_union(tmp_path / "interval2_epoch6-10", *both, 0.02)
    stages = read_stages(tmp_path)
    assert [stage.step_size for stage in stages] == pytest.approx([0.01, 0.02])
    for stage, expected in zip(stages, (first, second), strict=True):
        assert torch.equal(stage.images, expected[0])
        assert torch.equal(stage.labels, expected[1])


def test_a_folder_without_stages_is_one_stage(tmp_path: Path):
    save_union(tmp_path, *labelled(2, 3), 0.5)
    (stage,) = read_stages(tmp_path)
    assert stage.images.shape == (6, *IMAGE)
    assert stage.step_size == 0.5


def test_a_stage_that_changed_earlier_images_is_refused(tmp_path: Path):
    save_union(tmp_path / "interval1_epoch1-5", *labelled(2, 1, 1.0), 0.01)
    save_union(tmp_path / "interval2_epoch6-10", *labelled(2, 2, 2.0), 0.01)
    with pytest.raises(FormatError, match="must be those of the stage before"):
        read_stages(tmp_path)


def test_a_missing_stage_or_file_is_refused(tmp_path: Path):
    save_union(tmp_path / "interval2_epoch6-10", *labelled(2, 1), 0.01)
    with pytest.raises(FormatError, match=r"numbered 1, 2, \.\.\.; got 2"):
        read_stages(tmp_path)
    with pytest.raises(FormatError, match=r"images_best\.pt can't be read: No such file"):
        read_stages(_without_images(tmp_path / "single"))


def _without_images(folder: Path) -> Path:
    save_union(folder, *labelled(2, 1), 0.01)
    (folder / "images_best.pt").unlink()
    return folder


def test_labels_must_fit_the_images(tmp_path: Path):
    images, labels = labelled(2, 2)
    save_union(tmp_path, images, labels[:3], 0.01)
    with pytest.raises(FormatError, match="got 4 images, 3 labels"):
        read_stages(tmp_path)
    save_union(tmp_path, images, labels.float(), 0.01)
    with pytest.raises(FormatError, match=r"labels must be torch\.int64"):
        read_stages(tmp_path)


def test_numpy_accuracies_are_read_as_numbers(tmp_path: Path):
    path = tmp_path / "res_DC_CIFAR10_ConvNet_1ipc.pt"
    accuracies = {"ConvNet": [np.float64(0.25), np.float32(0.5)], "MLP": [np.float64(0.125)]}
    torch.save({"data": [labelled(2, 1), labelled(2, 1, 3.0)], "accs_all_exps": accuracies}, path)
    result = read_condensation_result(path)
    assert result.accuracies == {"ConvNet": (0.25, 0.5), "MLP": (0.125,)}
    assert torch.equal(result.experiments[1].images, labelled(2, 1, 3.0)[0])


class Touch:
    """An object whose unpickling would create a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("read", [read_idc, read_condensation_result])
def test_code_in_a_file_is_refused_and_not_run(tmp_path: Path, read: Callable[[Path], object]):
    path, trace = tmp_path / "data.pt", tmp_path / "trace"
    torch.save([Touch(trace)], path)
    with pytest.raises(FormatError, match="nothing but tensors and numbers is accepted"):
        read(path)
    assert not trace.exists()


def test_numpy_objects_other_than_floats_are_refused(tmp_path: Path):
    path = tmp_path / "res.pt"
    for value in (np.int64(1), np.zeros(2), np.str_("a")):
        torch.save({"data": [labelled(2, 1)], "accs_all_exps": {"ConvNet": [value]}}, path)
        with pytest.raises(FormatError, match=r"res\.pt"):
            read_condensation_result(path)


def test_reading_does_not_widen_what_torch_allows_elsewhere(tmp_path: Path):
    path = tmp_path / "res.pt"
    torch.save({"data": [labelled(2, 1)], "accs_all_exps": {}}, path)
    before = set(torch.serialization.get_safe_globals())
    read_condensation_result(path)
    assert set(torch.serialization.get_safe_globals()) == before


@pytest.mark.parametrize("damage", [b"", b"not a tensor file", None])
def test_damaged_files_are_refused(tmp_path: Path, damage: bytes | None):
    path = tmp_path / "data.pt"
    if damage is None:
        torch.save(labelled(2, 50), path)
        damage = path.read_bytes()[:2000]
    path.write_bytes(damage)
    with pytest.raises(FormatError, match=r"data\.pt can't be read"):
        read_idc(path)


def test_rows_of_pdd_with_idc_have_the_stage_of_their_position(tmp_path: Path):
    path = tmp_path / "interval_2_data.pt"
    torch.save(labelled(2, 6), path)
    union = read_pdd_idc(path)
    assert union.stage.tolist() == [1, 2, 3] * 4
    assert union.labels.tolist() == [0] * 6 + [1] * 6


def test_unions_that_do_not_fit_their_name_are_refused(tmp_path: Path):
    path = tmp_path / "interval_3_data.pt"
    torch.save(labelled(2, 6), path)
    with pytest.raises(FormatError, match="multiple of 4"):
        read_pdd_idc(path)
    other = tmp_path / "data.pt"
    torch.save(labelled(2, 6), other)
    with pytest.raises(FormatError, match="interval_K_data"):
        read_pdd_idc(other)
    assert read_idc(other).images.shape == (12, *IMAGE)
