"""Everything that can go wrong, by who has to act.

    PushliveError
    ├── ConfigError          pipelines.yaml or a setting is wrong: the maintainer corrects it
    ├── RequestError         what was asked cannot be done (unknown run, nothing to revert to): the caller
    │   ├── NotFound
    │   ├── Doubtful         a person may not know what it would do: they say it again, with what they were told
    │   ├── RepositoryFailed  the repository lacks something, or has what cannot be taken: the developer corrects it
    │   ├── CapReached       it would cost more than a month may: less is asked for, or the cap is raised
    │   ├── Forbidden        only a maintainer may do that
    │   └── TokenExpired     a maintainer creates another
    ├── AppFailed            the pushed application failed (build, start, smoke): the developer pushes a fix
    │   ├── WrongRelease     an answer to a check came from elsewhere than the tested release
    │   ├── BackFailed       the release that is left could not undo its release command
    │   └── BothFailed       so did the release that serves, at the same time: the cause may be one of both
    ├── EngineFailed         our side failed (Docker, Git remote, disk): the operator fixes it, then `retry`
    │   ├── AccessoryFailed  a database, cache or broker is not ready: its definition, or what it says, shows why
    │   ├── DoesNotFit       blue and green do not fit into memory together
    │   ├── OutcomeUnknown   a release command may or may not have run: the environment is held
    │   │   └── Overtime     it took longer than it may, or than a person waits: the application's
    │   └── DamagedRecord    a record in the store is not as Pushlive writes it; the message names its key
    ├── TryAgain             a temporary problem: repeating the step is harmless
    │   ├── StoreUnavailable
    │   │   └── StoreUnknown   the store is empty beside an installation that runs: a person decides
    │   ├── Busy             another act of this installation is at work there: the caller asks again later
    │   ├── NothingListens   an application's machine refused the connection
    │   └── EngineAway       the engine's own API or proxy does not answer, or its containers were stopped with it,
    │                        which says nothing against what runs there
    └── GaveUp               the run stops here, without a failure
        ├── Cancelled        by a person, or by a revert
        │   ├── Interrupted  by a revert
        │   └── CommandLeft  by a revert, while a release command runs: the environment is held
        ├── Abandoned        by a person, who no longer waits for a release command: the environment is held
        ├── Superseded       a newer head took its place
        ├── Held             the environment was put on hold: the run waits there
        └── TimedOut         the step's own timeout

    LeaseLost                a signal, not an error: another worker has taken over. Outside the tree, so that no
                             `except PushliveError` stops it on its way out

A message says what happened, where, and what to do next; `advice` holds the last part.
"""

from __future__ import annotations

import re

_TWO_STOPS = re.compile(r"(?<=[^\s.])\.[ ]?\.(?=\s|$)")


def single_stops(text: str) -> str:
    """The text with one full stop where a quoted sentence and ours both end with one. An ellipsis stays."""
    return _TWO_STOPS.sub(".", text)


class PushliveError(Exception):
    """The root. ``str(error)`` is the whole message; ``advice`` is what to do next (may be empty); ``again``: the next
    step after that is to run the run again, by a command that the run's failure card adds."""

    def __init__(self, message: str, *, advice: str = "", again: bool = False) -> None:
        message = single_stops(message)
        super().__init__(message)
        self.message = message
        self.advice = single_stops(advice)
        self.again = again

    def __str__(self) -> str:
        return f"{self.message} {self.advice}".strip()


class ConfigError(PushliveError):
    pass


class RequestError(PushliveError):
    pass


class NotFound(RequestError):
    pass


class Doubtful(RequestError):
    """``why``: what a person has to know first, without a full stop."""

    def __init__(self, why: str, *, advice: str) -> None:
        super().__init__(f"{why}. Nothing was done.", advice=advice)
        self.why = why


class RepositoryFailed(RequestError):
    pass


class CapReached(RequestError):
    pass


class Forbidden(RequestError):
    pass


class TokenExpired(RequestError):
    pass


class _WithEvidence(PushliveError):
    """``facts``: whole texts (a health answer, an exit code, what a cluster reports about a pod); ``evidence``: output,
    of which the beginning may be missing. Both are lines that a person wants to see first, and are shown together."""

    def __init__(
        self,
        message: str,
        *,
        advice: str = "",
        again: bool = False,
        facts: tuple[str, ...] = (),
        evidence: tuple[str, ...] = (),
    ) -> None:
        super().__init__(message, advice=advice, again=again)
        self.facts = len(facts)  # so many of ``evidence`` are facts, the first ones
        self.evidence = (*facts, *evidence)


class AppFailed(_WithEvidence):
    pass


class WrongRelease(AppFailed):
    pass


class BackFailed(AppFailed):
    pass


class BothFailed(AppFailed):
    pass


class EngineFailed(_WithEvidence):
    pass


class AccessoryFailed(EngineFailed):
    pass


class DoesNotFit(EngineFailed):
    pass


class OutcomeUnknown(EngineFailed):
    pass


class Overtime(OutcomeUnknown):
    pass


class DamagedRecord(EngineFailed):
    pass


class TryAgain(PushliveError):
    pass


class StoreUnavailable(TryAgain):
    pass


class StoreUnknown(StoreUnavailable):
    """The store knows nothing of this installation, and what it should know may still run."""


class Busy(TryAgain):
    pass


class NothingListens(TryAgain):
    pass


class EngineAway(TryAgain):
    pass


class GaveUp(PushliveError):
    pass


class Cancelled(GaveUp):
    pass


class Interrupted(Cancelled):
    pass


class CommandLeft(Cancelled):
    pass


class Abandoned(GaveUp):
    pass


class Superseded(GaveUp):
    pass


class Held(GaveUp):
    pass


class TimedOut(GaveUp):
    pass


class LeaseLost(Exception):
    """Another worker has taken over the run or the environment: stop, write nothing, report nothing."""
