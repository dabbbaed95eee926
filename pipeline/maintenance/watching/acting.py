"""Acts on the verdict that a release answers worse than the one before it. What was counted and the verdict are those
of ``answers`` and ``latencies``; what follows from it is decided by ``pipeline.domain.watching.trials``."""

from __future__ import annotations

from pipeline.config.workload.judge import OBSERVE
from pipeline.domain.environment import Environment, WorseOutcome
from pipeline.domain.judging import counts, judgement
from pipeline.domain.judging.latency import counts as times
from pipeline.domain.judging.latency import judgement as latency
from pipeline.domain.watching import trials
from pipeline.domain.watching.trials import Finding
from pipeline.maintenance.watching.taking_back import TakesBack
from pipeline.notify import messages
from pipeline.store import Transaction

_NOT = "It is not taken back"


class Acting(TakesBack[Finding]):
    """The verdict stays in the store until another release serves, so one that a killed keeper left is found again."""

    def _found(self, environment: Environment) -> Finding | None:
        trial = trials.of(environment)
        if trial is None or trial.outcome:
            return None
        facts = self._store.facts
        errors = judgement.worse(counts.read(facts.get(counts.fact_name(environment.id))))
        slow = latency.worse(times.read(facts.get(times.fact_name(environment.id))))
        return trials.found(environment, filter(None, (errors, slow)), self._clock.now())

    def _end(self, environment: Environment, found: Finding) -> list[str]:
        if found.act == OBSERVE:
            return self._settle(
                environment, found, WorseOutcome.OBSERVED, would=self._would(environment, found)
            )
        if found.act != "revert":
            return self._settle(environment, found, trials.OUTCOMES[found.act])
        run, why = self._taken_back(environment, found)
        if why:
            return self._settle(
                environment, found, WorseOutcome.HELD, reason=f"{found.reason}. {_NOT}: {why}"
            )
        return [f"{environment.id}: r{found.release} is taken back ({run.id})"] if run else []

    def _would(self, environment: Environment, found: Finding) -> str:
        """What would have followed from ``judge: act``, and why that was left to people."""
        if found.trial.left:
            return f"It is left to people: {found.trial.left}"
        act = "With `judge: act`"
        if found.trial.on_failure == "tell":
            return f"{act} nothing more would have followed (`on_failure: tell`)"
        if found.trial.on_failure == "hold":
            return f"{act} {environment.name} would have been held"
        run, why = self._taken_back(environment, found, dry=True)
        if run:
            return f"{act} it would have been taken back to r{run.release}"
        return f"{act} {environment.name} would have been held, and nothing taken back" + (
            f": {why}" if why else ""
        )

    def _settle(
        self,
        environment: Environment,
        found: Finding,
        outcome: WorseOutcome,
        reason: str = "",
        would: str = "",
    ) -> list[str]:
        """Records it without a revert."""
        said: list[str] = []
        why = reason or found.reason

        def act(tx: Transaction) -> None:
            said.clear()
            there = tx.environment(environment.name)
            again = found.again(there)
            if again is None:
                return
            changed = trials.ended(there, again, outcome, reason=why, would=would)
            if outcome == WorseOutcome.HELD:
                changed = self._held(tx, changed, found, why, found.now)
            tx.put_environment(changed)
            tx.count_worse(changed, outcome)
            messages.worse(tx, changed, trials.recorded(changed, again))
            if outcome == WorseOutcome.HELD:
                said.append(f"{environment.id} is held: {why}")

        self._store.transact(environment.pipeline, act)
        return said
