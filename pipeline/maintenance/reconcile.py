"""Brings every environment to what the store says."""

from __future__ import annotations

from pipeline.deploy.heartbeat import LeaseHeartbeat
from pipeline.deploy.reconciler import Reconciler
from pipeline.deploy.services import Services
from pipeline.domain.environment import Environment
from pipeline.errors import EngineAway, LeaseLost, PushliveError
from pipeline.lib.retry import poll
from pipeline.maintenance.damage import Damage
from pipeline.maintenance.job import Job
from pipeline.maintenance.requeue import Requeue
from pipeline.ports.adapters import Adapters
from pipeline.store import Lease

KEEPER_WITHIN = 10.0  # seconds in which the keeper is usually done with an environment
ASK_EVERY = 0.2  # seconds between two attempts to take a lease


class Reconcile(Job):
    """Environments in which a run is at work are left to it. What cannot be repaired becomes the environment's
    ``problem`` in the store."""

    def __init__(self, services: Services, adapters: Adapters, requeue: Requeue, damage: Damage) -> None:
        self._services, self._adapters = services, adapters
        self._store, self._requeue, self._damage = services.store, requeue, damage

    def run(self) -> list[str]:
        return self.all()

    def all(self, *, by_hand: bool = False, say_busy: bool = False) -> list[str]:
        """Every environment; what was done. ``by_hand``: manual changes are reverted as well; ``say_busy``: waits for
        those in which the keeper is at work, and names those in which a run is."""
        said: list[str] = []
        until = self._adapters.clock.monotonic() + (KEEPER_WITHIN if say_busy else 0)
        self.waited = 0.0
        away: dict[str, str] = {}  # the error of each engine that does not answer: it is asked once a round
        for environment in self._damage.each(lambda name: self._store.environments(name).values()):
            if environment.engine in away:
                self._problem(environment, away[environment.engine])
                continue
            lease = self._lease(environment, until)
            if lease is None:
                busy = f"{environment.id}: a run, or the keeper, is at work there; try again in a moment"
                said += [busy] if say_busy else []
                continue
            said += self._under_lease(environment, lease, away, by_hand)
            self._requeue.run()
        return said

    def _lease(self, environment: Environment, until: float) -> Lease | None:
        """The lease on the environment, None if another has it until that monotonic time. Asked for once at least."""
        clock = self._adapters.clock

        def take() -> Lease | None:
            return self._store.leases.take(f"env:{environment.id}", "keeper")

        return poll(take, ASK_EVERY, clock, timeout=until - clock.monotonic())

    def _under_lease(
        self, environment: Environment, lease: Lease, away: dict[str, str], by_hand: bool
    ) -> list[str]:
        began = self._adapters.clock.monotonic()
        with LeaseHeartbeat(self._store) as heartbeat:
            heartbeat.hold(lease)
            try:
                done, problem = self._one(environment.pipeline, environment.name, lease, by_hand)
                self._problem(environment, self._masked(environment.pipeline, problem))
                return done
            except LeaseLost:
                return []
            except PushliveError as error:
                text = self._masked(environment.pipeline, str(error))
                self._problem(environment, text)
                if isinstance(error, EngineAway):
                    away[environment.engine] = text
                    self.waited += self._adapters.clock.monotonic() - began
                return []

    def _one(self, pipeline: str, name: str, lease: Lease, by_hand: bool) -> tuple[list[str], str]:
        """What was done, and what is left as it is."""
        environment = self._store.environment(pipeline, name)  # again: the lease is held only now
        if environment is None:
            return [], ""
        reconciler = Reconciler(self._services, self._adapters, environment, lease)
        done = reconciler.repair(by_hand)
        left = "; ".join(reconciler.left)
        drift = "; ".join(one.found for one in reconciler.drift())
        changed = f"{drift}. `pushlive doctor --fix` reverts it." if drift else ""
        return done, " ".join(text for text in (left and f"{left}.", changed) if text)

    def _masked(self, pipeline: str, text: str) -> str:
        try:
            mask, _ = self._services.vault.mask(pipeline)
        except PushliveError as error:
            return str(error)  # a text that cannot be masked is not shown; this error has to be fixed first
        return mask.text(text)

    def _problem(self, environment: Environment, text: str) -> None:
        if self._store.facts.get(f"problem:{environment.id}") != text:
            self._store.facts.set(f"problem:{environment.id}", text)
