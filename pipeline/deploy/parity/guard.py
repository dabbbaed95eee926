"""Whether a release may enter an environment by the `parity` key: it would run there as it was tested before.

It is compared by what this run brings, and by what really runs in the environment before. Nothing is recorded: a worker
that takes the run up again looks again.
"""

from __future__ import annotations

from pipeline.config.models import Pipeline
from pipeline.config.promotion.parity import BLOCK, OFF
from pipeline.deploy.parity.looking import Looking
from pipeline.deploy.run_context import RunContext
from pipeline.deploy.services import Services
from pipeline.domain import slots
from pipeline.domain.environment import Environment
from pipeline.domain.parity.matrix import Row, line, undeclared
from pipeline.domain.release import Release
from pipeline.domain.run import Kind
from pipeline.errors import ConfigError, PushliveError, StoreUnavailable, TryAgain
from pipeline.ports.adapters import Adapters

SHOWN = 12  # differences that are named


class ParityGuard:
    def __init__(self, context: RunContext, services: Services, adapters: Adapters) -> None:
        self._context, self._services = context, services
        self._looking = Looking(services, adapters)

    def go(self, record: Environment, release: Release) -> None:
        """Returns if the release may enter. Raises ConfigError if it would differ without a reason and `block` is set;
        then also what the engines raise. A revert always may, and so does a run that is in already."""
        run, name = self._context.run, record.name
        if run.kind == Kind.REVERT or slots.unfinished(record, run):
            return
        # As pipelines.yaml has it now: a reason that was written meanwhile lets a run in that was tried again.
        pipeline = self._services.configurations.current()[1].pipelines.get(run.pipeline)
        before = _before(pipeline, name) if pipeline else ""
        if pipeline is None or not before or before not in release.environments:
            return
        mode = pipeline.environment(name).parity
        if mode == OFF:
            return
        try:
            found = self._differences(record, before, release, pipeline)
        except StoreUnavailable:
            raise
        except PushliveError as error:
            if mode == BLOCK:
                raise _unknown(error, name, before) from error
            self._context.note(f"{name} was not compared with {before}: {error.message}", name, "warning")
            return
        if found and mode == BLOCK:
            raise _refusal(found, name, before, run.pipeline)
        if found:
            text = f"{name} will differ from {before} without a reason: {_listed(found)}"
            self._context.note(text, name, "warning")

    def _differences(
        self, record: Environment, before: str, release: Release, pipeline: Pipeline
    ) -> tuple[Row, ...]:
        earlier = self._services.store.environment(record.pipeline, before)
        if earlier is None:
            return ()  # nothing was ever there
        columns = (
            self._looking.tested(release, earlier, pipeline),
            self._looking.to_come(release, record, pipeline),
        )
        return undeclared(columns)


def _before(pipeline: Pipeline, name: str) -> str:
    """The environment before that one; "" if there is none."""
    names = list(pipeline.environments)
    place = names.index(name) if name in names else 0
    return names[place - 1] if place else ""


def _listed(found: tuple[Row, ...]) -> str:
    lines = [line(row) for row in found[:SHOWN]]
    return "; ".join([*lines, f"{len(found) - SHOWN} more"] if len(found) > SHOWN else lines)


def _refusal(found: tuple[Row, ...], name: str, before: str, pipeline: str) -> ConfigError:
    what = "a property" if len(found) == 1 else f"{len(found)} properties"
    by_hand = any(row.by_hand for row in found)
    fix = " What was changed by hand: `pushlive doctor --fix` takes it back." if by_hand else ""
    return ConfigError(
        f"{name} would differ from {before} in {what} without a reason: {_listed(found)}.",
        advice=f"Write why into pipelines.yaml, under `differs` of {name} or {before}; or set them alike "
        f"there.{fix} `pushlive parity {pipeline}` shows both.",
        again=True,
    )


def _unknown(error: PushliveError, name: str, before: str) -> PushliveError:
    """What does not answer is asked again for a while."""
    text = f"{name} cannot be compared with {before}, as `parity: block` says: {error.message}"
    kind = TryAgain if isinstance(error, TryAgain) else ConfigError
    return kind(text, advice=error.advice, again=True)
