"""What is unwise about `parity` and `differs`."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.config.models import Config, Pipeline
from pipeline.config.parity.properties import OUTSIDE, Value, covered, properties
from pipeline.config.promotion.parity import OFF


def reasons(pipeline: Pipeline, config: Config, called: str) -> Iterator[tuple[str, str]]:
    """The key below the pipeline, and the text of a warning: a reason for what does not differ, and a `parity` that
    nothing can be compared with. ``called``: the pipeline's name."""
    first = next(iter(pipeline.environments))
    known = {name: _declared(pipeline, name, config) for name in pipeline.environments}
    for name in pipeline.environments:
        own = pipeline.environment(name)
        if own.parity != OFF and name == first:
            text = "has no effect: there is no environment before it to be compared with"
            yield f"environments.{name}.parity", text
        for key in own.differs:
            if text := _pointless(key, name, known, called):
                yield f"environments.{name}.differs.{key}", text


def _declared(pipeline: Pipeline, name: str, config: Config) -> dict[str, Value]:
    return properties(pipeline.render(name), config.accessories, pipeline.keeps_warm(name))


def _pointless(key: str, name: str, known: dict[str, dict[str, Value]], called: str) -> str:
    """Why a reason is not needed, "" if it is, or if only what runs could tell."""
    if any(key == one or key.startswith(f"{one}.") for one in OUTSIDE):
        return ""
    every = sorted({each for found in known.values() for each in covered(key, found)})
    if not every:
        return f"no environment has such a property; `pushlive parity {called} --all` prints their names"
    others = [found for other, found in known.items() if other != name]
    if not others:
        return "there is no other environment to differ from"
    own = known[name]
    if any(_same(own.get(each)) != _same(found.get(each)) for each in every for found in others):
        return ""
    return "gives a reason, and nothing differs; remove it, or set what should differ"


def _same(value: Value | None) -> str | None:
    return value.same if value else None
