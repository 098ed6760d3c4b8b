"""Functions of steps that tests run on workers; they load nothing heavy."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

from pdd_ray.core.errors import NonFiniteLossError
from pdd_ray.core.files import write_text
from pdd_ray.core.seeding import derive_seed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pdd_ray.core.steps import StepContext

LONGEST_WAIT = 60.0
"""Seconds for which a step waits for its test."""


def empty(context: StepContext) -> None:
    (context.output / "name.txt").write_text(context.label)


def at_once(contexts: Sequence[StepContext]) -> None:
    """Write how many steps are done at once."""
    for context in contexts:
        (context.output / "name.txt").write_text(f"{len(contexts)} at once")


def dying_at_once(_contexts: Sequence[StepContext]) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def draws(context: StepContext) -> None:
    """Write numbers from a stream named in the configuration, after those of the inputs."""
    stream = random.Random(derive_seed(int(context.config["seed"]), "draws"))
    lines = [(folder / "draws.txt").read_text() for folder in context.inputs.values()]
    lines.append(repr([stream.random() for _ in range(5)]))
    (context.output / "draws.txt").write_text("\n".join(lines))


def failing(context: StepContext) -> None:
    msg = f"the loss is nan in iteration {context.config['iteration']}"
    raise NonFiniteLossError(msg)


def logged(context: StepContext) -> None:
    """Write when it began and ended, by whom it was run, and on what."""
    folder = Path(context.config["folder"])
    note = folder / f"{context.label}.{os.getpid()}.{time.monotonic_ns()}"
    begun = time.monotonic()
    time.sleep(float(context.config.get("seconds", 0)))
    context.progress({"fraction": 1.0, "loss": 0.5})
    gpus = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    write_text(note, f"{begun} {time.monotonic()} {os.getpid()} [{gpus}]")
    (context.output / "empty").touch()


def counting(context: StepContext) -> None:
    """Count to ``until``, keeping the progress; die once at ``dies_at`` or wait at ``waits_at``.

    Every number that is counted is written to ``folder``, so that repeated work shows. It waits for
    a file named ``go`` there, but not for ever: nothing may hold the cluster after its test.
    """
    end = time.monotonic() + LONGEST_WAIT
    folder, saved = Path(context.config["folder"]), context.partial / "count"
    count = int(saved.read_text()) if saved.exists() else 0
    while count < int(context.config["until"]):
        count += 1
        (folder / f"{context.label}-{count}.{time.monotonic_ns()}").touch()
        write_text(saved, str(count))
        context.progress({"fraction": count / int(context.config["until"])})
        if count == context.config.get("dies_at"):
            os.kill(os.getpid(), signal.SIGKILL)
        while (
            count == context.config.get("waits_at")
            and not (folder / "go").exists()
            and time.monotonic() < end
        ):
            time.sleep(0.05)
    (context.output / "count").write_text(str(count))


def dying(_context: StepContext) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def torch_threads(context: StepContext) -> None:
    import torch

    (context.output / "threads").write_text(str(torch.get_num_threads()))
