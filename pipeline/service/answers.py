"""What is shown about the answers of the release that serves, as the keeper last counted them."""

from __future__ import annotations

from typing import Any

from pipeline.domain.environment import Environment
from pipeline.domain.judging import judgement
from pipeline.domain.judging.counts import fact_name, read
from pipeline.lib import codec
from pipeline.store import Store


def shown(store: Store, environment: Environment | None) -> dict[str, Any] | None:
    """``{"release", "since", "requests", "errors", "verdict", "before", "needed", "text"}``, None if nothing is known
    of what serves. ``before``: the release that it is compared with, its requests and errors; None if there is
    none. Times are seconds since the epoch."""
    if environment is None or environment.active is None:
        return None
    found, slot = read(store.facts.get(fact_name(environment.id))), environment.slots[environment.active]
    one = found.judged
    if one is None or (found.release, found.run) != (slot.release, slot.run):
        return None
    return {
        "release": found.release,
        "since": found.since,
        **codec.plain(one.new),
        "verdict": one.verdict.value,
        "before": {"release": one.before, **codec.plain(one.base)} if one.before else None,
        "needed": one.needed,
        "text": judgement.text(found),
    }
