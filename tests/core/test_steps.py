"""Steps: identity, order, and the one way in which they are executed."""

import re
import subprocess
from dataclasses import replace

import pytest

from pdd_ray.core.errors import DamagedArtifactError, NonFiniteLossError, ResourceError
from pdd_ray.core.operations import Operation
from pdd_ray.core.steps import (
    Cost,
    Resources,
    Step,
    choose_device,
    execute,
    run_serially,
    topological,
)
from pdd_ray.core.store import Store
from pdd_ray.core.version import VERSION, code_commit, commit_of

HERE = __name__
AUTHOR = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
WRITE = Operation("note", f"{HERE}:write")
executed: list[str] = []


def write(context):
    executed.append(context.label)
    parents = [(folder / "text").read_text() for folder in context.inputs.values()]
    (context.output / "text").write_text(context.config["text"] + "".join(parents))


def fail(context):
    (context.output / "text").write_text("half")
    raise NonFiniteLossError("the loss is nan\nin iteration 3")


def step(text, **inputs):
    return Step(WRITE, {"text": text}, inputs, label=text)


@pytest.fixture
def store(tmp_path):
    executed.clear()
    return Store(tmp_path / "store").open()


def test_the_key_depends_on_what_makes_the_result():
    base = Step(WRITE, {"a": 1})
    assert base.key == Step(WRITE, {"a": 1}).key
    assert base.key.startswith("note-")
    parent = Step(WRITE, {"a": 0})
    different = [
        Step(replace(WRITE, name="other"), {"a": 1}),
        Step(replace(WRITE, revision=2), {"a": 1}),
        Step(WRITE, {"a": 2}),
        Step(WRITE, {"a": 1}, {"parent": parent}),
        Step(WRITE, {"a": 1}, {"parent": base}),
        Step(WRITE, {"a": 1}, {"other": parent}),
    ]
    assert len({base.key, *(other.key for other in different)}) == 7


def test_the_key_does_not_depend_on_how_it_is_run():
    base = Step(WRITE, {"a": 1})
    same = Step(
        replace(WRITE, function="elsewhere:work", runs_as="trial", resources="other"),
        {"a": 1},
        label="x",
        resources=Resources(cpus=4, gpus=1),
        device="cpu",
        cost=Cost(operations=1),
    )
    assert base.key == same.key


def test_order_is_inputs_first_and_each_key_once():
    first = step("first")
    left, right = step("left", a=first), step("right", a=step("first"))
    last = step("last", a=left, b=right)
    assert [s.label for s in topological([last])] == ["first", "left", "right", "last"]


def test_what_exists_is_not_executed_again(store):
    last = step("last", a=step("first"))
    run_serially([last], store)
    run_serially([last, step("more", a=last)], store)
    assert executed == ["first", "last", "more"]
    assert (store.folder(last.key) / "text").read_text() == "lastfirst"


def test_a_manifest_says_what_made_the_artifact(store):
    made = step("made")
    run_serially([made], store)
    manifest = store.manifest(made.key)
    assert (manifest["operation"], manifest["revision"]) == ("note", 1)
    assert manifest["pdd_ray"] == VERSION
    assert manifest["commit"] == code_commit()


def test_the_commit_of_a_checkout_says_whether_files_differ(tmp_path):
    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").touch()
    assert commit_of(package) is None
    for command in (["init", "-q"], ["add", "."], [*AUTHOR, "commit", "-qm", "first"]):
        subprocess.run(["git", "-C", str(tmp_path), *command], check=True)
    commit = commit_of(package)
    assert re.fullmatch("[0-9a-f]{40}", commit)
    (package / "new.py").touch()
    assert commit_of(package) == f"{commit} with changes"


def test_a_failure_is_recorded_and_leaves_no_artifact(store):
    bad = Step(Operation("note", f"{HERE}:fail"), {}, label="bad")
    with pytest.raises(NonFiniteLossError):
        execute(bad.call, store)
    assert not store.exists(bad.key)
    assert store.failure(bad.key).message == "the loss is nan in iteration 3"
    assert "Traceback" in store.log_path(bad.key).read_text()
    assert not list((store.root / "tmp").iterdir())


def test_a_damaged_input_is_not_used(store):
    first = step("first")
    run_serially([first], store)
    (store.folder(first.key) / "text").write_text("other")
    with pytest.raises(DamagedArtifactError, match=first.key):
        run_serially([step("last", a=first)], store)


@pytest.mark.parametrize(
    ("wanted", "gpus", "device"),
    [
        ("auto", 0, "cpu"),
        ("auto", 0.25, "cuda"),
        ("cpu", 1, "cpu"),
        ("cuda", 0, "cuda"),
        ("gpu", 0, "gpu"),  # the device of the tests
    ],
)
def test_the_device_follows_the_resources(monkeypatch, wanted, gpus, device):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    assert choose_device(wanted, gpus) == device


@pytest.mark.parametrize(
    ("cuda", "hip", "found"),
    [
        (None, None, "was built for CPUs"),
        ("13.0", None, "was built for 13.0 and finds no GPU"),
        (None, "7.1", "was built for 7.1 and finds no GPU"),
    ],
)
def test_a_step_that_holds_a_gpu_never_falls_back_to_the_cpu(monkeypatch, cuda, hip, found):
    monkeypatch.setattr("torch.version.cuda", cuda)
    monkeypatch.setattr("torch.version.hip", hip)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(ResourceError, match=rf"^the step holds 0\.5 GPUs, but torch \S+ {found}"):
        choose_device("auto", 0.5)
    with pytest.raises(ResourceError, match=found):
        choose_device("cuda", 0.5)
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    assert choose_device("auto", 0.5) == "cuda"


def test_threads_are_whole_cpus():
    assert Resources(cpus=0.5).threads == 1
    assert Resources(cpus=3).threads == 3
