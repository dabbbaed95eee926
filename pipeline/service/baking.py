"""A release that fails while it is watched after its switch, or answers worse than the one before it, is taken back, as
by a person."""

from __future__ import annotations

from pipeline.domain.audit_chain import Actor
from pipeline.domain.environment import BakeOutcome, Environment, WorseOutcome
from pipeline.domain.going_back import by_itself
from pipeline.domain.run import Run
from pipeline.domain.watching import trials
from pipeline.domain.watching.bake import Judgement
from pipeline.domain.watching.trials import Finding
from pipeline.errors import RequestError
from pipeline.notify import messages
from pipeline.service import reverting
from pipeline.service.refusals import Refusals
from pipeline.store import Transaction

Found = Judgement | Finding


class _Dry(Exception):
    """Nothing is written."""


class Baking(Refusals):
    """What the keeper asks the service for."""

    def take_back(self, environment: Environment, found: Found, *, dry: bool = False) -> Run | None:
        """A revert of exactly the release and the switch that were judged, to the best good release that can be put
        back; None if that is over by now. Idempotent: what was found is settled together with the run. ``dry``: the run
        as it would be, and nothing is written. Raises what ``Commands.revert`` raises, for the best one if none can
        be."""
        self.insist_on_store()
        digest, name = self._environment_name(environment.pipeline, environment.name)
        now = self._clock.now()
        made: list[Run] = []

        def act(tx: Transaction) -> Run | None:
            made.clear()
            there = tx.environment(name)
            again = found.again(there)
            if again is None:
                return None
            made.append(self._taken_back(tx, there, again, digest, now))
            if dry:
                raise _Dry
            tx.record(self._entry(Actor(found.by, way="keeper"), "revert", made[0], environment=name))
            return made[0]

        try:
            return self._acted(environment.pipeline, act, urgent=True)
        except _Dry:
            return made[0]

    def _taken_back(
        self, tx: Transaction, environment: Environment, found: Found, digest: str, now: float
    ) -> Run:
        """Nothing is written for a release that cannot be put back."""
        refused: RequestError | None = None

        def also(changing: Environment, run: Run) -> Environment:
            if environment.bake:
                tx.count_bake(environment, BakeOutcome.TAKEN_BACK)
            if isinstance(found, Judgement):
                return changing
            changed = trials.ended(changing, found, WorseOutcome.TAKEN_BACK, revert=run.number)
            tx.count_worse(changed, WorseOutcome.TAKEN_BACK)
            messages.worse(tx, changed, trials.recorded(changed, found))
            return changed

        for target in by_itself.targets(environment) or (None,):
            try:
                self._refuse_unready(environment.pipeline, environment.name, target)
                return reverting.revert(
                    tx,
                    environment.name,
                    None,
                    by=found.by,
                    reason=found.reason,
                    digest=digest,
                    now=now,
                    shown=found.release,
                    baked=BakeOutcome.TAKEN_BACK,
                    chosen=target,
                    also=also,
                )
            except RequestError as error:
                refused = refused or error
        raise refused or RequestError("there is nothing to go back to.", advice="Push a fix.")
