"""Lets runs go on that wait for the end of a freeze, once it is over."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from pipeline.deploy import admission
from pipeline.deploy.services import Services
from pipeline.domain import gates
from pipeline.domain.events import Event
from pipeline.domain.run import Run, State
from pipeline.domain.transitions import move
from pipeline.errors import LeaseLost
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
            act = partial(_go_on, name=name, now=now)
            try:
                run = self._store.transact(pipeline, act, fence=self.fence())
            except LeaseLost:
                return
            if run:
                self._adapters.queue.notify(pipeline)
                yield f"{pipeline}/{name} is no longer frozen: {run.id} continues"


def _waits(run: Run) -> bool:
    return run.state == State.WAITING and run.frozen


def _go_on(tx: Transaction, name: str, now: float) -> Run | None:
    """The newest run that waits there, if it does so for the end of a freeze; the older ones are superseded."""
    *older, newest = gates.waiting_at(tx.open(), name) or (None,)
    if newest is None or not newest.frozen:
        return None
    for run in older:
        if run:
            admission.supersede(tx, run, f"{newest.id} is newer", now)
    since = newest.gate_since
    on = move(newest, State.RUNNING, human=newest.human + now - since, gate="", frozen=False)
    tx.put_run(messages.opened(tx, on, name, since, now))
    tx.due(on.number)
    tx.event(on.number, Event("note", now, f"{name} is no longer frozen: r{on.release} continues", name))
    return on
