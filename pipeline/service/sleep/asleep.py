"""What is shown about an environment that sleeps."""

from __future__ import annotations

from typing import Any

from pipeline.domain.environment import Environment
from pipeline.errors import RequestError


def shown(environment: Environment | None) -> dict[str, Any] | None:
    """None unless it sleeps. ``since``, ``waking``: seconds since the epoch, ``waking`` None while nothing wakes it;
    ``by``: who put it to sleep, "" for `sleep_after`; ``text``: for people."""
    asleep = environment.asleep if environment else None
    if asleep is None:
        return None
    text = f"r{asleep.release} sleeps: {asleep.why}; the next request wakes it"
    if asleep.waking:
        text = f"r{asleep.release} is being woken by {asleep.woken}"
    return {
        "release": asleep.release,
        "since": asleep.since,
        "why": asleep.why,
        "by": asleep.by,
        "waking": asleep.waking or None,
        "text": text,
    }


def refuse(environment: Environment, what: str) -> None:
    """Raises RequestError if it sleeps. ``what``: cannot be done there then, "run commands in it"."""
    if environment.asleep:
        raise RequestError(
            f"{environment.id} sleeps ({environment.asleep.why}), so no one can {what}.",
            advice=f"`pushlive wake {environment.pipeline} {environment.name}` starts it.",
        )
