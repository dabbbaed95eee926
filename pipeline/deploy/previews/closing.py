"""Removes all that a preview has: its runs end, then its containers, routes, accessories and volumes go. The records
of its runs stay. Each step finds what an earlier one, in a process that died, has left. One that was opened again
meanwhile loses all the same what it had: its next run, or the keeper, sees to that before anything new is there."""

from __future__ import annotations

from dataclasses import replace

from pipeline.deploy.heartbeat import holding
from pipeline.deploy.services import Services
from pipeline.domain import audit_chain, slots
from pipeline.domain.audit_chain import Actor, Entry
from pipeline.domain.environment import SLOTS
from pipeline.domain.events import Event
from pipeline.domain.previews import rules
from pipeline.domain.previews.records import Preview, Previews, PreviewState
from pipeline.domain.run import Outcome, Run, State
from pipeline.domain.transitions import end
from pipeline.notify import messages
from pipeline.ports.adapters import Adapters
from pipeline.store import Transaction

KEEPER = Actor("pushlive", way="keeper")


class Closing:
    def __init__(self, services: Services, adapters: Adapters) -> None:
        self._store, self._adapters, self._clock = services.store, adapters, adapters.clock

    def go(self, one: Preview) -> str:
        """Removes what can be removed now; what there is to report once it is done, "" while it is not. Idempotent.
        Raises what engines raise."""
        self._end_runs(one)
        if any(_of_removed(run, one) for run in self._store.open_runs(one.name)):
            return ""  # a run is at work: it stops at its next safe point
        return self._remove(one)

    # ── its runs ─────────────────────────────────────────────────────────────

    def _end_runs(self, one: Preview) -> None:
        why = f"as the preview is removed: {one.reason}"

        def act(tx: Transaction) -> None:
            for run in tx.open():
                if not _of_removed(run, one):
                    continue
                if run.state == State.RUNNING:
                    if not run.cancel:
                        tx.put_run(replace(run, cancel=why))
                    continue
                now = self._clock.now()
                tx.put_run(messages.ended(tx, end(run, Outcome.CANCELLED, why, now)))
                data = {"outcome": Outcome.CANCELLED.value}
                tx.event(run.number, Event("end", now, f"{run.id} cancelled {why}", data=data))

        if any(_of_removed(run, one) for run in self._store.open_runs(one.name)):
            self._store.transact(one.name, act)

    # ── what runs ────────────────────────────────────────────────────────────

    def _remove(self, one: Preview) -> str:
        """Under the environment's lease, which a run that a push has made meanwhile needs as well."""
        lease = self._store.leases.take(f"env:{one.name}/{one.name}", "preview")
        if lease is None:
            return ""
        with holding(self._store, lease) as held:
            found = self._store.previews.of(one.name)
            if found is None or not found.goes or found.before != one.before:
                return ""  # it was removed, or opened once more, meanwhile
            environment = self._store.environment(one.name, one.name)
            engine = held.fenced(self._adapters.engines.of(environment.engine if environment else one.engine))
            if environment and engine.slots.remove(slots.slot_ref(environment, SLOTS[0])):
                return ""  # something of others is in its network; the next round looks again
            if not self._remove_accessories(one.name):
                return ""
            for volume in tuple(engine.volumes.volumes()):
                if volume.ref.environment == one.name:
                    engine.volumes.remove_volume(volume.ref)
            self._adapters.source.forget(one.name)
            held.insist()
            self._store.forget_environment(one.name, one.name)
            return self._closed(one.name)

    def _remove_accessories(self, name: str) -> bool:
        """False if another process is at work on one. No other pipeline has an environment of that name, so no one else
        uses them."""
        for record in self._store.accessories.all():
            if record.environment != name:
                continue
            lease = self._store.leases.take(f"accessory:{record.id}", "preview")
            if lease is None:
                return False
            with holding(self._store, lease) as held:
                engine = held.fenced(self._adapters.engines.of(record.engine))
                engine.accessories.remove_accessory(record.ref)
                entry = audit_chain.entry(
                    KEEPER, "accessory rm", self._clock.now(), pipeline=name, environment=name,
                    detail=record.id, before=record.id, after="removed",
                )  # fmt: skip
                self._store.accessories.forget(record.ref, held, entry)
                self._store.facts.set(f"accessory-problem:{record.id}", "")
        return True

    # ── its record ───────────────────────────────────────────────────────────

    def _closed(self, name: str) -> str:
        now = self._clock.now()

        def act(found: Previews) -> tuple[Previews, tuple[Entry, ...], str]:
            one = found.get(name)
            if one is None or not one.goes:
                return found, (), ""
            if one.alive:
                made = replace(one, leftover=False, filled=False)
                return (
                    {**found, name: made},
                    (),
                    f"what the preview {name} of {one.label} had before is removed",
                )
            made = replace(one, state=PreviewState.CLOSED, closed=now, filled=False, leftover=False)
            kept = rules.trimmed({**found, name: made})
            return kept, (), f"the preview {name} of {one.label} is removed: {one.reason}"

        return self._store.previews.change(act)


def _of_removed(run: Run, one: Preview) -> bool:
    """Whether it is a run of what goes, and not of what the preview is after that."""
    return not one.alive or run.number <= one.before
