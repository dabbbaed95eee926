"""Secrets, of which no value ever comes back, and tokens."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from pipeline.config.models import Config
from pipeline.config.previews.names import SECRETS as PREVIEWS
from pipeline.config.previews.names import is_preview
from pipeline.domain.audit_chain import Who
from pipeline.errors import TokenExpired
from pipeline.lib.secret import Secret
from pipeline.secrets.rules import check_name, check_value, check_word
from pipeline.service.audited import Audited
from pipeline.store import Token


class Credentials(Audited):
    """What a maintainer sets and revokes."""

    def set_secret(
        self, pipeline: str, by: Who, name: str, value: Secret, *, environment: str = ""
    ) -> dict[str, Any]:
        """A new version, for that environment or for all: ``{"name", "environment", "version", "messages"}``. Raises
        ConfigError for a value that cannot be a secret, EngineFailed if the key is not usable."""
        self.insist_on_store()
        check_name(name)
        environments = self._given_secrets(pipeline, environment)
        check_value(name, value)  # before the words: an empty text occurs in every word
        check_word(name, value, (pipeline, *environments))
        now = self._clock.now()
        version = self._vault.put(pipeline, name, value, environment=environment, by=by, now=now)
        self._move_entries()
        said = f"version {version.number} of {name} is set for {environment or 'every environment'}"
        targets = (environment,) if environment else environments
        config, of_accessory = self._config(), pipeline in self._config().accessories
        found = self._to_accessory if of_accessory else self._to_releases
        messages = [*found(config, pipeline, name, targets, said)]
        return {"name": name, "environment": environment, "version": version.number, "messages": messages}

    def _to_releases(
        self, config: Config, pipeline: str, name: str, targets: tuple[str, ...], said: str
    ) -> Iterator[str]:
        own = config.pipelines[pipeline]
        if targets == (PREVIEWS,) and own.previews:
            yield f"{said}; each preview gets it with its next push. What is set for other environments, none gets."
        else:
            yield (
                f"{said}; the next release of {pipeline} gets it "
                f"(`pushlive deploy {pipeline} --config pipelines.yaml` makes one of the image that is live)."
            )
        where = [own.previews.from_ if one == PREVIEWS and own.previews else one for one in targets]
        if not any(name in own.render(one).service.all_secrets for one in where):
            yield f"pipelines.yaml does not use it there yet: add `secrets: [{name}]` under `service:`."

    def _to_accessory(
        self, config: Config, accessory: str, name: str, targets: tuple[str, ...], said: str
    ) -> Iterator[str]:
        there = [one for one in targets if self._store.accessories.get(accessory, one)]
        commands = " and ".join(f"`pushlive accessory apply {accessory} {one}`" for one in there)
        if there:
            yield (
                f"{said}; {commands} gives it to the accessory. A database that has data keeps the password that it "
                "was made with: change it there as well."
            )
        else:
            yield f"{said}; the accessory gets it when it is made."
        if name not in config.accessories[accessory].secrets:
            yield (
                "pipelines.yaml does not use it there yet: add "
                f"`secrets: {{{name}: set}}` under accessories.{accessory}."
            )

    def remove_secret(
        self, pipeline: str, by: Who, name: str, *, environment: str = "", version: int | None = None
    ) -> tuple[str, ...]:
        """Deletes the values of that version, or of all versions for that environment. Raises NotFound."""
        if is_preview(pipeline):
            self._given_secrets(pipeline)
        now = self._clock.now()
        gone = self._vault.revoke(pipeline, name, environment=environment, number=version, by=by, now=now)
        self._move_entries()
        which = ", ".join(str(number) for number in gone)
        said = f"version {which} of {name} is revoked: no new container gets it."
        if pipeline in self._config().accessories:
            return (
                said,
                f"The accessory keeps it until you set another (`pushlive secret set {pipeline} {name}`) and give it "
                f"that one: `pushlive accessory apply {pipeline} ENV`.",
            )
        return (
            said,
            "What runs with it keeps it until the next release: "
            f"`pushlive deploy {pipeline} --config pipelines.yaml` makes one.",
        )

    # ── tokens, counts ───────────────────────────────────────────────────────

    def create_token(self, name: str, role: str, by: Who, *, lasts: float = 0.0) -> str:
        """The new token's text. ``lasts``: seconds; 0: it does not expire."""
        expires = self._clock.now() + lasts if lasts else 0.0
        text = self._store.tokens.create(name, role, by=by, expires=expires)
        self._move_entries()
        return text

    def token(self, text: str) -> Token | None:
        """The token with that text; None if there is none. Raises TokenExpired."""
        found = self._store.tokens.find(text)
        if found and found.expired(self._clock.now()):
            when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(found.expires))
            raise TokenExpired(
                f"the token {found.name!r} expired on {when}.",
                advice="A maintainer can create another: `pushlive token create NAME`.",
            )
        return found

    def revoke_token(self, name: str, by: Who) -> None:
        self._store.tokens.revoke(name, by=by)
        self._move_entries()

    def end_session(self, identifier: str, seconds: float) -> None:
        """From now on that session of the pages has ended; this is remembered for ``seconds``."""
        self._store.tokens.end_session(identifier, seconds)

    def has_session_ended(self, identifier: str) -> bool:
        return self._store.tokens.has_session_ended(identifier)

    def count(self, what: str, times: int = 1) -> None:
        """Adds ``times`` to that counter."""
        self._store.count(what, times)
