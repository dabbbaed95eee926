"""Lets runs go on that wait for the end of a freeze, once it is over."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from pipeline.deploy import admission
from pipeline.deploy.services import Services
from pipeline.domain import gates, taken_back
from pipeline.domain.events import Event
from pipeline.domain.run import Run, State
from pipeline.domain.transitions import go_on
from pipeline.errors import LeaseLost, PushliveError, single_stops
from pipeline.maintenance.damage import Damage
from pipeline.maintenance.job import Job
from pipeline.notify import messages
from pipeline.ports.adapters import Adapters
from pipeline.store import Lease, Transaction


class Opening(Job):
    """The newest run that waits before an environment wins, as at every gate. ``fence``: the keeper's lease. A round
    that comes twice finds no run that waits, and a worker asks again whether the run may enter."""

    def __init__(self, services: Services, adapters: Adapters, damage: Damage) -> None:
        self._services, self._adapters, self._damage = services, adapters, damage
        self._store = services.store
        self.fence: Callable[[], Lease | None] = lambda: None

    def run(self) -> list[str]:
        return self._damage.each(self._open)

    def _open(self, pipeline: str) -> Iterator[str]:
        waiting = [run for run in self._store.open_runs(pipeline) if _waits(run)]
        for name in dict.fromkeys(run.gate for run in waiting):
            now = self._adapters.clock.now()
            if self._services.freezes.frozen(pipeline, name, now):
                continue
            act = partial(self._go_on, name=name, now=now)
            try:
                found = self._store.transact(pipeline, act, fence=self.fence())
            except LeaseLost:
                return
            if found:
                run, still = found
                self._adapters.queue.notify(pipeline)
                goes = f"{run.id} still waits: {still}" if still else f"{run.id} continues"
                yield f"{pipeline}/{name} is no longer frozen: {goes}"

    def _go_on(self, tx: Transaction, name: str, now: float) -> tuple[Run, str] | None:
        """The newest run that waits there, if it does so for the end of a freeze, and why it has to wait all the same;
        the older ones are superseded."""
        *older, newest = gates.waiting_at(tx.open(), name) or (None,)
        if newest is None or not newest.frozen:
            return None
        for run in older:
            if run:
                admission.supersede(tx, run, f"{newest.id} is newer", now)
        since, still = newest.gate_since, self._still(tx, newest, name, now)
        on = go_on(newest, "", now)
        tx.put_run(messages.opened(tx, on, name, since, now, still))
        tx.due(on.number)
        goes = f"still waits: {still}" if still else "continues"
        tx.event(on.number, Event("note", now, f"{name} is no longer frozen: r{on.release} {goes}", name))
        return on, still

    def _still(self, tx: Transaction, run: Run, name: str, now: float) -> str:
        """What its gate says once nothing is frozen, or how it ends there; "" if it may enter."""
        try:
            own = self._services.configurations.by_hash(run.config).pipelines[run.pipeline]
            in_force = self._services.freezes.look().config.pipelines.get(run.pipeline)
            records = tx.existing(taken_back.before(run, name))
            release = tx.release(run.release or 0)
            gate = gates.may_enter(own, tx.environment(name), release, run, (), records, in_force, None, now)
        except PushliveError as error:
            return single_stops(error.message).rstrip(".")
        return gate.why if gate else ""


def _waits(run: Run) -> bool:
    return run.state == State.WAITING and run.frozen
