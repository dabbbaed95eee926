"""Counts what the release that serves answers, and compares it with the release before it. It only records: what
follows from it is decided in ``acting``."""

from __future__ import annotations

from pipeline.config.judging.metrics import Metrics
from pipeline.config.workload.judge import OFF
from pipeline.domain.engine_types import Answered, SlotRef
from pipeline.domain.environment import Environment, Slot
from pipeline.domain.judging import judgement
from pipeline.domain.judging.counts import counted, fact_name, read
from pipeline.domain.watching import trials
from pipeline.lib import codec
from pipeline.maintenance.watching.comparing import Compares
from pipeline.maintenance.watching.verdicts import noted
from pipeline.ports.traffic import Traffic


class CountAnswers(Compares[Answered]):
    """Of the slot that takes the traffic."""

    def _by_metrics(self, environment: Environment, metrics: Metrics) -> Answered | None:
        return self._figures.answered(environment, metrics)

    def _by_engine(self, traffic: Traffic, ref: SlotRef) -> Answered | None:
        return traffic.answered(ref)

    def _compared(self, environment: Environment, slot: Slot, seen: Answered, now: float) -> list[str]:
        facts, name, record = self._store.facts, fact_name(environment.id), environment.slots[slot]
        before = read(facts.get(name))
        first = (before.release, before.run) != (record.release, record.run)
        if first and self._is_verified_now(environment):
            return []
        found, trial = counted(before, record.release, record.run, seen, now), trials.of(environment)
        if trial is None or trial.judge != OFF:
            found = noted(self._store, environment, before, judgement.judged(found, now), now)
        if found != before:
            facts.set(name, codec.dump(found))
            verdict = found.judged.verdict if found.judged else ""
            self._store.metrics.answered(
                environment.pipeline, environment.name, found.whole, verdict, found.releases
            )
        worse = judgement.is_worse(found) and not judgement.is_worse(before)
        return [f"{environment.id}: r{found.release}: {judgement.text(found)}"] if worse else []

    def _is_verified_now(self, environment: Environment) -> bool:
        """The run that switched is not done here: requests come from its own checks as well."""
        number = environment.slots[environment.active or ""].run
        return any(
            (run.number, run.stage) == (number, environment.name) and not run.passed(run.stage, "verify")
            for run in self._store.open_runs(environment.pipeline)
        )
