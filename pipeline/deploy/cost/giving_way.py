"""Which environments give way to a cap, in which order, and how they are put to sleep."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pipeline.config.cost.cap_rules import yielding
from pipeline.config.models import Config
from pipeline.domain.environment import Environment

PutToSleep = Callable[[Environment, str], bool]
"""Puts an environment to sleep for that reason, written for people; False if it cannot be now."""

Order = tuple[tuple[str, str], ...]  # pipeline and environment


def order(config: Config, environments: Mapping[tuple[str, str], Environment]) -> Order:
    """What could give way: named in `costs.give_way`, something serves there, and it is awake."""
    return tuple(
        one
        for one in yielding(config, is_preview)
        if (found := environments.get(one)) and found.active and not asleep(found)
    )


def may_sleep(config: Config, name: tuple[str, str]) -> bool:
    """Whether the file lets that environment sleep at all."""
    pipeline, environment = name
    own = config.pipelines[pipeline].environment(environment)
    return bool(getattr(own, "sleep_after", 0.0))


def is_preview(pipeline: str, environment: str) -> bool:
    del pipeline
    return environment.startswith("preview-")


def asleep(environment: Environment) -> bool:
    return getattr(environment, "asleep", None) is not None
