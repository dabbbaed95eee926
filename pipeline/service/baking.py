"""A release that fails while it is watched after its switch is taken back, as by a person."""

from __future__ import annotations

from pipeline.domain.audit_chain import Actor
from pipeline.domain.environment import BakeOutcome, Environment
from pipeline.domain.run import Run
from pipeline.domain.watching import bake
from pipeline.domain.watching.bake import Judgement
from pipeline.service import reverting
from pipeline.service.refusals import Refusals
from pipeline.store import Transaction

WHO = Actor(bake.BY, way="keeper")


class Baking(Refusals):
    """What the keeper asks the service for."""

    def take_back(self, environment: Environment, found: Judgement) -> Run | None:
        """A revert of exactly the release and the switch that were judged; None if that is over by now. Idempotent:
        the end of the bake is written together with the run. Raises what ``Commands.revert`` raises."""
        self.insist_on_store()
        digest, name = self._environment_name(environment.pipeline, environment.name)
        self._refuse_unready(environment.pipeline, name, None)
        now = self._clock.now()

        def act(tx: Transaction) -> Run | None:
            again = bake.judged(tx.environment(name))
            if again is None or again.act != found.act or again.bake.since != found.bake.since:
                return None
            made = reverting.revert(
                tx,
                name,
                None,
                by=bake.BY,
                reason=again.reason,
                digest=digest,
                now=now,
                shown=again.bake.release,
                baked=BakeOutcome.TAKEN_BACK,
            )
            tx.record(self._entry(WHO, "revert", made, environment=name))
            return made

        return self._acted(environment.pipeline, act, urgent=True)
