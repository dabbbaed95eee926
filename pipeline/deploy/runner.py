"""Claims runs for a worker.

``Runner.work`` is what a worker does when it is woken for a pipeline: it claims one run that is due, carries it as far
as it goes, and wakes a worker again if more is due.
"""

from __future__ import annotations

from collections.abc import Callable

from pipeline.deploy.entry import Parked
from pipeline.deploy.heartbeat import LeaseHeartbeat
from pipeline.deploy.run_context import RunContext
from pipeline.deploy.services import Services
from pipeline.deploy.story import MAX_ATTEMPTS, Story
from pipeline.domain import transitions
from pipeline.domain.run import Kind, Push, Run, State
from pipeline.errors import DamagedRecord, LeaseLost, NotFound, TryAgain
from pipeline.ports.adapters import Adapters
from pipeline.runlog import file
from pipeline.store import Lease, Transaction


class Runner:
    """``accept``: takes a push that a fetch found; ``stopping``: whether this worker is to hand its run back at
    the next stage; ``replaced``: says that the code of the service was replaced while it runs."""

    def __init__(
        self,
        services: Services,
        adapters: Adapters,
        accept: Callable[[Push], object],
        stopping: Callable[[], bool],
        replaced: Callable[[], str] = str,
    ) -> None:
        self._services, self._adapters = services, adapters
        self._store, self._settings = services.store, services.settings
        self._accept, self._stopping, self._replaced = accept, stopping, replaced

    def work(self, pipeline: str, *, urgent: bool = False, worker: str = "") -> Run | None:
        """Claims one due run and carries it. Returns the run as this worker left it; None if nothing is due, or other
        workers have all of it. ``urgent``: reverts only."""
        if not self._store.origin.known():
            return None
        for number in self._store.due(pipeline):
            if self._stopping():
                return None
            if urgent and not self._is_revert(pipeline, number):
                continue
            lease = self._store.leases.take(f"run:{pipeline}#{number}", worker)
            if lease:
                run = self._unless_damaged(pipeline, number, lease)
                if run:
                    return run
        return None

    def _is_revert(self, pipeline: str, number: int) -> bool:
        try:
            return self._store.run(pipeline, number).kind == Kind.REVERT
        except DamagedRecord:
            return False

    def _unless_damaged(self, pipeline: str, number: int, lease: Lease) -> Run | None:
        """``_take``; a run whose own record cannot be read does not hold up the others. The keeper reports it."""
        try:
            return self._take(pipeline, number, lease)
        except DamagedRecord:
            return None

    def _take(self, pipeline: str, number: int, lease: Lease) -> Run | None:
        """The run as this worker left it; None if nothing could be done for it now."""
        with LeaseHeartbeat(self._store) as heartbeat:
            heartbeat.hold(lease)
            try:
                run = self._claim(pipeline, number, lease)
            except (NotFound, LeaseLost):
                return None
            if run is None:
                return None
            log = file.RunLog(file.path(self._settings.data, pipeline, number), self._settings.log_limit)
            context = RunContext(self._store, self._adapters.clock, run, lease, heartbeat, log)
            try:
                self._story(context).carry()
            except Parked:
                return None
            except LeaseLost:
                return context.run
            except TryAgain:
                self._give_back(context)
                return context.run  # it is still due: the keeper wakes a worker for it
            finally:
                log.close()
        if self._store.due(pipeline):
            self._adapters.queue.notify(pipeline)
        return context.run

    def _story(self, context: RunContext) -> Story:
        return Story(context, self._services, self._adapters, self._accept, self._stopping)

    def _claim(self, pipeline: str, number: int, lease: Lease) -> Run | None:
        def act(transaction: Transaction) -> Run | None:
            run = transaction.run(number)
            if run.state not in (State.QUEUED, State.RUNNING):
                transaction.not_due(number)
                return None
            now = self._adapters.clock.now()
            if run.again > now:
                return None
            if run.attempts >= MAX_ATTEMPTS - 1 and self._replaced():
                return None  # an update may be why its workers died: its last try is for what runs after the restart
            if not run.behind:  # it waits on until it has the environment
                run = transitions.unparked(run, now)
            run = transitions.move(
                run,
                State.RUNNING,
                started=run.started or now,
                attempts=run.attempts + 1,
                again=0.0,
            )
            transaction.put_run(run)
            return run

        return self._store.transact(pipeline, act, fence=lease)

    def _give_back(self, context: RunContext) -> None:
        """A store that did not answer is no worker that died: the attempt does not count."""
        try:
            context.update(attempts=max(0, context.run.attempts - 1))
        except (TryAgain, LeaseLost):
            return
