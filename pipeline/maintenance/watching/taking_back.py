"""What both watches do with a release that they found to be bad: it is taken back, or the environment is held."""

from __future__ import annotations

from typing import Generic, Protocol, TypeVar

from pipeline.deploy.accessories import AccessoryCare
from pipeline.deploy.services import Services
from pipeline.domain import audit_chain, gates
from pipeline.domain.audit_chain import Actor
from pipeline.domain.environment import SLOTS, Environment
from pipeline.domain.run import Run
from pipeline.domain.shifting.rule import leaves_alone
from pipeline.domain.slots import slot_ref
from pipeline.domain.watching.bake import Judgement
from pipeline.domain.watching.trials import Finding
from pipeline.errors import Doubtful, PushliveError, StoreUnavailable, TryAgain
from pipeline.maintenance.damage import Damage
from pipeline.maintenance.job import Job
from pipeline.notify import messages
from pipeline.ports.adapters import Adapters
from pipeline.store import Transaction
from pipeline.store.configurations import CURRENT

Found = Judgement | Finding
F = TypeVar("F", Judgement, Finding)


class TakeBack(Protocol):
    def __call__(self, environment: Environment, found: Found, *, dry: bool = False) -> Run | None:
        """Reverts as a person would; None if it is over by now. ``dry``: nothing is written. Raises RequestError if
        nothing can be put back, and what ``Commands.revert`` raises."""
        ...


class TakesBack(Job, Generic[F]):
    """Needs no lease of an environment: it changes records only, each bound to what it saw. ``take_back``: reverts as a
    person would."""

    def __init__(self, services: Services, adapters: Adapters, damage: Damage, take_back: TakeBack) -> None:
        self._store, self._clock, self._damage = services.store, adapters.clock, damage
        self._care = AccessoryCare(services, adapters.engines, adapters.clock)
        self._take_back = take_back

    def run(self) -> list[str]:
        said: list[str] = []
        for environment in self._damage.each(lambda name: self._store.environments(name).values()):
            found = self._found(environment)
            if found and self._may_settle(environment, found):
                said += self._end(environment, found)
        return said

    def _found(self, environment: Environment) -> F | None:
        """What something follows from now; None if there is nothing."""
        raise NotImplementedError

    def _end(self, environment: Environment, found: F) -> list[str]:
        """What follows from it; returns what the log gets."""
        raise NotImplementedError

    def _may_settle(self, environment: Environment, found: Found) -> bool:
        """No run is at work there, nor a restart or a restore: it may be what takes it out of service. While a shift is
        under way only a good end is recorded; if what serves fails, the shift moves its visitors on."""
        holder = self._store.leases.holder(f"env:{environment.id}")
        return not holder or (not found.act and leaves_alone(environment, holder))

    def _taken_back(
        self, environment: Environment, found: Found, *, dry: bool = False
    ) -> tuple[Run | None, str]:
        """The revert, or why there is none: "" if that is over by now."""
        why = self._away(environment, found)
        if why:
            return None, why
        try:
            return self._take_back(environment, found, dry=dry), ""
        except (StoreUnavailable, TryAgain):
            raise
        except PushliveError as error:
            why = error.why if isinstance(error, Doubtful) else error.message.rstrip(".")
            return None, why + (f". {error.advice.rstrip('.')}" if error.advice else "")

    def _away(self, environment: Environment, found: Found) -> str:
        """Which accessories that the release uses are away: another release would miss them as well."""
        release = self._store.release(environment.pipeline, found.release)
        config = release.environments[environment.name]
        return "; ".join(self._care.away(slot_ref(environment, SLOTS[0]), config))

    def _held(
        self, tx: Transaction, environment: Environment, found: Found, reason: str, now: float
    ) -> Environment:
        entry = audit_chain.entry(
            Actor(found.by, way="keeper"),
            "hold",
            now,
            pipeline=environment.pipeline,
            environment=environment.name,
            release=found.release,
            why=reason,
            before=gates.hold_text(environment.hold),
            after=f"held by {found.by}: {reason}",
        )
        tx.record(entry)
        if environment.hold:
            return gates.also_held(environment, reason)
        return messages.held(tx, gates.hold(environment, reason, found.by, now), tx.fact(CURRENT))
