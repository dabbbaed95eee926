"""The `judge` key: what follows from the verdict that a release answers worse than the one before it."""

from __future__ import annotations

from typing import Final, Literal

Judge = Literal["observe", "act", "off"]

OBSERVE: Final = "observe"
ACT: Final = "act"
OFF: Final = "off"
