"""Environments with `sleep_after`: whether what serves there could be put to sleep."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.deploy.services import Services
from pipeline.domain.environment import Environment
from pipeline.domain.slots import slot_ref
from pipeline.errors import PushliveError, TryAgain
from pipeline.maintenance.doctor.check import Check, check
from pipeline.ports.adapters import Adapters


def examine(environment: Environment, services: Services, adapters: Adapters) -> Iterator[Check]:
    """A line if it could not."""
    try:
        _, config = services.configurations.current()
    except PushliveError:
        return  # said elsewhere
    pipeline = config.pipelines.get(environment.pipeline)
    if environment.active is None or not pipeline or environment.name not in pipeline.environments:
        return
    if not pipeline.environment(environment.name).sleep_after:
        return
    try:
        engine = adapters.engines.of(environment.engine)
        engine.sleeping.can_sleep(slot_ref(environment, environment.active))
    except TryAgain:
        return  # an engine that does not answer is said elsewhere
    except PushliveError as error:
        yield check(environment.id, False, error.message, error.advice)
