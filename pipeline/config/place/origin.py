"""Where a configuration in force came from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Origin:
    """The commit that brought a configuration into force. ``place``: as in ``PUSHLIVE_CONFIG``; ``pusher``: the name of
    a token, or what a forge calls the person, "" if it is not known; ``at``: seconds since the epoch."""

    place: str
    commit: str
    author: str
    subject: str
    pusher: str = ""
    at: float = 0.0

    @property
    def short(self) -> str:
        return self.commit[:7]

    def __str__(self) -> str:
        """``abc1234 “more room” by Ann``."""
        return f"{self.short} “{self.subject}” by {self.author}"


NO_COMMIT = Origin("", "", "", "")  # of a configuration that was in a file, or was sent
