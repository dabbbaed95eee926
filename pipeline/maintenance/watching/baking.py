"""Ends the time for which a release is watched after its switch: it did not fail, or it is taken back, or the
environment is held, or people are told. What is wrong was found by ``health``; what follows from it is decided by
``pipeline.domain.watching.bake``."""

from __future__ import annotations

from dataclasses import replace

from pipeline.domain.environment import BakeOutcome, Environment
from pipeline.domain.watching import bake, trials
from pipeline.domain.watching.bake import Judgement
from pipeline.maintenance.watching.taking_back import TakesBack
from pipeline.notify import messages
from pipeline.store import Transaction


class Baking(TakesBack[Judgement]):
    def _found(self, environment: Environment) -> Judgement | None:
        return bake.judged(environment)

    def _end(self, environment: Environment, found: Judgement) -> list[str]:
        if found.act != "revert":
            return self._settle(environment, found)
        run, why = self._taken_back(environment, found)
        if why:
            reason = f"{found.reason}. It is not taken back: {why}"
            return self._settle(environment, replace(found, act="hold", reason=reason))
        text = f"{environment.id}: r{found.release} is taken back: {found.reason}"
        return [f"{text} ({run.id})"] if run else []

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
                changed = self._held(tx, changed, found, found.reason, now)
            tx.put_environment(changed)
            if found.outcome != BakeOutcome.SUPERSEDED:
                tx.count_bake(changed, trials.OUTCOMES.get(found.act, found.outcome))
            said.extend(_told(tx, changed, found))

        self._store.transact(environment.pipeline, act)
        return said


def _told(tx: Transaction, environment: Environment, found: Judgement) -> list[str]:
    one, name = environment.bakes[-1], f"r{found.bake.release}"
    if found.outcome == BakeOutcome.BAKED:
        messages.baked(tx, environment, one)
        return [f"{environment.id}: {name} is baked"]
    if found.outcome == BakeOutcome.SUPERSEDED:
        return []
    messages.bake_failed(tx, environment, one)
    return [f"{environment.id}: {found.reason}"]
