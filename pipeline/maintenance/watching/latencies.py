"""Keeps how long the release that serves takes to answer, and compares it with the release before it. It only records:
what follows from it is decided in ``acting``."""

from __future__ import annotations

from pipeline.config.workload.judge import OFF
from pipeline.deploy.services import Services
from pipeline.domain.environment import Environment
from pipeline.domain.judging.latency import judgement
from pipeline.domain.judging.latency.counts import fact_name, read, timed
from pipeline.domain.judging.latency.times import Timed
from pipeline.domain.slots import slot_ref
from pipeline.domain.watching import trials
from pipeline.lib import codec
from pipeline.maintenance.damage import Damage
from pipeline.maintenance.health import Watches
from pipeline.maintenance.watching.figures import Figures
from pipeline.ports.adapters import Adapters


class TimeAnswers(Watches):
    """Of the slot that takes the traffic."""

    def __init__(self, services: Services, adapters: Adapters, damage: Damage) -> None:
        super().__init__(services, adapters, damage)
        self._figures = Figures(services, adapters)

    def run(self) -> list[str]:
        self._figures.begin()
        return super().run()

    def _one(self, environment: Environment) -> list[str]:
        if environment.active is None:
            return []
        slot, seen, now = environment.active, self._seen(environment), self._adapters.clock.now()
        if seen is None:  # nothing measures there, or it does not answer
            return []
        facts, name, record = self._store.facts, fact_name(environment.id), environment.slots[slot]
        before = read(facts.get(name))
        found, trial = timed(before, record.release, record.run, seen, now), trials.of(environment)
        if trial is None or trial.judge != OFF:
            found = judgement.judged(found, now)
        if found != before:
            facts.set(name, codec.dump(found))
            verdict = found.judged.verdict if found.judged else ""
            whole = None if found.seen.bounds else found.whole
            self._store.metrics.timed(environment.pipeline, environment.name, whole, verdict)
        worse = judgement.is_worse(found) and not judgement.is_worse(before)
        return [f"{environment.id}: r{found.release}: {judgement.text(found)}"] if worse else []

    def _seen(self, environment: Environment) -> Timed | None:
        if metrics := self._figures.metrics(environment):
            return self._figures.timed(environment, metrics)
        traffic = self._adapters.engines.of(environment.engine).traffic
        return traffic.timed(slot_ref(environment, environment.active or ""))
