"""Keeps how long the release that serves takes to answer, and compares it with the release before it. It only records:
what follows from it is decided in ``acting``."""

from __future__ import annotations

from pipeline.config.judging.metrics import Metrics
from pipeline.config.workload.judge import OFF
from pipeline.domain.engine_types import SlotRef
from pipeline.domain.environment import Environment, Slot
from pipeline.domain.judging.latency import judgement
from pipeline.domain.judging.latency.counts import fact_name, read, timed
from pipeline.domain.judging.latency.times import Timed
from pipeline.domain.watching import trials
from pipeline.lib import codec
from pipeline.maintenance.watching.comparing import Compares
from pipeline.ports.traffic import Traffic


class TimeAnswers(Compares[Timed]):
    """Of the slot that takes the traffic."""

    def _by_metrics(self, environment: Environment, metrics: Metrics) -> Timed | None:
        return self._figures.timed(environment, metrics)

    def _by_engine(self, traffic: Traffic, ref: SlotRef) -> Timed | None:
        return traffic.timed(ref)

    def _compared(self, environment: Environment, slot: Slot, seen: Timed, now: float) -> list[str]:
        facts, name, record = self._store.facts, fact_name(environment.id), environment.slots[slot]
        before = read(facts.get(name))
        found, trial = timed(before, record.release, record.run, seen, now), trials.of(environment)
        if trial is None or trial.judge != OFF:
            found = judgement.judged(found, now)
        if found != before:
            facts.set(name, codec.dump(found))
            verdict = found.judged.verdict if found.judged else ""
            whole = None if found.seen.bounds else found.whole
            self._store.metrics.timed(environment.pipeline, environment.name, whole, verdict, found.releases)
        worse = judgement.is_worse(found) and not judgement.is_worse(before)
        return [f"{environment.id}: r{found.release}: {judgement.text(found)}"] if worse else []
