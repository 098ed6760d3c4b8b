"""The actors in which Tune runs trials, and which it keeps for the next trial.

Reusing them saves seconds per trial. But a kept actor holds its placement group, that is, its
CPUs and GPUs, for as long as no other trial takes it over: tasks that need them would wait, and
where the next trial waits for those tasks, for ever. Tune has no public way to say that a kept
actor is to go, nor one to say that an actor killed for its memory is a lost actor like others, so
this class uses its controller's own; it is the only place that does.
"""

from __future__ import annotations

from typing import Any

import ray
from ray.exceptions import RayActorError, RayTaskError

from pdd_ray.core.steps import Resources
from pdd_ray.runtime.tasks import KILL_SECONDS


class TrialActors:
    """The actors of one Tune run, as far as its controller has been seen.

    Attributes:
        last_error: Name of the last error that an actor was lost by.
    """

    def __init__(self) -> None:
        self.last_error = "no error was given"
        self._controller: Any = None

    def see(self, wrapped_controller: Any) -> None:  # noqa: ANN401 - Ray is untyped
        """Remember the controller that Tune shows to its scheduler."""
        if self._controller is None:
            self._controller = wrapped_controller._tune_controller
            self._lose_one_trial_at_a_time()

    def idle(self) -> list[Resources]:
        """Return what actors hold that no trial uses."""
        if self._controller is None:
            return []
        return [
            Resources(
                cpus=bundle.get("CPU", 0.0),
                gpus=bundle.get("GPU", 0.0),
                memory=int(bundle["memory"]) if "memory" in bundle else None,
            )
            for request, actors in self._controller._actor_cache._cached_objects.items()
            for _ in actors
            for bundle in request.bundles
        ]

    def end_idle(self) -> None:
        """Ask idle actors to end; their resources are free once they have."""
        self._controller._cleanup_cached_actors(force_all=True)

    def pump(self) -> None:
        """Let Tune notice that actors have ended, while it waits for us."""
        if self._controller is not None and self._controller._actor_manager.num_total_actors:
            self._controller._actor_manager.next(timeout=0)

    def kill(self) -> None:
        """End all actors at once, and wait until they are gone."""
        if self._controller is None:
            return
        manager = self._controller._actor_manager
        running = list(manager._actor_task_events.get_futures())
        manager.cleanup()
        ray.wait(running, num_returns=len(running), timeout=KILL_SECONDS)

    def _lose_one_trial_at_a_time(self) -> None:
        """Have Tune take an actor that Ray's memory monitor killed for a lost actor.

        It knows no error but these two, and raises for others: all trials would be lost.
        """
        manager = self._controller._actor_manager
        task_failed = manager._actor_task_failed

        def failed(tracked_actor_task: Any, exception: Exception) -> None:  # noqa: ANN401
            self.last_error = type(exception).__name__
            known = isinstance(exception, (RayActorError, RayTaskError))
            error = exception if known else RayActorError(error_msg=str(exception))
            task_failed(tracked_actor_task, error)

        manager._actor_task_failed = failed
