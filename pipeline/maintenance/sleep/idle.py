"""Puts environments to sleep that no one has used for as long as their `sleep_after` says."""

from __future__ import annotations

from pipeline.config.models import Config
from pipeline.deploy.heartbeat import holding
from pipeline.deploy.services import Services
from pipeline.deploy.sleep.sleeper import Sleeper
from pipeline.domain.environment import Environment
from pipeline.domain.sleep import rule
from pipeline.domain.sleep.records import Idle, idle_fact
from pipeline.domain.slots import slot_ref
from pipeline.errors import ConfigError, LeaseLost, PushliveError, StoreUnavailable, TryAgain
from pipeline.lib import codec
from pipeline.lib.units import write_duration
from pipeline.maintenance.damage import Damage
from pipeline.maintenance.job import Changes, Job
from pipeline.ports.adapters import Adapters


class FallAsleep(Job):
    """Since when an environment has had no request is in the store: another keeper, or the same one after a restart,
    goes on counting. What cannot be asked counts as used."""

    def __init__(self, services: Services, adapters: Adapters, damage: Damage) -> None:
        self._services, self._store, self._adapters = services, services.store, adapters
        self._damage, self._changes = damage, dict[str, Changes]()

    def run(self) -> list[str]:
        self.waited = 0.0
        try:
            _, config = self._services.configurations.current()
        except ConfigError:
            return []  # it is reported elsewhere
        said: list[str] = []
        for environment in self._damage.each(lambda name: self._store.environments(name).values()):
            after = _after(config, environment)
            if after and environment.active and not environment.asleep:
                said += self._one(environment, after)
        return said

    def _one(self, environment: Environment, after: float) -> list[str]:
        changes = self._changes.setdefault(environment.id, Changes())
        began = self._adapters.clock.monotonic()
        try:
            done = self._fall(environment, after) if self._is_due(environment, after) else []
            changes.report("")
            return done
        except StoreUnavailable:
            raise
        except LeaseLost:
            return []  # a run is at work there
        except TryAgain:  # it is asked again in the next round; reconciliation reports it
            self.waited += self._adapters.clock.monotonic() - began
            return []
        except PushliveError as error:
            return changes.report(str(error))

    def _is_due(self, environment: Environment, after: float) -> bool:
        slot = environment.active or ""
        engine = self._adapters.engines.of(environment.engine)
        found, now = engine.sleeping.activity(slot_ref(environment, slot)), self._adapters.clock.now()
        name = idle_fact(environment.id)
        text = self._store.facts.get(name)
        before = codec.load(Idle, text) if text else None
        busy = found is None or found.open > 0 or self._has_sessions(environment)
        mark = found.mark if found else ""
        idle = rule.seen(before, mark, busy=busy, slot=slot, run=environment.slots[slot].run, now=now)
        if idle != before:
            self._store.facts.set(name, codec.dump(idle))
        return rule.is_due(idle, environment, after, now) and not rule.obstacle(environment)

    def _has_sessions(self, environment: Environment) -> bool:
        """True while a person runs a command in its containers."""
        key, (found, damaged) = (environment.pipeline, environment.name), self._store.sessions.all()
        return bool(damaged) or any((one.pipeline, one.environment) == key for one in found)

    def _fall(self, environment: Environment, after: float) -> list[str]:
        lease = self._store.leases.take(f"env:{environment.id}", "sleep")
        if lease is None:
            return []
        with holding(self._store, lease) as held:
            found = self._store.environment(environment.pipeline, environment.name)
            if found is None or not self._is_due(found, after):
                return []
            engine = held.fenced(self._adapters.engines.of(environment.engine))
            why = f"no request for {write_duration(after)}"
            asleep = Sleeper(self._services, engine, self._adapters.clock, held).put(found, why)
            return [f"{environment.id}: r{asleep.serving} was put to sleep: {why}"]


def _after(config: Config, environment: Environment) -> float:
    """Seconds; 0 if it never sleeps, or the configuration no longer has it."""
    found = config.pipelines.get(environment.pipeline)
    if found is None or environment.name not in found.environments:
        return 0.0
    return found.environment(environment.name).sleep_after
