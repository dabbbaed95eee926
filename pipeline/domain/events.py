"""What happens in a run, as followers see it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Event:
    """Something that happened in a run, as it is shown to those who follow it.

    kind: accepted · stage · step · vertex · line · check · note · warning · gate · end
    """

    kind: str
    at: float
    text: str = ""
    stage: str = ""
    step: str = ""
    data: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Said:
    """One line of a clean-up. ``left``: it could not be done, or not yet; the same clean-up tries it again.
    ``serving``: the environment that was left because it still serves, ``hello/live``."""

    text: str
    left: bool = False
    serving: str = ""
