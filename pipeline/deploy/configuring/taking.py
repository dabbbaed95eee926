"""Puts the head of the configuration's repository into force.

What is in force is in the store alone. So a crash between a push and its use leaves the last configuration in force,
and the next look at the head takes it: that of a push, or the keeper's.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from pipeline.config.editing.text import line_feeds, with_line_ends_of
from pipeline.config.place.origin import Origin
from pipeline.config.place.repository import ConfigRepository
from pipeline.deploy.configuring import judging
from pipeline.deploy.services import Services
from pipeline.domain.audit_chain import Actor, Who, actor
from pipeline.errors import ConfigError, EngineFailed, NotFound, RepositoryFailed, RequestError
from pipeline.lib.push_notes import Update
from pipeline.ports.clock import Clock, Deadline
from pipeline.ports.repositories import Repositories
from pipeline.ports.source import Source

KEY = "pipelines.yaml"  # of the mirror; no pipeline can be called so
FETCH = 60.0  # seconds
ROUNDS = 10  # heads that are taken one after the other, if pushes do not stop
KEEPER = Actor("keeper", way="keeper")

Pusher = Callable[[str], Who]  # who pushed that commit


def unknown(_commit: str) -> Who:
    return KEEPER


@dataclass(frozen=True)
class Taken:
    """``before`` and ``digest``: the hashes of what was in force and of what is; ``problem``: why the head is not."""

    before: str
    digest: str
    commit: str = ""
    problem: str = ""

    @property
    def changed(self) -> bool:
        return self.before != self.digest


class Taking:
    """For one installation whose configuration is in a repository."""

    def __init__(
        self,
        services: Services,
        place: ConfigRepository,
        source: Source,
        repositories: Repositories,
        clock: Clock,
    ) -> None:
        self._configurations, self.repositories = services.configurations, repositories
        self.place, self._source, self._clock = place, source, clock
        self._key = place.repository or KEY

    def head(self) -> str:
        """The commit of the branch, fetched if it is elsewhere; "" if there is no such branch yet. Raises
        EngineFailed, RequestError and TimedOut."""
        watch = Deadline(self._clock, FETCH, f"fetching {self.place}")
        try:
            return self._source.fetch(self._key, self.place.source, watch)
        except (NotFound, RepositoryFailed) as error:
            if self.place.url:
                raise
            del error
            return ""

    def take(self, pusher: Pusher = unknown, *, again: bool = False) -> Taken:
        """Until the head that was read last is still the head. ``again``: also if it was judged before. Raises what
        ``head`` raises; the last good configuration stays in force then."""
        before, head = self._configurations.in_force(), ""
        for _ in range(ROUNDS):
            head = self.head()
            if not head:
                self._configurations.trouble(self._nothing())
                break
            if self._configurations.seen(head) and not again:
                break
            self._judge(head, pusher(head))
            again = False
        return Taken(before, self._configurations.in_force(), head, self._configurations.problem())

    def judge(self, updates: Iterable[Update], quarantine: str) -> None:
        """Looks at a push that is not let in yet. Raises ConfigError with what is wrong, and what reading raises."""
        place = self.place
        for one in updates:
            if one.ref != place.ref:
                continue
            if one.deletes:
                raise ConfigError(f"the branch {place.branch} has the configuration and cannot be deleted.")
            found = self.repositories.pushed(
                place.repository, quarantine, one.after, place.path, judging.LIMIT
            )
            if found.kind == "link":
                raise ConfigError(judging.is_link(place))
            if found.kind != "file":
                raise ConfigError(judging.missing(place, one.after, found.kind))
            if found.size > judging.LIMIT:
                raise ConfigError(judging.too_large(place, found.size))
            judging.text_of(found.content, place)

    def write(self, before: str, text: str, author: str, message: str) -> None:
        """A commit with that text in place of ``before``, on the built-in server. Raises ConfigError if the head has
        another one, RequestError if another push came in between."""
        head, place = self.head(), self.place
        raw = self._source.read(self._key, place.source, head, place.path) if head else None
        if raw is None or line_feeds(raw.decode("utf-8", "replace")) != before:
            raise ConfigError(
                f"{place} has changed since.", advice="Look at the change once more, and repeat it."
            )
        content = with_line_ends_of(raw.decode(), text).encode()
        name, branch = place.repository, place.branch
        self.repositories.commit(name, branch, head, place.path, content, author, message)

    def text_at(self, commit: str) -> str:
        """The valid configuration in that commit. Raises ConfigError."""
        place, source = self.place, self.place.source
        try:
            if self._source.follow(self._key, source, commit, place.path) != posixpath.normpath(place.path):
                raise ConfigError(judging.is_link(place))
            raw = self._source.read(self._key, source, commit, place.path)
        except (RequestError, EngineFailed) as error:
            raise ConfigError(f"{place.path} cannot be read: {error.message}") from error
        if raw is None:
            raise ConfigError(judging.missing(place, commit))
        return judging.text_of(raw, place)

    def _judge(self, commit: str, by: Who) -> None:
        try:
            text = self.text_at(commit)
        except ConfigError as error:
            self._configurations.refuse(str(error), commit, by)
            return
        found = self._source.commit(self._key, self.place.source, commit)
        name = actor(by).name if by is not KEEPER else ""
        origin = Origin(str(self.place), commit, found.author, found.message, name, self._clock.now())
        self._configurations.take(text, origin, by)

    def _nothing(self) -> str:
        place = self.place
        return (
            f"{place.repository} on the built-in git server has no branch {place.branch}: "
            f"push {place.path} to it, with a maintainer's token."
        )
