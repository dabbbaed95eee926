"""Ends the time for which a release is watched after its switch: it did not fail, or it is taken back, or the
environment is held, or people are told. What is wrong was found by ``health``; what follows from it is decided by
``pipeline.domain.watching.bake``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from pipeline.deploy.accessories import AccessoryCare
from pipeline.deploy.services import Services
from pipeline.domain import audit_chain, gates
from pipeline.domain.audit_chain import Actor
from pipeline.domain.environment import SLOTS, BakeOutcome, Environment
from pipeline.domain.run import Run
from pipeline.domain.slots import slot_ref
from pipeline.domain.watching import bake
from pipeline.domain.watching.bake import Judgement
from pipeline.errors import Doubtful, PushliveError, StoreUnavailable, TryAgain
from pipeline.maintenance.damage import Damage
from pipeline.maintenance.job import Job
from pipeline.notify import messages
from pipeline.ports.adapters import Adapters
from pipeline.store import Transaction
from pipeline.store.configurations import CURRENT

TakeBack = Callable[[Environment, Judgement], Run | None]


class Baking(Job):
    """Needs no lease of an environment: it changes records only, each bound to what it saw. ``take_back``: reverts as a
    person would."""

    def __init__(self, services: Services, adapters: Adapters, damage: Damage, take_back: TakeBack) -> None:
        self._store, self._clock, self._damage = services.store, adapters.clock, damage
        self._care = AccessoryCare(services, adapters.engines, adapters.clock)
        self._take_back = take_back

    def run(self) -> list[str]:
        said: list[str] = []
        for environment in self._damage.each(lambda name: self._store.environments(name).values()):
            found = bake.judged(environment)
            if found and self._is_free(environment):
                said += self._end(environment, found)
        return said

    def _is_free(self, environment: Environment) -> bool:
        """No run is at work there, nor a restart or a restore: it may be what takes it out of service."""
        return self._store.leases.free(f"env:{environment.id}")

    def _end(self, environment: Environment, found: Judgement) -> list[str]:
        if found.act != "revert":
            return self._settle(environment, found)
        why = self._away(environment, found)
        if not why:
            try:
                run = self._take_back(environment, found)
                text = f"{environment.id}: r{found.bake.release} is taken back: {found.reason}"
                return [f"{text} ({run.id})"] if run else []
            except (StoreUnavailable, TryAgain):
                raise
            except PushliveError as error:
                why = error.why if isinstance(error, Doubtful) else error.message.rstrip(".")
                why += f". {error.advice.rstrip('.')}" if error.advice else ""
        return self._settle(
            environment,
            replace(found, act="hold", reason=f"{found.reason}. It is not taken back: {why}"),
        )

    def _away(self, environment: Environment, found: Judgement) -> str:
        """Which accessories that the release uses are away: another release would miss them as well."""
        release = self._store.release(environment.pipeline, found.bake.release)
        config = release.environments[environment.name]
        return "; ".join(self._care.away(slot_ref(environment, SLOTS[0]), config))

    def _settle(self, environment: Environment, found: Judgement) -> list[str]:
        """Ends it without a revert."""
        said: list[str] = []
        now = self._clock.now()

        def act(tx: Transaction) -> None:
            said.clear()
            there = tx.environment(environment.name)
            again = bake.judged(there)
            if again is None or (again.outcome, again.bake.since) != (found.outcome, found.bake.since):
                return
            changed = bake.ended(there, found.outcome, found.reason, now)
            if found.act == "hold":
                changed = self._held(tx, changed, found, now)
            tx.put_environment(changed)
            said.extend(_told(tx, changed, found))

        self._store.transact(environment.pipeline, act)
        return said

    def _held(self, tx: Transaction, environment: Environment, found: Judgement, now: float) -> Environment:
        entry = audit_chain.entry(
            Actor(bake.BY, way="keeper"),
            "hold",
            now,
            pipeline=environment.pipeline,
            environment=environment.name,
            release=found.bake.release,
            why=found.reason,
        )
        tx.record(entry)
        if environment.hold:
            return gates.also_held(environment, found.reason)
        return messages.held(tx, gates.hold(environment, found.reason, bake.BY, now), tx.fact(CURRENT))


def _told(tx: Transaction, environment: Environment, found: Judgement) -> list[str]:
    one, name = environment.bakes[-1], f"r{found.bake.release}"
    if found.outcome == BakeOutcome.BAKED:
        messages.baked(tx, environment, one)
        return [f"{environment.id}: {name} is baked"]
    if found.outcome == BakeOutcome.SUPERSEDED:
        return []
    messages.bake_failed(tx, environment, one)
    return [f"{environment.id}: {found.reason}"]
