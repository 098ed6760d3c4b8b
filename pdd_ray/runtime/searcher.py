"""The Tune searcher that releases a trial when its inputs are committed."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from ray.tune.schedulers import FIFOScheduler
from ray.tune.search import Searcher

from pdd_ray.runtime.actors import TrialActors
from pdd_ray.runtime.trials import trial_config
from pdd_ray.runtime.worker import StepOutcome

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pdd_ray.core.identities import Json
    from pdd_ray.core.steps import Step
    from pdd_ray.runtime.driver import Driver

IDLE_SECONDS = 0.05
"""How long the searcher waits for a task before it looks again, while no trial runs."""


class StageSearcher(Searcher):  # type: ignore[misc] # Ray is untyped
    """Gives Tune the trials that the scheduler launches; polls the tasks on the way.

    Tune asks at every step of its loop. While no trial lives it would block for a second at a
    time and ignore Ctrl-C, so then the searcher waits itself.
    """

    def __init__(self, driver: Driver) -> None:
        super().__init__()
        self.actors = TrialActors()
        self._driver = driver
        self._released: deque[Step] = deque()
        self._live: dict[str, str] = {}
        self._ended: list[tuple[str, StepOutcome | str]] = []

    def suggest(self, trial_id: str) -> dict[str, Json] | str | None:
        """Return the next trial's configuration, None if there is none now, or FINISHED."""
        while True:
            self.settle_ended()
            self._released.extend(self._driver.poll())
            if self._released:
                step = self._released.popleft()
                self._live[trial_id] = step.key
                return trial_config(step)
            if not self._driver.scheduler.has_trials:
                return str(Searcher.FINISHED)
            self._make_room()
            if self._live:
                return None
            self.actors.pump()
            self._driver.tasks.wait(IDLE_SECONDS)

    def on_trial_complete(
        self, trial_id: str, result: Mapping[str, Any] | None = None, error: bool = False
    ) -> None:
        """Note the end of a trial; it is dealt with when Tune asks next.

        An error raised here would reach nobody: Tune turns it into its own.
        """
        key = self._live.pop(trial_id, None)
        if key is None:
            return
        if error or not result or "status" not in result:
            self._ended.append((key, self.actors.last_error))
        else:
            fields = {name: result[name] for name in ("status", "message", "damaged")}
            self._ended.append((key, StepOutcome(**fields)))

    def settle_ended(self) -> None:
        """Deal with the trials that ended since."""
        ended, self._ended = self._ended, []
        for key, result in ended:
            self._driver.settle(key, result)

    def give_up(self, reason: str) -> int:
        """Deal with trials that Tune has lost; return how many there were."""
        self.settle_ended()
        for step in self._released:  # Tune had not got them yet
            self._driver.put_back(step.key, reason)
        self._released.clear()
        lost = list(self._live.values())
        self._live.clear()
        for key in lost:
            self._driver.settle(key, reason)
        return len(lost)

    def check_stop(self) -> None:
        """Raise StopRun if the run is to end."""
        self._driver.check_stop()

    def _make_room(self) -> None:
        """End the actors that Tune keeps for the next trial where tasks need their resources."""
        idle = self.actors.idle()
        if idle and not self._driver.scheduler.has_room(self._driver.capacity, idle):
            self.actors.end_idle()

    # --- what Tune wants of a searcher ------------------------------------------------------------

    def set_max_concurrency(self, max_concurrent: int) -> bool:
        """Say that the limit is kept here, so that Tune asks at every step."""
        return True

    def save_to_dir(self, checkpoint_dir: str, session_str: str) -> None:
        """Save nothing: the state is the store's."""

    def __getstate__(self) -> dict[str, Any]:
        return {}


class WatchingScheduler(FIFOScheduler):  # type: ignore[misc] # Ray is untyped
    """Tune's own scheduler; shows the searcher the controller, and stops a run at every step."""

    def __init__(self, searcher: StageSearcher) -> None:
        super().__init__()
        self._searcher = searcher

    def choose_trial_to_run(self, tune_controller: Any) -> Any:  # noqa: ANN401 - Ray is untyped
        """Return what Tune's scheduler returns."""
        self._searcher.actors.see(tune_controller)
        self._searcher.check_stop()
        return super().choose_trial_to_run(tune_controller)

    def __getstate__(self) -> dict[str, Any]:
        return {}
