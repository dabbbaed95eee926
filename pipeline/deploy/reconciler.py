"""Compares what the store says with what the engine and the proxy have, in one environment.

``differences`` finds what differs and changes nothing; each difference carries its own repair. So `pushlive doctor`
reports exactly what the keeper would do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain

from pipeline.deploy.data.access import backup_lease
from pipeline.deploy.data.unfinished import refuse
from pipeline.deploy.heartbeat import fenced
from pipeline.deploy.services import Services
from pipeline.deploy.sleep.sleeper import Sleeper
from pipeline.deploy.slot import failed_slot, processes
from pipeline.deploy.slot.in_turn import alone, end_other
from pipeline.deploy.slot.serving import spec_in
from pipeline.deploy.visitors import notices
from pipeline.domain.engine_types import Share, SlotSpec
from pipeline.domain.environment import SLOTS, Environment, Slot, SlotState, other
from pipeline.domain.run import State
from pipeline.domain.shifting import rule as shifting
from pipeline.domain.shifting.records import Shift, ShiftOutcome
from pipeline.domain.slots import expired, mark_of, slot_ref
from pipeline.domain.volumes import volumes_of
from pipeline.domain.watching import crashing
from pipeline.errors import LeaseLost, NotFound, PushliveError
from pipeline.ports.adapters import Adapters
from pipeline.ports.clock import Deadline
from pipeline.store import Lease, Transaction

FAILED_DRAIN = 30.0  # seconds for which a failed slot may end the requests that it has
DRAIN_PER_ROUND = 0.2  # seconds that draining one environment may delay the others


@dataclass(frozen=True)
class Difference:
    """``found``: what is not as the store says; ``repaired``: what is reported once ``repair`` has been called."""

    found: str
    repaired: str
    repair: Callable[[], bool | None]  # False: nothing was done, the engine is already at work on it


class Reconciler:
    """One environment. ``lease``: that of the environment; None for one that only looks."""

    def __init__(
        self, services: Services, adapters: Adapters, environment: Environment, lease: Lease | None
    ) -> None:
        self._services, self._store, self._vault = services, services.store, services.vault
        self._failed_for = services.settings.failed_for
        self._clock, engine = adapters.clock, adapters.engines.of(environment.engine)
        self._environment, self._lease = environment, lease
        self._engine = fenced(engine, self._insist) if lease else engine
        self.left: list[str] = []  # what `repair` found and could not change

    def repair(self, by_hand: bool = False) -> list[str]:
        """Brings everything to what the store says; what was done. ``by_hand``: reverts manual changes as well.
        Idempotent. Raises LeaseLost, and what the engine raises."""
        if spec := self.active_spec():
            self._engine.slots.prepare(spec.ref, spec.hosts, routes=spec.web)
        said = []
        for one in chain(self.differences(), self.drift() if by_hand else ()):
            self._still_ours()
            if one.repair() is not False:
                said.append(f"{self._environment.id}: {one.repaired}")
            else:
                self.left.append(one.found)
        self.left += self.obstacles()
        self._renew_checks()
        return said + self._detach() + self._clear_expired()

    def differences(self) -> Iterator[Difference]:
        """In the order in which they are repaired: traffic first."""
        if self._environment.asleep:
            yield from self._sleeping()
        else:
            yield from self._serving()
            yield from self._shared()
            yield from self._processes()
            yield from self._crashing()
            yield from self._warm()
        yield from self._noticed()
        yield from self._left_behind()
        yield from self._failed()
        yield from self._commands()

    def obstacles(self) -> list[str]:
        """What keeps the slot that serves from running, and is not for Pushlive to change."""
        spec = None if self._environment.asleep else self.active_spec()
        found = self._engine.drift.obstacles(spec) if spec else ()
        return [f"{_named(spec)} should serve, but {'; '.join(found)}"] if spec and found else []

    def drift(self) -> Iterator[Difference]:
        """Manual changes to the slot that serves. There may be good reason for them: reverted on request only."""
        spec = None if self._environment.asleep else self.active_spec()
        if spec and (lines := self._engine.drift.drift(spec)):
            what = _named(spec)
            yield Difference(
                f"{what} was changed by hand: {'; '.join(lines)}",
                f"{what} was changed by hand; the changes were reverted: {'; '.join(one.back for one in lines)}",
                lambda: self._engine.drift.revert_drift(spec),
            )

    # ── sleep ────────────────────────────────────────────────────────────────

    def _sleeping(self) -> Iterator[Difference]:
        """What sleeps has ended and its requests wait; what is being woken comes up."""
        sleeper = Sleeper(self._services, self._engine, self._clock, self._lease)
        for one in sleeper.differences(self._environment):
            yield Difference(one.found, one.repaired, one.repair)

    # ── traffic ──────────────────────────────────────────────────────────────

    def _serving(self) -> Iterator[Difference]:
        """The active slot runs, and the proxy sends the traffic there; without an active slot, nowhere."""
        spec = self.active_spec()
        if spec is None:
            yield from self._serving_nothing()
            return
        if missing := self._engine.drift.missing(spec):
            what = _named(spec)
            notes = self._vault.substitutes(spec.ref.pipeline, spec.ref.environment, spec.secrets)
            yield Difference(
                f"{what} should serve, but {'; '.join(missing)}",
                f"{what} was not running and was started: {'; '.join([*missing, *notes])}",
                lambda: self._restore(spec),
            )
        yield from self._traffic(spec)

    def _traffic(self, spec: SlotSpec) -> Iterator[Difference]:
        serves = self._engine.traffic.serving(spec.ref)
        if not spec.web:
            if serves:
                yield Difference(
                    f"the proxy serves {serves}, and {_named(spec)} has no web process",
                    f"the proxy served {serves}, and {_named(spec)} has no web process; it answers 503 now",
                    lambda: self._engine.traffic.unroute(spec.ref),
                )
        elif serves != spec.ref.slot:
            what = _named(spec)
            yield Difference(
                f"the proxy serves {serves or 'nothing'}, it should serve {what}",
                f"the proxy was brought back to {what}",
                lambda: self._engine.traffic.switch(spec),
            )

    def _shared(self) -> Iterator[Difference]:
        """A part of the traffic goes to another slot only as long as a run is at it."""
        shift = shifting.wanted(self._environment)
        if shift and self._ended(shift.run):
            shift = None
        ref = slot_ref(self._environment, self._environment.active or "")
        has, left = self._engine.traffic.shared(ref), self._environment.shift is not None and shift is None
        if has == share_of(shift) and not left:
            return
        if shift:
            spec = self._spec(shift.slot)
            what, much = _named(spec), f"{shifting.percent(shift.percent)} of the {shifting.whom(shift)}"
            yield Difference(
                f"the proxy should send {much} to {what}, and does not",
                f"the proxy sends {much} to {what} again",
                lambda: self._share(spec, shift),
            )
        elif has or left:
            where = self._environment.active or "no slot"
            yield Difference(
                f"a part of the visitors goes to {has.slot if has else 'another slot'}, all should go to {where}",
                f"a part of the visitors went to another slot than {where}; they no longer do",
                self._unshare,
            )

    def _share(self, spec: SlotSpec, shift: Shift) -> None:
        if self._engine.drift.missing(spec):
            self._engine.drift.restore(spec)
        self._engine.traffic.share(spec, shift.percent, shift.route)

    def _unshare(self) -> None:
        """The record first: no later round gives the slot a share again."""

        def act(transaction: Transaction) -> None:
            found = transaction.environment(self._environment.name)
            if found.shift == self._environment.shift:
                if shifting.wanted(found):
                    transaction.count_shift(found, ShiftOutcome.BACK)
                transaction.put_environment(shifting.ended(found))

        self._store.transact(self._environment.pipeline, act, fence=self._lease)
        self._engine.traffic.unshare(slot_ref(self._environment, self._environment.active or ""))

    def _serving_nothing(self) -> Iterator[Difference]:
        ref = slot_ref(self._environment, "blue")
        serves = self._engine.traffic.serving(ref)
        # A record without any slot may be new, after the store was lost: what serves must keep serving.
        if serves and (self._environment.slots or not self._engine.slots.replicas(replace(ref, slot=serves))):
            yield Difference(
                f"the proxy serves {serves}, which was never recorded",
                "the proxy served a slot that was never recorded; it answers 503 now",
                lambda: self._engine.traffic.unroute(ref),
            )

    def _noticed(self) -> Iterator[Difference]:
        """Visitors read a notice in maintenance, and at no other time."""
        traffic, here = self._engine.traffic, self._environment
        if here.active and notices.differs(traffic, here):
            what = (
                "the notice of its maintenance" if here.maintenance else "no notice: it is not in maintenance"
            )
            yield Difference(
                f"visitors should get {what}",
                f"visitors now get {what}",
                lambda: notices.settle(self._store, traffic, here.pipeline, here.name),
            )

    def _restore(self, spec: SlotSpec) -> bool:
        refuse(self._store, volumes_of(spec))
        end_other(self._engine, spec, self._must_be_alone(other(spec.ref.slot)))
        try:
            acted = self._engine.drift.restore(spec)
        except PushliveError:
            if self._engine.traffic.serving(spec.ref) is None:
                self._engine.traffic.unroute(spec.ref)  # requests must not wait for what does not come
            raise
        self._still_ours()  # starting may have taken long
        return acted

    def _processes(self) -> Iterator[Difference]:
        """They run in the slot that serves, and nowhere else."""
        for one in processes.drift(self._engine, self._environment, self.active_spec()):
            yield Difference(one.found, one.repaired, partial(self._with_files, one.repair))

    def _with_files(self, start: Callable[[], bool | None]) -> bool | None:
        """Unless a volume of what serves waits for its files."""
        if spec := self.active_spec():
            refuse(self._store, volumes_of(spec))
        return start()

    # ── the other slot ───────────────────────────────────────────────────────

    def _warm(self) -> Iterator[Difference]:
        """A warm slot makes an instant revert possible: it runs, or the record does not claim it."""
        now = self._clock.now()
        for slot, record in self._environment.slots.items():
            if record.state != SlotState.WARM or record.until <= now:
                continue
            spec = self._spec(slot)
            if missing := self._engine.drift.missing(spec):
                what = f"the warm slot {_named(spec)}"
                yield Difference(
                    f"{what} is kept for an instant revert, but {'; '.join(missing)}",
                    f"{what} was not running and was started, or else cleared: {'; '.join(missing)}",
                    lambda spec=spec: self._restore_or_clear(spec),  # type: ignore[misc]
                )

    def _crashing(self) -> Iterator[Difference]:
        """A release that bake or judge took back does not crash on: no revert goes to it by itself."""
        for slot, revert in crashing.taken_back(self._environment):
            if self._ended(revert):
                what = f"{slot} (r{self._environment.slots[slot].release})"
                yield Difference(
                    f"{what} was taken back by #{revert}, and crashes again and again",
                    f"{what} was taken back by #{revert} and crashed again and again; it was stopped and is kept for "
                    "inspection",
                    lambda slot=slot: self._give_up(slot),  # type: ignore[misc]
                )

    def _give_up(self, slot: Slot) -> None:
        record, until = self._environment.slots[slot], self._clock.now() + self._failed_for

        def act(transaction: Transaction) -> Environment:
            found = transaction.environment(self._environment.name)
            if found.slots.get(slot) == record:
                found = crashing.given_up(found, slot, until)
                transaction.put_environment(found)
            return found

        self._environment = self._store.transact(self._environment.pipeline, act, fence=self._lease)
        if self._environment.slots[slot].state == SlotState.FAILED:
            self._stop_failed(slot)

    def _must_be_alone(self, slot: Slot) -> bool:
        return slot in self._environment.slots and alone(self._store, self._environment, slot, self._engine)

    def _restore_or_clear(self, spec: SlotSpec) -> bool:
        try:
            refuse(self._store, volumes_of(spec))
            return self._engine.drift.restore(spec)
        except PushliveError:
            self._clear(spec.ref.slot)  # a revert starts the release again, or reports that its image is gone
            return True

    def _left_behind(self) -> Iterator[Difference]:
        """Slots that an ended run began and will never finish; containers without a record."""
        for slot, record in self._environment.slots.items():
            if record.state == SlotState.STARTING and self._ended(record.run):
                yield Difference(
                    f"{slot} was left behind by #{record.run}, which has ended",
                    f"{slot} was left behind by #{record.run}, which has ended; it was cleared",
                    lambda slot=slot: self._clear(slot),  # type: ignore[misc]
                )
        for slot in SLOTS:
            ref = slot_ref(self._environment, slot)
            if slot not in self._environment.slots and self._engine.slots.replicas(ref):
                yield Difference(
                    f"{slot} has containers without a record",
                    f"{slot} had containers without a record; they were removed",
                    lambda slot=slot: self._clear(slot),  # type: ignore[misc]
                )

    def _failed(self) -> Iterator[Difference]:
        """A failed slot is kept, but its release does not work on: nothing else takes what it does to queues and
        databases back."""
        for slot, record in self._environment.slots.items():
            if record.state == SlotState.FAILED and record.until > self._clock.now() and self._works(slot):
                what = f"{slot} (r{record.release})"
                yield Difference(
                    f"{what} has failed, but still runs",
                    f"{what} had failed and still ran; it was stopped and is kept for inspection",
                    lambda slot=slot: self._stop_failed(slot),  # type: ignore[misc]
                )

    def _works(self, slot: Slot) -> bool:
        return failed_slot.works(self._engine, slot_ref(self._environment, slot))

    def _stop_failed(self, slot: Slot) -> None:
        def masked(lines: tuple[str, ...]) -> tuple[str, ...]:
            return self._vault.mask(self._environment.pipeline)[0].lines(lines)

        failed_slot.stop(self._engine, self._store.facts, self._environment, slot, masked)

    def _commands(self) -> Iterator[Difference]:
        """Command containers of runs that have ended. They are kept for inspection as long as a failed slot is."""
        ref = slot_ref(self._environment, "blue")
        if not self._store.leases.free(backup_lease(self._environment.id)):
            return  # a backup's are of a run that ended long ago
        for run in sorted(self._engine.commands.command_runs(ref)):
            if self._ended(run, self._failed_for):
                yield Difference(
                    f"command containers of #{run} were left behind",
                    f"command containers of #{run} were left behind; they were removed",
                    lambda run=run: self._engine.commands.forget_commands(ref, run),  # type: ignore[misc]
                )

    def _renew_checks(self) -> None:
        if self._environment.asleep:
            return
        for slot, record in self._environment.slots.items():
            if record.state in (SlotState.SERVING, SlotState.WARM) and (spec := self._spec(slot)).web:
                self._engine.traffic.renew_checks(spec)

    # ── connections ──────────────────────────────────────────────────────────

    def _detach(self) -> list[str]:
        """Once `drain` is over, a warm slot answers no one any more, however long a connection lives, unless its
        release says `connections: keep`."""
        said = []
        now = self._clock.now()
        for slot, record in self._environment.slots.items():
            if record.state != SlotState.WARM or record.until <= now:
                continue
            spec = self._spec(slot)
            service = spec.config.service
            if service.http.connections == "move" and now >= record.since + service.drain:
                self._still_ours()
                count = self._engine.traffic.detach(spec.ref, mark_of(record))
                if count:
                    text = f"the pods of the warm slot {slot} ({count}) were replaced, which ends its old connections"
                    said.append(f"{self._environment.id}: {text}")
                if closed := self._engine.traffic.drain(spec.ref, 0.0, Deadline(self._clock, 5.0, "drain")):
                    text = f"{closed} connections to the warm slot {_named(spec)} were closed, since `drain` is over"
                    said.append(f"{self._environment.id}: {text}")
        return said

    # ── what is kept for a while ─────────────────────────────────────────────

    def _clear_expired(self) -> list[str]:
        """Warm and failed slots whose time is over. A warm one is drained first, a little in every round."""
        said = []
        now = self._clock.now()
        for slot in expired(self._environment, now):
            record = self._environment.slots[slot]
            if record.state == SlotState.WARM and self._still_busy(slot, now):
                continue
            if record.state == SlotState.FAILED and self._still_answers(slot, now):
                continue
            self._clear(slot)
            said.append(f"{self._environment.id}: {record.state} slot {slot} (r{record.release}) was cleared")
        return said

    def _still_answers(self, slot: Slot, now: float) -> bool:
        """A failed slot may have had a part of the visitors until just now."""
        left = now < self._environment.slots[slot].until + FAILED_DRAIN
        return left and self._engine.traffic.open_sessions(slot_ref(self._environment, slot)) > 0

    def _still_busy(self, slot: Slot, now: float) -> bool:
        record, spec = self._environment.slots[slot], self._spec(slot)
        if self._engine.traffic.open_sessions(spec.ref) and now < record.until + spec.config.service.drain:
            return True
        watch = Deadline(self._clock, 5.0, "drain")
        self._engine.traffic.drain(spec.ref, DRAIN_PER_ROUND, watch)
        return False

    def _clear(self, slot: Slot) -> None:
        self._engine.slots.stop(slot_ref(self._environment, slot))
        record = self._environment.slots.get(slot)

        def act(transaction: Transaction) -> None:
            found = transaction.environment(self._environment.name)
            if found.slots.get(slot) == record:  # else another run has taken the slot meanwhile
                slots = {key: kept for key, kept in found.slots.items() if key != slot}
                transaction.put_environment(replace(found, slots=slots))

        self._store.transact(self._environment.pipeline, act, fence=self._lease)
        failed_slot.forget(self._store.facts, self._environment, slot)

    # ── small helpers ────────────────────────────────────────────────────────

    def _still_ours(self) -> None:
        if self._lease is None or not self._store.leases.renew(self._lease):
            raise LeaseLost(f"another worker has taken over {self._environment.id}.")

    def _insist(self) -> None:
        if self._lease is None or not self._store.leases.ours((self._lease,)):
            raise LeaseLost(f"another worker has taken over {self._environment.id}.")

    def _ended(self, number: int, since: float = 0.0) -> bool:
        """True if that run ended at least ``since`` seconds ago."""
        try:
            run = self._store.run(self._environment.pipeline, number)
        except NotFound:
            return True
        return run.state == State.ENDED and run.ended + since <= self._clock.now()

    def active_spec(self) -> SlotSpec | None:
        """What should serve; None if nothing should."""
        active = self._environment.active
        return self._spec(active) if active else None

    def _spec(self, slot: Slot) -> SlotSpec:
        return spec_in(self._services, self._environment, slot)


def share_of(shift: Shift | None) -> Share | None:
    """What the proxy has to say of it."""
    return Share(shift.slot, shift.percent) if shift else None


def _named(spec: SlotSpec) -> str:
    """As people know it: "blue (r17)"."""
    return f"{spec.ref.slot} (r{spec.release})"
