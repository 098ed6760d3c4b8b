"""Ray itself: starting or joining it, what it has, and keeping it quiet."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING

from pdd_ray.core.errors import ResourceError
from pdd_ray.runtime.capacity import Capacity, ElasticCapacity, FixedCapacity, Node

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pdd_ray.runtime.interface import RunOptions

ELASTIC_STEPS = 256
"""Steps that are asked of a growing cluster at once."""
OBJECT_STORE_BYTES = 100 * 2**20
"""Nothing of size goes through Ray's object store: artifacts are read from the store."""
CGROUP_QUOTA = Path("/sys/fs/cgroup/cpu.max")
WORKER_ENVIRONMENT = {"RAY_CHDIR_TO_TRIAL_DIR": "0"}
"""Read by Ray in the workers: trials stay in the folder in which they were started."""
ENVIRONMENT = {
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_TRAIN_ENABLE_V2_MIGRATION_WARNINGS": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    **WORKER_ENVIRONMENT,
}
"""Read by Ray in this process: no output, no files and no signal handlers of its own."""


class Cluster:
    """A running Ray.

    Attributes:
        spare_cpus: CPUs that Ray believes this machine to have in addition to the real ones,
            for the idle actor that Tune keeps; see :mod:`pdd_ray.runtime.actors`.
    """

    def __init__(self, options: RunOptions, spare_cpus: float = 0.0) -> None:
        self.spare_cpus = spare_cpus
        self._options = options

    def capacity(self) -> Capacity:
        """Return what there is now."""
        if self._options.elastic:
            return ElasticCapacity(ELASTIC_STEPS)
        import ray

        alive = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        nodes = [
            Node(
                cpus=max(0.0, node.get("CPU", 0.0) - self.spare_cpus),
                gpus=int(node.get("GPU", 0)),
                memory=node.get("memory", 0.0),
            )
            for node in alive
        ]
        return FixedCapacity(tuple(nodes), self.spare_cpus, exclusive=self._options.address is None)


@contextlib.contextmanager
def connected(options: RunOptions, messages: Path, trial_cpus: float) -> Iterator[Cluster]:
    """Have Ray running: as it is, as ``options`` say, or started here for the time being.

    Args:
        options: Where Ray is to be.
        messages: File to which Ray's messages in this process go.
        trial_cpus: Most CPUs that a trial holds.

    Raises:
        ResourceError: if Ray can't be started or reached.
    """
    with _environment(ENVIRONMENT), _messages_to(messages):
        import ray

        if ray.is_initialized():
            yield Cluster(options)
            return
        spare_cpus = math.ceil(trial_cpus) if options.address is None else 0
        start_or_join(options, spare_cpus)
        try:
            yield Cluster(options, spare_cpus)
        finally:
            ray.shutdown()


def start_local(cpus: int | None = None, gpus: int | None = None, spare_cpus: int = 0) -> None:
    """Start Ray on this machine, for this process and those it starts."""
    import ray

    if "RAY_AUTH_TOKEN_PATH" not in os.environ:
        # A token of our own: Ray would write one to the home folder. It stays set, because Ray
        # remembers the first one for the life of the process.
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    with _environment(ENVIRONMENT):
        ray.init(
            address="local",
            num_cpus=(usable_cpus() if cpus is None else cpus) + spare_cpus,
            num_gpus=gpus,
            include_dashboard=False,
            object_store_memory=OBJECT_STORE_BYTES,
            log_to_driver=False,
            logging_level=logging.WARNING,
        )


def usable_cpus() -> int:
    """Return how many CPUs this process may use: its affinity and its container's quota."""
    cpus = len(os.sched_getaffinity(0))
    try:
        quota, period = CGROUP_QUOTA.read_text(encoding="ascii").split()
        return max(1, min(cpus, int(quota) // int(period)))
    except (OSError, ValueError):  # no container, or "max": no quota
        return cpus


def init_ray(options: RunOptions, spare_cpus: int) -> None:
    """Start Ray here, or join the one that ``options`` name."""
    import ray

    if options.address is None:
        start_local(options.cpus, options.gpus, spare_cpus)
    else:
        ray.init(
            address=options.address,
            log_to_driver=False,
            logging_level=logging.WARNING,
            runtime_env={"env_vars": WORKER_ENVIRONMENT},
        )


def start_or_join(
    options: RunOptions, spare_cpus: int, init: Callable[[RunOptions, int], None] = init_ray
) -> None:
    """Call ``init``; once more if that fails, because starting Ray sometimes times out.

    Raises:
        ResourceError: if it fails again.
    """
    try:
        init(options, spare_cpus)
    except _init_errors() as first:
        import ray

        logging.getLogger("ray").warning("starting Ray again after: %s", first)
        ray.shutdown()
        try:
            init(options, spare_cpus)
        except _init_errors() as error:
            where = f"reach Ray at {options.address}" if options.address else "start Ray"
            msg = f"could not {where}: {' '.join(str(error).split())}"
            raise ResourceError(msg) from error


def _init_errors() -> tuple[type[Exception], ...]:
    from ray.exceptions import RayError

    return (RayError, RuntimeError, ConnectionError, TimeoutError, ValueError, OSError)


@contextlib.contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextlib.contextmanager
def _messages_to(path: Path) -> Iterator[None]:
    """Send what Ray logs in this process to a file: the terminal is the display's."""
    import ray  # noqa: F401 - sets up its own handlers when it is imported

    path.parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(path, encoding="utf-8", delay=True)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logger = logging.getLogger("ray")
    before, propagate = list(logger.handlers), logger.propagate
    logger.handlers, logger.propagate = [handler], False
    _silence_workers()
    try:
        yield
    finally:
        logger.handlers, logger.propagate = before, propagate
        handler.close()


def _silence_workers() -> None:
    """Keep Ray from printing that workers died: ``log_to_driver=False`` does not cover that.

    It is told by the display, and retried; Ray's own debugger uses the same switch.
    """
    from ray._private import worker

    worker._worker_logs_enabled = False
