"""What the store says against what Engine and proxy really have, in one environment.

``differences`` finds them one after the other and changes nothing by itself; each brings the act that mends it. So
`pushlive doctor` says just what the keeper would do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain

from pipeline.domain import slots as slots_rules
from pipeline.domain.engine_types import SlotSpec
from pipeline.domain.environment import SLOTS, Environment, Slot, SlotState
from pipeline.domain.run import State
from pipeline.errors import LeaseLost, NotFound, PushliveError
from pipeline.ports.adapters import Adapters
from pipeline.ports.clock import Deadline
from pipeline.secrets.vault import Vault
from pipeline.store import Lease, Store, Transaction

DRAIN_SLICE = 0.2  # seconds that one environment's drain may hold up the others


@dataclass(frozen=True)
class Difference:
    """``found``: what is not as the store says; ``mended``: what is said once ``mend`` has been called."""

    found: str
    mended: str
    mend: Callable[[], bool | None]  # False: there was nothing to do, whoever has to is at it


class Reconciler:
    """One environment. ``lease``: that of the environment, for mending; None where nobody will mend."""

    def __init__(
        self,
        store: Store,
        parts: Adapters,
        environment: Environment,
        failed_for: float,
        lease: Lease | None,
        vault: Vault,
    ) -> None:
        self._vault = vault
        self._store, self._adapters, self._engine = store, parts, parts.engines.of(environment.engine)
        self._environment, self._failed_for, self._lease = environment, failed_for, lease
        self.left: list[str] = []  # what `mend` found and could do nothing about

    def mend(self, by_hand: bool = False) -> list[str]:
        """Brings everything to what the store says; what was done. With ``by_hand`` also what somebody changed and
        which runs all the same. Raises LeaseLost, and what the engine raises."""
        active = self._environment.active
        if active:
            spec = self._spec(active)
            self._engine.slots.prepare(spec.ref, spec.config.hosts)
        said = []
        for one in chain(self.differences(), self.drift() if by_hand else ()):
            self._still_ours()
            if one.mend() is not False:
                said.append(f"{self._environment.id}: {one.mended}")
            else:
                self.left.append(one.found)
        return said + self._detach() + self._clear_expired()

    def differences(self) -> Iterator[Difference]:
        """In the order in which they have to be mended: traffic first."""
        yield from self._serving()
        yield from self._warm()
        yield from self._left_behind()
        yield from self._commands()

    def drift(self) -> Iterator[Difference]:
        """What somebody changed by hand in the slot that serves, perhaps for good reason: mended on wish alone."""
        active = self._environment.active
        if active is None:
            return
        spec = self._spec(active)
        if lines := self._engine.drift.drift(spec):
            what = f"{active} (r{spec.release})"
            yield Difference(
                f"{what} was changed by hand: {'; '.join(lines)}",
                f"{what} was changed by hand and was brought back: {'; '.join(lines)}",
                lambda: self._engine.drift.revert_drift(spec),
            )

    # ── traffic ──────────────────────────────────────────────────────────────

    def _serving(self) -> Iterator[Difference]:
        """The active slot runs, and the proxy sends the traffic there; nowhere where none is active."""
        active = self._environment.active
        if active is None:
            yield from self._serving_nothing()
            return
        spec = self._spec(active)
        if missing := self._engine.drift.missing(spec):
            what = f"{active} (r{spec.release})"
            notes = self._vault.substitutes(spec.ref.pipeline, spec.ref.environment, spec.secrets)
            yield Difference(
                f"{what} should serve, but {'; '.join(missing)}",
                f"{what} was not running and was started: {'; '.join([*missing, *notes])}",
                lambda: self._revive(spec),
            )
        yield from self._traffic(spec)

    def _traffic(self, spec: SlotSpec) -> Iterator[Difference]:
        active, serves = spec.ref.slot, self._engine.traffic.serving(spec.ref)
        if serves != active:
            what = f"{active} (r{spec.release})"
            yield Difference(
                f"the proxy serves {serves or 'nothing'}, it should serve {what}",
                f"the proxy was brought back to {what}",
                lambda: self._engine.traffic.switch(spec),
            )

    def _serving_nothing(self) -> Iterator[Difference]:
        ref = slots_rules.slot_ref(self._environment, "blue")
        serves = self._engine.traffic.serving(ref)
        # A record without any slot may be a new one after the store was lost: what really serves goes on serving.
        if serves and (self._environment.slots or not self._engine.slots.replicas(replace(ref, slot=serves))):
            yield Difference(
                f"the proxy serves {serves}, which was never recorded",
                "the proxy served a slot that was never recorded; it answers 503 again",
                lambda: self._engine.traffic.unroute(ref),
            )

    def _revive(self, spec: SlotSpec) -> bool:
        acted = self._engine.drift.restore(spec)
        self._still_ours()  # that may have taken long
        return acted

    # ── the other slot ───────────────────────────────────────────────────────

    def _warm(self) -> Iterator[Difference]:
        """A warm slot is there for an instant revert: it runs, or the record does not claim it."""
        now = self._adapters.clock.now()
        for slot, record in self._environment.slots.items():
            if record.state != SlotState.WARM or record.until <= now:
                continue
            spec = self._spec(slot)
            if missing := self._engine.drift.missing(spec):
                what = f"the warm slot {slot} (r{record.release})"
                yield Difference(
                    f"{what} is kept for an instant revert, but {'; '.join(missing)}",
                    f"{what} was not running and was started, or given up: {'; '.join(missing)}",
                    lambda spec=spec: self._revive_or_forget(spec),  # type: ignore[misc]
                )

    def _revive_or_forget(self, spec: SlotSpec) -> bool:
        try:
            return self._engine.drift.restore(spec)
        except PushliveError:
            self._clear(spec.ref.slot)  # a revert starts it anew, and says so, or that its image is gone
            return True

    def _left_behind(self) -> Iterator[Difference]:
        """Slots that a run began and, having ended, will never finish; containers without a record."""
        for slot, record in self._environment.slots.items():
            if record.state == SlotState.STARTING and self._ended(record.run):
                yield Difference(
                    f"{slot} was left behind by #{record.run}, which has ended",
                    f"{slot} was left behind by #{record.run} and was cleared",
                    lambda slot=slot: self._clear(slot),  # type: ignore[misc]
                )
        for slot in SLOTS:
            ref = slots_rules.slot_ref(self._environment, slot)
            if slot not in self._environment.slots and self._engine.slots.replicas(ref):
                yield Difference(
                    f"{slot} holds containers that no record knows",
                    f"{slot} held containers that nobody knew; they were removed",
                    lambda slot=slot: self._clear(slot),  # type: ignore[misc]
                )

    def _commands(self) -> Iterator[Difference]:
        """Commands of runs that have ended. Those of a failed run are kept for inspection as its slot is."""
        ref = slots_rules.slot_ref(self._environment, "blue")
        for run in sorted(self._engine.commands.command_runs(ref)):
            if self._ended(run, self._failed_for):
                yield Difference(
                    f"containers of commands of #{run} are left over",
                    f"containers of commands of #{run} were left over and were removed",
                    lambda run=run: self._engine.commands.forget_commands(ref, run),  # type: ignore[misc]
                )

    # ── connections ──────────────────────────────────────────────────────────

    def _detach(self) -> list[str]:
        """Once `drain` is over, a warm slot answers nobody any more, however long a connection lives."""
        said = []
        now = self._adapters.clock.now()
        for slot, record in self._environment.slots.items():
            if record.state != SlotState.WARM or record.until <= now:
                continue
            spec = self._spec(slot)
            if now >= record.since + spec.config.service.drain:
                self._still_ours()
                count = self._engine.traffic.detach(spec.ref, slots_rules.mark_of(record))
                if count:
                    text = f"the pods of the warm slot {slot} ({count}) were replaced, which ends its old connections"
                    said.append(f"{self._environment.id}: {text}")
        return said

    # ── what is kept for a while ─────────────────────────────────────────────

    def _clear_expired(self) -> list[str]:
        """Warm and failed slots whose time is over; a warm one is drained in slices."""
        said = []
        now = self._adapters.clock.now()
        for slot in slots_rules.expired(self._environment, now):
            record = self._environment.slots[slot]
            if record.state == SlotState.WARM and self._still_busy(slot, now):
                continue
            self._clear(slot)
            said.append(f"{self._environment.id}: {record.state} slot {slot} (r{record.release}) was cleared")
        return said

    def _still_busy(self, slot: Slot, now: float) -> bool:
        record, spec = self._environment.slots[slot], self._spec(slot)
        if self._engine.traffic.open_sessions(spec.ref) and now < record.until + spec.config.service.drain:
            return True
        watch = Deadline(self._adapters.clock, 5.0, "drain")
        self._engine.traffic.drain(spec.ref, DRAIN_SLICE, watch)
        return False

    def _clear(self, slot: Slot) -> None:
        self._engine.slots.stop(slots_rules.slot_ref(self._environment, slot))
        record = self._environment.slots.get(slot)

        def act(transaction: Transaction) -> None:
            found = transaction.environment(self._environment.name)
            if found.slots.get(slot) == record:  # somebody else's by now, if it is another
                slots = {key: kept for key, kept in found.slots.items() if key != slot}
                transaction.put_environment(replace(found, slots=slots))

        self._store.transact(self._environment.pipeline, act, fence=self._lease)

    # ── small helpers ────────────────────────────────────────────────────────

    def _still_ours(self) -> None:
        if self._lease is None or not self._store.leases.renew(self._lease):
            raise LeaseLost(f"{self._environment.id} is somebody else's now.")

    def _ended(self, number: int, since: float = 0.0) -> bool:
        """True where that run has ended, so many seconds ago at least."""
        try:
            run = self._store.run(self._environment.pipeline, number)
        except NotFound:
            return True
        return run.state == State.ENDED and run.ended + since <= self._adapters.clock.now()

    def _spec(self, slot: Slot) -> SlotSpec:
        record = self._environment.slots[slot]
        release = self._store.release(self._environment.pipeline, record.release)
        ref = slots_rules.slot_ref(self._environment, slot)
        # With the versions of its secrets that its containers have: their release's own may be revoked by now.
        reveal = partial(self._vault.reveal, ref.pipeline, ref.environment, record.secrets)
        spec = slots_rules.spec_of(ref, release, record.run, record.secrets)
        login = partial(self._vault.login, ref.pipeline, spec.config.registry)
        return replace(spec, reveal=reveal, login=login)
