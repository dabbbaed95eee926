"""A pull request, as a provider's webhook tells of it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PullRequest:
    """``repository``: a URL of the one that it is for; ``url``: of the one that it comes from, "" if that is the same;
    ``base``: the branch that it is for; ``closed``: how it was closed, "" while it is open; ``delivery``: unique for
    each event."""

    repository: str
    url: str
    base: str
    number: int
    branch: str
    commit: str
    delivery: str
    closed: str = ""
    pusher: str = ""
    message: str = ""
