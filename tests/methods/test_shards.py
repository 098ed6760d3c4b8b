"""Classes spread over processes: the same bytes, and what happens when a process is lost."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time

import pytest
import torch

from pdd_ray.configuration.methods.distribution_matching import DmSpec
from pdd_ray.configuration.methods.gradient_matching import DcSpec, DreamSpec, IdcSpec
from pdd_ray.configuration.training import FULL_DSA
from pdd_ray.core.errors import ResourceError
from pdd_ray.core.processes import (
    Numerics,
    ProcessSettings,
    in_parts,
    prepare_process,
    prepared,
)
from pdd_ray.core.seeding import generator
from pdd_ray.methods.base import Partial
from pdd_ray.methods.class_matching import ClassMatch, ClassTask
from pdd_ray.methods.dc import Dc
from pdd_ray.methods.dm import Dm
from pdd_ray.methods.dream import Dream
from pdd_ray.methods.gradient_distance import dc_distance
from pdd_ray.methods.gradient_matching import GradientMatcher
from pdd_ray.methods.idc import Idc
from pdd_ray.methods.shards import sharded
from pdd_ray.testing import tiny
from pdd_ray.training.augmentation.rules import Augmentation
from tests.ray_cluster import ROOT, ray_cluster

__all__ = ["ray_cluster"]

DC = {"iterations": 2, "outer_loop": 2, "inner_loop": 1, "real_batch_size": 5}
IDC = {
    "iterations": 2,
    "inner_loop": 2,
    "real_batch_size": 4,
    "synthetic_batch_size": 3,
    "network_batch_size": 8,
    "network_images": 8,
}
METHODS = {
    "dm": Dm(DmSpec(iterations=3, real_batch_size=5, augmentation=FULL_DSA)),
    "dc": Dc(DcSpec(**DC)),
    "dsa": Dc(DcSpec(**DC, augmentation=FULL_DSA, initialisation="real")),
    "idc": Idc(IdcSpec(**IDC)),
    "idc features": Idc(IdcSpec(**IDC, match="features")),
    "dream": Dream(DreamSpec(**IDC)),
}


class Telling:
    """A matcher that tells of each task: its label, the process, and what this process knows."""

    def match(self, theta, tasks, extra=0):
        main_again = sys.modules["__main__"].__name__ != "__main__"
        facts = [os.getpid(), torch.get_num_threads(), main_again, extra]
        return [ClassMatch(torch.tensor(task.label), torch.tensor(facts)) for task in tasks]


class Failing:
    """A matcher that cannot compute class 2."""

    def match(self, theta, tasks):
        if any(task.label == 2 for task in tasks):
            msg = "class 2 is too much"
            raise ValueError(msg)
        return [ClassMatch(theta.sum(), task.images) for task in tasks]


class Short:
    """A matcher whose memory is short for class 2 unless batches come in 4 deterministic parts."""

    def match(self, theta, tasks):
        deterministic = torch.are_deterministic_algorithms_enabled()
        if any(task.label == 2 for task in tasks) and not (prepared().parts == 4 and deterministic):
            msg = "CUDA out of memory. Tried to allocate 2.00 GiB"
            raise torch.OutOfMemoryError(msg)
        return [ClassMatch(theta.sum(), task.images) for task in tasks]


class Waiting:
    """A matcher that never finishes class 2."""

    def match(self, theta, tasks):
        while any(task.label == 2 for task in tasks):
            time.sleep(0.01)
        return []


class Dying:
    """A matcher that ends the process which receives it, as a lack of memory would.

    It is larger than what a pipe holds.
    """

    def __init__(self):
        self.ballast = torch.zeros(1_000_000)

    def __setstate__(self, state):
        os.kill(os.getpid(), signal.SIGKILL)

    def match(self, theta, tasks):
        return []


def tasks_of(count):
    positions = torch.arange(4)
    source = generator(2, "tasks")
    return [
        ClassTask(label, positions, torch.randn(2, *tiny.SHAPE, generator=source), Augmentation(()))
        for label in range(count)
    ]


def gradient_matcher():
    data = tiny.dataset()
    frozen = data.train_images[:4]
    return GradientMatcher(
        tiny.MODEL,
        3,
        data.train_images,
        frozen,
        torch.tensor([0, 1, 1, 2]),
        dc_distance("layerwise"),
    )


def bytes_of(matches):
    return [(match.loss.numpy().tobytes(), match.gradient.numpy().tobytes()) for match in matches]


def slow(*values):
    return pytest.param(*values, marks=pytest.mark.slow)


@pytest.mark.parametrize(
    ("name", "shards"),
    [
        *(slow(name, shards) for name in ("dm", "dc", "dsa") for shards in (2, 3)),
        ("idc", 2),
        slow("idc", 3),
        slow("idc features", 2),
        slow("dream", 2),
    ],
)
def test_a_stage_of_three_classes_has_the_same_bytes_with_shards(name, shards, tmp_path):
    def outcome(count):
        inputs = tiny.stage_inputs([], images_per_class=2, shards=count)
        (tmp_path / f"{count}").mkdir()
        return METHODS[name].distill(inputs, Partial(tmp_path / f"{count}"), tiny.Silent())

    alone, spread = outcome(1), outcome(shards)
    assert spread.images.numpy().tobytes() == alone.images.numpy().tobytes()
    assert spread.curves == alone.curves
    assert multiprocessing.active_children() == []


@pytest.mark.slow
def test_more_shards_than_classes_give_the_same_bytes():
    matcher, theta, tasks = gradient_matcher(), tiny.start_of(1), tasks_of(2)
    with sharded(matcher, 4) as spread:
        for statistics in (None, {}):
            expected = bytes_of(matcher.match(theta, tasks, statistics))
            assert bytes_of(spread.match(theta, tasks, statistics)) == expected
        assert spread.match(theta, []) == []


def test_one_shard_is_the_matcher_itself():
    matcher = gradient_matcher()
    with sharded(matcher, 1) as same:
        assert same is matcher
        assert multiprocessing.active_children() == []


def told(shards, classes):
    """Return what a Telling matcher tells of every class, [classes, 4], and their labels."""
    with sharded(Telling(), shards) as spread:
        matches = spread.match(torch.zeros(1), tasks_of(classes), extra=7)
    facts = torch.stack([match.gradient for match in matches]).tolist()
    return facts, [int(match.loss) for match in matches]


def check_told(facts, labels, parent, threads):
    assert labels == list(range(5))
    processes = [process for process, *_ in facts]
    assert processes[0] == parent
    assert len(set(processes)) == 3
    assert processes == sorted(processes, key=processes.index)  # contiguous parts
    assert {tuple(rest) for _, *rest in facts} == {(threads, 0, 7)}


@pytest.mark.slow
def test_each_process_gets_a_contiguous_part_and_the_threads_of_the_parent():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        facts, labels = told(3, 5)
    finally:
        torch.set_num_threads(before)
    check_told(facts, labels, os.getpid(), threads=2)


def in_a_worker():
    """Return what is told in a worker of Ray, and the bytes of a sharded and a plain match."""
    import __main__

    torch.set_num_threads(1)
    matcher, theta, tasks = gradient_matcher(), tiny.start_of(1), tasks_of(3)
    with sharded(matcher, 2) as spread:
        matches = bytes_of(spread.match(theta, tasks))
    program = os.path.basename(__main__.__file__)  # noqa: PTH119 - of a module, not opened
    return program, os.getpid(), told(3, 5), matches, bytes_of(matcher.match(theta, tasks))


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.usefixtures("ray_cluster")
def test_it_works_in_a_ray_worker_without_running_its_program_again():
    import ray

    program, parent, (facts, labels), spread, alone = ray.get(ray.remote(in_a_worker).remote())
    assert program == "default_worker.py"
    check_told(facts, labels, parent, threads=1)
    assert spread == alone


SCRIPT = """
import multiprocessing, os, signal, sys
import torch
from pdd_ray.methods.shards import sharded
from tests.methods.test_shards import Telling, tasks_of

print("started", flush=True)  # and no guard: running this again would never end
with sharded(Telling(), 2) as spread:
    spread.match(torch.zeros(1), tasks_of(2))
    print(multiprocessing.active_children()[0].pid, flush=True)
    if sys.argv[1:] == ["killed"]:
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("arguments", "code"), [([], 0), (["killed"], -signal.SIGKILL)])
def test_no_process_outlives_the_parent(arguments, code, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    run = subprocess.run(
        [sys.executable, str(script), *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert run.returncode == code, run.stderr
    started, process = run.stdout.split()  # once
    assert started == "started"
    while is_running(int(process)):  # or until the test takes too long
        time.sleep(0.05)


def is_running(process):
    try:
        with open(f"/proc/{process}/stat") as file:  # noqa: PTH123
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.slow
def test_a_killed_process_is_named_with_the_likely_cause():
    theta, tasks = tiny.start_of(1), tasks_of(3)
    with sharded(gradient_matcher(), 3) as spread:
        spread.match(theta, tasks)
        multiprocessing.active_children()[0].kill()
        with pytest.raises(ResourceError, match=r"killed by signal 9.*lower resources.class_sha"):
            spread.match(theta, tasks)
        assert multiprocessing.active_children() == []


@pytest.mark.slow
def test_a_process_that_dies_while_it_gets_the_matcher_blocks_nothing():
    with (
        pytest.raises(ResourceError, match=r"killed by signal 9"),
        sharded(Dying(), 2) as spread,
    ):
        spread.match(torch.zeros(1), tasks_of(2))
    assert multiprocessing.active_children() == []


def test_an_error_in_a_process_is_raised_with_its_traceback():
    with sharded(Failing(), 2) as spread:
        with pytest.raises(RuntimeError, match=r"(?s)Traceback.*in match.*ValueError: class 2 is"):
            spread.match(torch.ones(1), tasks_of(3))
        # what the others answered is not taken for the next update's
        with pytest.raises(ResourceError):
            spread.match(torch.ones(1), tasks_of(2))


@pytest.mark.slow
def test_processes_have_the_settings_of_their_parent_and_say_if_their_memory_is_short():
    theta, tasks, before = torch.ones(1), tasks_of(3), prepared()
    message = "in a process of the class shards: CUDA out of memory"
    settings = ProcessSettings(torch.get_num_threads(), numerics=Numerics(deterministic=True))
    try:
        prepare_process(settings)
        with sharded(Short(), 2) as spread, pytest.raises(torch.OutOfMemoryError, match=message):
            spread.match(theta, tasks)
        with in_parts(4), sharded(Short(), 2) as spread:
            assert len(spread.match(theta, tasks)) == 3
    finally:
        prepare_process(before)


@pytest.mark.slow
def test_an_interruption_ends_processes_that_are_busy():
    def interrupt(_signal, _frame):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with sharded(Waiting(), 2) as spread:
            spread.match(torch.ones(1), tasks_of(2))
            signal.setitimer(signal.ITIMER_REAL, 0.5)
            with pytest.raises(KeyboardInterrupt):
                spread.match(torch.ones(1), tasks_of(3))
            assert multiprocessing.active_children() == []
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
