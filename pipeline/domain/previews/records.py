"""What is kept of a preview. Its runs, releases and its environment are records as those of any pipeline."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from pipeline.config.engines import DOCKER


class PreviewState(StrEnum):
    WAITING = "waiting"  # for a person, since it comes from another repository
    OPEN = "open"
    CLOSING = "closing"  # the keeper removes what it has
    CLOSED = "closed"


@dataclass(frozen=True)
class Preview:
    """Times are seconds since the epoch. ``name``: of the pipeline that it is, ``hello--login``, and of its only
    environment; ``pipeline``: ``hello``; ``url``: of the repository that has the branch, "" if it is the pipeline's;
    ``request``: the number of the pull request, 0 without one; ``engine``: the ``Where.key`` of where it runs;
    ``commit``: the one pushed last; ``base``: the commit that the pipeline's branch had then, "" if none is known;
    ``allowed``: the commit of another repository that a person has allowed last, and ``allowed_by`` who; ``reason``,
    ``closed_by``: why it was closed, and by whom; ``filled``: its data command has succeeded;
    ``leftover``: it was opened again before all that it had was removed, which comes first; ``before``: the number of
    its last run when it was opened again, so that those up to it belong to what was removed."""

    name: str
    pipeline: str
    branch: str
    opened: float
    pushed: float
    state: PreviewState = PreviewState.OPEN
    commit: str = ""
    base: str = ""
    by: str = ""
    engine: str = DOCKER
    url: str = ""
    request: int = 0
    allowed: str = ""
    allowed_by: str = ""
    reason: str = ""
    closed_by: str = ""
    closed: float = 0.0
    filled: bool = False
    leftover: bool = False
    before: int = 0

    @property
    def foreign(self) -> bool:
        """It comes from another repository: nothing of it runs without a person's yes."""
        return bool(self.url)

    @property
    def alive(self) -> bool:
        """It may have runs."""
        return self.state in (PreviewState.WAITING, PreviewState.OPEN)

    @property
    def goes(self) -> bool:
        """What it has, or had before it was opened again, is to be removed."""
        return self.state == PreviewState.CLOSING or self.leftover

    @property
    def label(self) -> str:
        """``feature/login``, or ``#12 feature/login``."""
        return f"#{self.request} {self.branch}" if self.request else self.branch


Previews = dict[str, Preview]
