"""An environment in maintenance: its visitors read a notice, whatever release serves. Pure rules."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

from pipeline.errors import ConfigError
from pipeline.lib import windows

LONGEST = 500  # characters of a message
# Line breaks, other control characters, halves of characters, and marks that turn the direction of all that follows.
_REFUSED = ("Cc", "Cs", "Zl", "Zp")
_DIRECTION = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


@dataclass(frozen=True)
class Notice:
    """What visitors read. ``until``: seconds since the epoch, for `Retry-After`; 0 if no one knows."""

    message: str
    until: float = 0.0


@dataclass(frozen=True)
class Maintenance:
    """``by``: who began it, at ``since``; ``until``: when it ends by itself, 0 if a person ends it; ``zone``: in which
    that was written."""

    message: str
    by: str
    since: float
    until: float = 0.0
    zone: str = "UTC"

    @property
    def notice(self) -> Notice:
        return Notice(self.message, self.until)

    def is_over(self, now: float) -> bool:
        """True once it ends by itself."""
        return 0.0 < self.until <= now

    def text(self, now: float) -> str:
        """``in maintenance until Mon 30 Nov 08:00 Europe/Dublin: We are back soon (by ann)``"""
        until = f" until {windows.show(self.until, self.zone, now)}" if self.until else ""
        return f"in maintenance{until}: {self.message} (by {self.by})"


def notice_of(maintenance: Maintenance | None) -> Notice | None:
    return maintenance.notice if maintenance else None


def checked(message: str) -> str:
    """The message as it is shown. Raises ConfigError."""
    text = message.strip()
    if not text:
        raise ConfigError(
            "maintenance needs a message: visitors read it.",
            advice="Give it with --message TEXT. Nothing was done.",
        )
    if len(text) > LONGEST:
        raise ConfigError(
            f"the message has {len(text)} characters, and at most {LONGEST} are allowed.",
            advice="Give a shorter one. Nothing was done.",
        )
    for one in text:
        if unicodedata.category(one) in _REFUSED or one in _DIRECTION:
            raise ConfigError(
                f"the message has a line break or another character that cannot be shown: U+{ord(one):04X}.",
                advice="Write it as plain text in one line. Nothing was done.",
            )
    return text
