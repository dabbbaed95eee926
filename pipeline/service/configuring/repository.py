"""A configuration in a repository: a push is judged before it is taken, and then in force at once."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from pipeline.config.place.repository import ConfigRepository, same_repository
from pipeline.deploy.configuring import wanted
from pipeline.deploy.configuring.telling import Telling
from pipeline.deploy.configuring.wanted import Wanted
from pipeline.domain.audit_chain import Who, actor
from pipeline.errors import PushliveError, StoreUnavailable
from pipeline.lib.push_notes import Update
from pipeline.service.audited import Audited
from pipeline.store.configurations import Refused


class ConfigurationPushes(Audited):
    """Only if the configuration is in a repository."""

    def judge_configuration(
        self, updates: tuple[Update, ...], quarantine: str, by: Who = ""
    ) -> tuple[str, ...]:
        """Every problem of what a push would make the configuration; nothing if it may be taken. What is refused is in
        the audit log, and receivers are told. See ``Taking.judge``."""
        try:
            self._operations.taking().judge(updates, quarantine)
        except PushliveError as error:
            self._turned_away(updates, str(error), by)
            return tuple(str(error).split("\n"))
        return ()

    def _turned_away(self, updates: tuple[Update, ...], problem: str, by: Who) -> None:
        place = self._settings.config
        ref = place.ref if isinstance(place, ConfigRepository) else ""
        commit = next((one.after for one in updates if one.ref == ref), "")
        refused = Refused(problem, commit, actor(by).name, self._clock.now())
        with suppress(StoreUnavailable):  # the pusher is told in any case
            telling = Telling(self._store, self._configurations.place)
            telling.turned_away(refused, by, self._configurations.in_force())
            self._move_entries()

    def take_configuration(self, by: Who) -> dict[str, Any]:
        """Puts the head of its repository into force: ``{"config", "changed", "problem", "origin", "plan"}``; ``plan``
        as that of ``plan``, before it was in force. Raises ConfigError if it is in a file."""
        self.insist_on_store()
        taken = self._operations.taking().take(lambda _: by)
        answer = {"config": taken.digest, "changed": taken.changed, "problem": taken.problem}
        changes: dict[str, Any] = {
            "problems": [],
            "warnings": [],
            "pipelines": {},
            "reverts": {},
            "origin": None,
        }
        if taken.changed and not taken.problem:
            changes = self.plan(self._store.config(taken.digest), before=taken.before)
        return {**answer, "origin": self.origin(taken.digest), "plan": changes}

    def configuration_pushed(self, urls: tuple[str, ...], ref: str, asked: Wanted) -> str:
        """Notes that a webhook reported a push to the configuration's repository elsewhere; the keeper fetches it. What
        there is to say, "" if none of ``urls`` is that repository."""
        place = self._settings.config
        if not isinstance(place, ConfigRepository) or not place.url:
            return ""
        if same_repository(place.url) not in {same_repository(url) for url in urls if url}:
            return ""
        if ref != place.ref:
            return f"the configuration is on the branch {place.branch}"
        wanted.want(self._store, asked)
        return f"the configuration in {asked.commit[:7]} is fetched"

    def write_configuration(self, before: str, text: str, by: Who, message: str) -> None:
        """Commits the text to the built-in server's repository, and puts it into force. Raises ConfigError and
        RequestError if what is there is not ``before``."""
        self._operations.taking().write(before, text, actor(by).name, message)
        self._operations.taking().take(lambda _: by)
