"""Looks at what serves, and at what is warm: a release that passed its checks may stop working later.

It only looks and records, and has those told who want to know: what to do is for a person to decide.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pipeline.deploy.data import accessory_acts as acts
from pipeline.deploy.services import Services
from pipeline.deploy.slot.in_turn import exchanging, instead
from pipeline.domain import outages
from pipeline.domain.environment import Environment, Slot
from pipeline.domain.health import Seen
from pipeline.domain.shifting.rule import leaves_alone
from pipeline.domain.slots import slot_ref, spec_of
from pipeline.domain.watching import bake
from pipeline.domain.watching.seen import Mask, of_replica
from pipeline.errors import EngineAway, PushliveError, StoreUnavailable
from pipeline.maintenance.damage import Damage
from pipeline.maintenance.job import Job
from pipeline.notify import messages
from pipeline.ports.adapters import Adapters
from pipeline.store import Transaction


class Watches(Job):
    """Looks at each environment. Needs no lease of one: it changes nothing on an engine."""

    def __init__(self, services: Services, adapters: Adapters, damage: Damage) -> None:
        self._store, self._vault = services.store, services.vault
        self._adapters, self._damage = adapters, damage

    def run(self) -> list[str]:
        said: list[str] = []
        self.waited = 0.0
        away: set[str] = set()  # engines that do not answer: each is asked once a round
        for environment in self._damage.each(lambda name: self._store.environments(name).values()):
            if environment.asleep:
                continue  # nothing runs there on purpose
            if environment.engine in away:
                self._miss(environment)
                continue
            began = self._adapters.clock.monotonic()
            try:
                said += self._one(environment)
            except EngineAway:
                away.add(environment.engine)
                self._miss(environment)
                self.waited += self._adapters.clock.monotonic() - began
            except StoreUnavailable:
                raise
            except PushliveError:
                continue  # nothing is known, so nothing changes; what reconciliation says of it is shown
        return said

    def _miss(self, environment: Environment) -> None:
        now = self._adapters.clock.now()
        if bake.missed(environment, now) == environment:
            return

        def act(tx: Transaction) -> None:
            tx.put_environment(bake.missed(tx.environment(environment.name), now))

        self._store.transact(environment.pipeline, act)

    def _masked(self, pipeline: str) -> Mask:
        def masked(text: str) -> str:
            try:
                return self._vault.mask(pipeline)[0].text(text)
            except PushliveError:
                return "its check fails"  # a text that cannot be masked is not shown

        return masked

    def _is_busy(self, environment: Environment) -> bool:
        """A run, a restart or a restore is at work in an environment whose release is watched after its switch. A run
        that only waits for the end of a step of its shift is not."""
        if environment.bake is None:
            return False
        holder = self._store.leases.holder(f"env:{environment.id}")
        return bool(holder) and not leaves_alone(environment, holder)

    def _spared(self, environment: Environment, now: float) -> float:
        """Until when its release has time to find an accessory again that a person has restarted, upgraded or moved;
        0.0 if no one did."""
        if environment.bake is None:
            return 0.0
        used = self._store.accessories.of(environment.pipeline)
        ids = [one.id for one in used if one.environment == environment.name]
        return max((until for one in ids if (until := acts.spared(self._store, one, now)) > now), default=0.0)

    def _one(self, environment: Environment) -> list[str]:
        """Looks at one and records it; returns what the log gets. Raises what the engine and the store raise."""
        raise NotImplementedError


class WatchHealth(Watches):
    """What takes the traffic, and the warm slot."""

    def _one(self, environment: Environment) -> list[str]:
        seen = dict(self._look(environment))
        busy = self._is_busy(environment)
        now = self._adapters.clock.now()
        spared = self._spared(environment, now)
        if self._observed(environment, seen, now, busy, spared) == environment:
            return []
        said: list[str] = []

        def act(tx: Transaction) -> None:
            said.clear()
            found = tx.environment(environment.name)
            if found.asleep:
                return  # what was seen was its end
            same = {
                slot: one for slot, one in seen.items() if found.slots.get(slot) == environment.slots[slot]
            }
            now = self._adapters.clock.now()
            changed = self._observed(found, same, now, busy, spared)
            if changed != found:
                tx.put_environment(changed)
                said.extend(_told(tx, found, changed, now))
                said.extend(_rotation(found, changed, same.get(changed.active or "", ())))

        self._store.transact(environment.pipeline, act)
        return said

    def _observed(
        self,
        environment: Environment,
        seen: dict[Slot, tuple[Seen, ...]],
        now: float,
        busy: bool,
        spared: float,
    ) -> Environment:
        changed = outages.observed(environment, seen, now)
        if environment.active not in seen:
            return changed
        return bake.looked(changed, now, busy=busy, spared=spared)

    def _look(self, environment: Environment) -> Iterator[tuple[Slot, tuple[Seen, ...]]]:
        if exchanging(self._store, environment):
            return  # what serves is stopped on purpose; the run that does it says so
        engine, mask = self._adapters.engines.of(environment.engine), self._masked(environment.pipeline)
        for slot, record in environment.slots.items():
            if record.state not in outages.WATCHED:
                continue
            if slot != environment.active and instead(self._store, environment, record.release):
                continue  # it was stopped on purpose, too
            ref = slot_ref(environment, slot)
            release = self._store.release(environment.pipeline, record.release)
            spec = spec_of(ref, release, record.run, record.secrets)
            if not spec.web:  # its processes are looked at by themselves
                continue
            checked = {one.name: one for one in engine.traffic.health(spec)}
            replicas = engine.slots.replicas(ref)
            yield slot, tuple(of_replica(one, checked.get(one.name), mask) for one in replicas)


def _told(tx: Transaction, before: Environment, after: Environment, now: float) -> Iterator[str]:
    if after.down and not before.down:
        messages.down(tx, after)
        yield f"{after.id} is down: r{after.down.release}, {after.down.said}"
    if before.down and not after.down:
        messages.up(tx, after, before.down, now)
        yield f"{after.id} is up again with r{after.serving}"
    if after.degraded and not before.degraded:
        messages.degraded(tx, after)
        yield f"{after.id} is degraded: r{after.degraded.release}, {after.degraded.said}"
    if before.degraded and not after.degraded and not after.down:
        messages.up(tx, after, before.degraded, now, "degraded")
        yield f"{after.id} serves with all replicas again, with r{after.serving}"


def _rotation(before: Environment, after: Environment, seen: Iterable[Seen]) -> Iterator[str]:
    """Which replicas of the slot that serves are out of rotation now, and which are back."""
    old, new = outages.serving_health(before), outages.serving_health(after)
    if old is None or new is None or (old.release, old.run) != (new.release, new.run) or old.down:
        return
    for one in seen:
        if one.name in new.out and one.name not in old.out:
            yield f"{after.id}: {one.said}; it is out of rotation"
        if one.name in old.out and one.name not in new.out:
            yield f"{after.id}: {one.name} is back in rotation"
