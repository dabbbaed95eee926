"""What is recorded of an environment that sleeps."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Asleep:
    """The containers of the release that serves have ended, or are to, until a request comes. ``why``: for people, "no
    request for 30m"; ``by``: who put it to sleep, "" for `sleep_after`; ``waking``: since when it is being woken, 0
    while it sleeps; ``woken``: by whom or what, "a request"."""

    release: int
    since: float
    why: str
    by: str = ""
    waking: float = 0.0
    woken: str = ""


@dataclass(frozen=True)
class Idle:
    """Since when no request has come. ``mark``: the engine's (``ports.sleep.Activity``), which has been the same since
    then; ``slot``, ``run``: the slot that it is of."""

    mark: str
    since: float
    slot: str = ""
    run: int = 0


def idle_fact(environment: str) -> str:
    """The fact that has the ``Idle`` of an environment."""
    return f"idle:{environment}"
