"""A release that fails while it is watched after its switch is taken back, as by a person."""

from __future__ import annotations

from pipeline.domain.audit_chain import Actor
from pipeline.domain.environment import BakeOutcome, Environment
from pipeline.domain.going_back import by_itself
from pipeline.domain.run import Run
from pipeline.domain.watching import bake
from pipeline.domain.watching.bake import Judgement
from pipeline.errors import RequestError
from pipeline.service import reverting
from pipeline.service.refusals import Refusals
from pipeline.store import Transaction

WHO = Actor(bake.BY, way="keeper")


class Baking(Refusals):
    """What the keeper asks the service for."""

    def take_back(self, environment: Environment, found: Judgement) -> Run | None:
        """A revert of exactly the release and the switch that were judged, to the best good release that can be put
        back; None if that is over by now. Idempotent: the end of the bake is written together with the run. Raises what
        ``Commands.revert`` raises, for the best one if none can be."""
        self.insist_on_store()
        digest, name = self._environment_name(environment.pipeline, environment.name)
        now = self._clock.now()

        def act(tx: Transaction) -> Run | None:
            there = tx.environment(name)
            again = bake.judged(there)
            if again is None or again.act != found.act or again.bake.since != found.bake.since:
                return None
            made = self._taken_back(tx, there, again, digest, now)
            tx.record(self._entry(WHO, "revert", made, environment=name))
            return made

        return self._acted(environment.pipeline, act, urgent=True)

    def _taken_back(
        self, tx: Transaction, environment: Environment, found: Judgement, digest: str, now: float
    ) -> Run:
        """Nothing is written for a release that cannot be put back."""
        refused: RequestError | None = None
        for target in by_itself.targets(environment) or (None,):
            try:
                self._refuse_unready(environment.pipeline, environment.name, target)
                return reverting.revert(
                    tx,
                    environment.name,
                    None,
                    by=bake.BY,
                    reason=found.reason,
                    digest=digest,
                    now=now,
                    shown=found.bake.release,
                    baked=BakeOutcome.TAKEN_BACK,
                    chosen=target,
                )
            except RequestError as error:
                refused = refused or error
        raise refused or RequestError("there is nothing to go back to.", advice="Push a fix.")
