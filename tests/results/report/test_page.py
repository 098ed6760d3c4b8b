"""Facts about the page of a sweep: what it says, that it needs nothing else, its size."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from PIL import Image

import pdd_ray
from pdd_ray.configuration.load import Collection, load_sweep
from pdd_ray.core.errors import ConfigError
from pdd_ray.results.report import page as pages
from pdd_ray.results.report import progress
from pdd_ray.results.report.page import report_html, write_report, write_reports
from pdd_ray.results.report.pictures import SHOWN_HEIGHT
from pdd_ray.results.report.tables import applicable
from pdd_ray.results.saved_sweeps import find_saved_sweep, find_step, read_evaluations
from tests.results.report.page_parser import parse

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pdd_ray.core.store import Store
    from tests.results.report.page_parser import Page

EVIL = '<script>alert("1")</script> & </pre></details>'
NONE = "\N{EN DASH}"
STAGE = "pdd/seed0/stage2"


def undo(store: Store, label: str) -> str:
    """Take a step and what needs it out of the store, and return its key."""
    key = find_step(label, store).key
    gone = {key}
    for step in json.loads((store.sweep_folder("tiny") / "steps.json").read_text()):
        if gone & {step["key"], *step["inputs"].values()}:
            gone.add(step["key"])
            store.set_aside(step["key"])
    return key


def fail(store: Store, label: str, message: str, log: str) -> str:
    key = undo(store, label)
    store.record_failure(key, message)
    store.log_path(key).write_text(log, encoding="utf-8")
    return key


# --- what it says --------------------------------------------------------------------------------


def test_a_complete_sweep_says_so_and_counts_its_steps(page: Callable[[], Page]):
    made = page()
    assert "Complete: all 11 steps are done." in made.text
    rows = {row[0]: row[1:] for row in made.table("Steps by kind")}
    assert rows["kind"] == ["requested", "steps", "done", "started", "failed", "blocked", "to do"]
    # both experiments need the data, which is prepared once
    assert rows["data"] == ["2", "1", "1", *[NONE] * 4]
    assert rows["all"] == ["12", "11", "11", *[NONE] * 4]


def test_every_experiment_has_its_settings_stages_and_evaluations(page: Callable[[], Page]):
    made = page()
    assert [e.text for e in made.all("h3") if e.text in ("random", "pdd")] == ["random", "pdd"]
    settings = {row[0]: row[1] for row in made.table("Settings of pdd")}
    assert settings["method.name"] == "mtt"
    assert settings["stages"] == '2 times {"images_per_class": 1, "method": {}}'
    assert "evaluation.networks" not in settings
    header, *stages = made.table("Stages of pdd, seed 0")
    assert [row[:2] for row in stages] == [["stage1", "done"], ["stage2", "done"]]
    assert "first loss" in header
    assert len(made.table("Evaluations of pdd, seed 0")) == 3
    assert any("width: 4" in element.text for element in made.all("pre"))


def test_stages_have_their_loss_as_a_drawing_with_words(page: Callable[[], Page]):
    labels = [element.attributes["aria-label"] for element in page().all("svg")]
    assert any(re.match(r"loss of stage1: 2 values from \S+ to \S+, least", it) for it in labels)


def test_accuracies_are_those_of_the_records(page: Callable[[], Page], store: Store):
    _, finished = read_evaluations("tiny", store)
    (record,) = [record for record in finished if record.variant == "random"]
    row = page().table("Evaluations of random, seed 0")[1]
    assert row[5:7] == [
        f"{100 * record.test_accuracy:.2f}",
        f"{100 * record.validation_accuracy:.2f}",
    ]


def test_time_and_disk_are_those_of_the_manifests(page: Callable[[], Page], store: Store):
    steps = json.loads((store.sweep_folder("tiny") / "steps.json").read_text())
    manifests = [store.manifest(step["key"]) for step in steps]
    made = page()
    hours = sum(manifest["cpu_seconds"] for manifest in manifests) / 3600
    assert f"{hours:.2f} CPU hours in 11 finished steps" in made.text
    rows = {row[0]: row for row in made.table("Finished steps by kind")}
    assert rows["stage"][1] == "2"
    longest = max(manifests, key=lambda manifest: manifest["seconds"])
    assert made.table("Longest steps")[1][0] == longest["label"]


def test_it_says_where_the_results_come_from(page: Callable[[], Page], store: Store):
    made = page()
    data = store.manifest(find_step("random/seed0/data", store).key)
    assert f"pdd-ray {pdd_ray.__version__}" in made.text
    assert f"fingerprint {data['config']['fingerprint']}" in made.text
    made_by = made.table("What the finished steps ran on")
    assert data["python"] in {row[2] for row in made_by}
    assert {row[1].partition(" ")[0] for row in made_by[1:]} <= {pdd_ray.__version__}
    device = made_by[0].index("device")
    assert {row[device] for row in made_by[1:]} == {data["device"]["name"]}
    assert {row[device + 1] for row in made_by[1:]} == {"float32"}
    assert dict(made.table("Packages"))["torch"]
    assert "pdd-ray run tiny.json" in made.text


def test_the_whole_configuration_on_the_page_is_a_sweep_file(
    page: Callable[[], Page], tmp_path: Path
):
    text = next(e.text for e in page().all("pre") if e.text.startswith("{"))
    path = tmp_path / "again.json"
    path.write_text(text, encoding="utf-8")
    assert load_sweep(str(path)).name == "tiny"


def test_ready_made_tables_are_shown_if_they_say_something(page: Callable[[], Page], store: Store):
    planned, _ = read_evaluations("tiny", store)
    # one mode; evaluations after one and two stages; two images in one stage and in two
    assert list(applicable(tuple(planned))) == ["growth", "stages"]
    titles = [element.text for element in page().all("h3")]
    assert "Accuracy after each stage" in titles
    assert "Progressive, union and sequential evaluation" not in titles


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        ({"table": {"rows": ["colour"]}}, "tables can't show 'colour': records have "),
        ({"paper": "Table 1", "reference": "nowhere.yaml"}, "reference: no sweep 'nowhere.yaml'"),
    ],
)
def test_a_table_that_can_not_be_made_gives_its_reason(
    page: Callable[[], Page], store: Store, keys: dict[str, object], reason: str
):
    path = store.sweep_folder("tiny") / "sweep.json"
    saved = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**saved, **keys}), encoding="utf-8")
    assert f"It can't be made: {reason}" in page().text


# --- sweeps that are not complete ----------------------------------------------------------------


def test_a_running_sweep_says_so_with_the_time(page: Callable[[], Page], store: Store):
    key = undo(store, STAGE)
    store.progress_path(key).parent.mkdir(exist_ok=True)
    store.progress_path(key).write_text('{"fraction": 0.25, "loss": 1.0}')
    text = page().text
    assert re.search(
        r"Running at \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC: \d of 11 steps are done", text
    )
    row = page().table("Started steps")[1]
    assert row[0] == STAGE
    assert row[1].endswith("25 %")


def test_a_step_that_stopped_reporting_does_not_make_a_sweep_run(store: Store):
    key = undo(store, STAGE)
    path = store.progress_path(key)
    path.parent.mkdir(exist_ok=True)
    path.write_text('{"fraction": 0.25}')
    later = path.stat().st_mtime + progress.RECENT_SECONDS + 1
    made = parse(report_html(find_saved_sweep("tiny", store), store, now=later))
    assert "nothing reports that it is running" in made.text


def test_a_progress_file_that_is_being_written_is_no_error(page: Callable[[], Page], store: Store):
    key = undo(store, STAGE)
    store.progress_path(key).parent.mkdir(exist_ok=True)
    store.progress_path(key).write_text('{"frac')
    assert page().table("Started steps")[1][1] == "not reported"


def test_failures_have_cause_traceback_and_what_they_block(page: Callable[[], Page], store: Store):
    log = "".join(f"line {number}\n" for number in range(100)) + "Traceback\nValueError: nan\n"
    key = fail(store, STAGE, "NonFiniteLossError: the loss is nan", log)
    store.record_failure(key, "NonFiniteLossError: the loss is nan")
    made = page()
    assert "1 failed, and nothing is running" in made.text
    assert "NonFiniteLossError: the loss is nan" in made.text
    assert "2 tries in a row; 1 step needs it" in made.text
    tail = next(e.text for e in made.all("pre") if e.text.endswith("ValueError: nan"))
    assert len(tail.splitlines()) == progress.TRACEBACK_LINES
    assert any(element.attributes.get("id") == "failures" for element in made.all("h2"))


def test_a_sweep_of_which_nothing_is_done_has_a_page(page: Callable[[], Page], store: Store):
    shutil.rmtree(store.root / "artifacts")
    text = page().text
    assert "0 of 11 steps are done" in text
    assert "No evaluation is finished yet." in text
    assert "No stage is finished yet." in text
    assert "What is left would take about" in text


def test_estimates_that_can_not_be_had_give_their_reason(
    page: Callable[[], Page], monkeypatch: pytest.MonkeyPatch
):
    def refuse(*_: object) -> None:
        raise ConfigError("the data set is gone")

    monkeypatch.setattr("pdd_ray.results.report.resources.plan_sweep", refuse)
    assert "Memory and the rest can't be estimated: the data set is gone" in page().text


# --- one file, safe and accessible ---------------------------------------------------------------


def test_everything_is_escaped(page: Callable[[], Page], store: Store):
    fail(store, STAGE, f"ValueError: {EVIL}", f"log {EVIL}\n")
    path = store.sweep_folder("tiny") / "sweep.json"
    saved = json.loads(path.read_text())
    path.write_text(json.dumps({**saved, "description": EVIL}))
    made = page()
    assert made.problems == []
    assert not made.all("script")
    assert made.text.count('<script>alert("1")</script>') >= 4


def test_elements_are_closed_and_names_are_used_once(page: Callable[[], Page]):
    made = page()
    assert made.problems == []
    names = [e.attributes["id"] for e in made.elements if "id" in e.attributes]
    assert len(names) == len(set(names))
    links = [element.attributes["href"] for element in made.all("a")]
    assert {link.removeprefix("#") for link in links} <= set(names)


def test_the_page_needs_no_other_file(page: Callable[[], Page]):
    made = page()
    assert not made.all("script", "link", "iframe", "object")
    sources = [e.attributes["src"] for e in made.elements if "src" in e.attributes]
    assert sources
    assert all(source.startswith("data:image/") for source in sources)
    assert not re.search(r"url\(|@import", made.all("style")[0].text)


def test_images_tables_and_headings_can_be_followed_without_seeing(page: Callable[[], Page]):
    made = page()
    assert all(element.attributes.get("alt") for element in made.all("img"))
    assert len(made.all("table")) == len(made.all("caption"))
    assert all(element.attributes.get("scope") for element in made.all("th"))
    levels = [int(element.tag[1]) for element in made.all("h1", "h2", "h3", "h4")]
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_pictures_are_enlarged_by_whole_factors(page: Callable[[], Page]):
    pictures = [e.attributes for e in page().all("img") if "width" in e.attributes]
    assert len(pictures) == 3
    for picture in pictures:
        content = base64.b64decode(picture["src"].partition(",")[2])
        with Image.open(io.BytesIO(content)) as image:
            width, height = image.size
        factor, rest = divmod(int(picture["width"]), width)
        assert (rest, int(picture["height"])) == (0, factor * height)
        assert SHOWN_HEIGHT / 2 < factor * height <= SHOWN_HEIGHT


def test_pictures_name_the_classes_of_their_rows(page: Callable[[], Page]):
    assert "Rows from the top: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9." in page().text


def test_what_is_too_much_is_left_out_and_said(
    page: Callable[[], Page], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(pages, "PICTURE_BYTES", 0)
    monkeypatch.setattr(pages, "LOG_BYTES", 0)
    text = page().text
    assert "Pictures of 3 more stages are left out" in text
    assert "The logs of 3 stages are left out" in text
    assert "Log of stage1" not in text


# --- writing -------------------------------------------------------------------------------------


def test_the_page_is_written_beside_the_records(store: Store, tmp_path: Path):
    sweep = find_saved_sweep("tiny", store)
    assert write_report(sweep, store) == store.sweep_folder("tiny") / "report.html"
    path = write_report(sweep, store, tmp_path / "new" / "page.html")
    assert path.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


def test_a_collection_gets_a_page_per_sweep_and_one_that_leads_to_them(
    store: Store, tmp_path: Path
):
    collection = Collection("both", "All of it.", (find_saved_sweep("tiny", store),))
    index, tiny = write_reports(collection, store, tmp_path / "pages")
    assert (index.name, tiny.name) == ("index.html", "tiny.html")
    made = parse(index.read_text(encoding="utf-8"))
    assert made.problems == []
    assert [element.attributes["href"] for element in made.all("a")] == ["tiny.html"]
    assert made.table("Sweeps")[1][:2] == ["tiny", "11"]
