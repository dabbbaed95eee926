"""Keeps how long the release that serves takes to answer, and compares it with the release before it. It only records:
what follows from it is decided in ``acting``."""

from __future__ import annotations

from pipeline.config.workload.judge import OFF
from pipeline.domain.environment import Environment
from pipeline.domain.judging.latency import judgement
from pipeline.domain.judging.latency.counts import fact_name, read, timed
from pipeline.domain.slots import slot_ref
from pipeline.domain.watching import trials
from pipeline.lib import codec
from pipeline.maintenance.health import Watches


class TimeAnswers(Watches):
    """Of the slot that takes the traffic."""

    def _one(self, environment: Environment) -> list[str]:
        if environment.active is None:
            return []
        slot, traffic = environment.active, self._adapters.engines.of(environment.engine).traffic
        seen, now = traffic.timed(slot_ref(environment, slot)), self._adapters.clock.now()
        if seen is None:  # the engine does not measure
            return []
        facts, name, record = self._store.facts, fact_name(environment.id), environment.slots[slot]
        before = read(facts.get(name))
        found, trial = timed(before, record.release, record.run, seen, now), trials.of(environment)
        if trial is None or trial.judge != OFF:
            found = judgement.judged(found, now)
        if found != before:
            facts.set(name, codec.dump(found))
            verdict = found.judged.verdict if found.judged else ""
            self._store.metrics.timed(environment.pipeline, environment.name, found.whole, verdict)
        worse = judgement.is_worse(found) and not judgement.is_worse(before)
        return [f"{environment.id}: r{found.release}: {judgement.text(found)}"] if worse else []
