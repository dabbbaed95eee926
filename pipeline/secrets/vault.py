"""Secrets of pipelines: set, listed, revoked, given to containers, and known to the mask. Values never go back
to whoever asks.

A value is sealed under its pipeline, environment, name and number, so that what the store has for one of them
cannot stand for another.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any

from pipeline.config.engines import Registry
from pipeline.config.models import Pipeline
from pipeline.domain import audit_chain, secret_versions
from pipeline.domain.audit_chain import Who
from pipeline.domain.engine_types import Login
from pipeline.domain.release import Release
from pipeline.domain.secret_versions import Chosen, SecretRecord, Version
from pipeline.errors import ConfigError, EngineFailed, NotFound, PushliveError
from pipeline.lib.secret import Secret
from pipeline.lib.units import show_size
from pipeline.secrets import encryption
from pipeline.secrets.encryption import Key
from pipeline.secrets.redaction import SHORTEST, Mask
from pipeline.store import Store, Transaction

LARGEST = 64 << 10  # bytes of one value; the kernel takes at most 128 KiB as one variable
NAMES = 200  # secrets of one pipeline
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")


class Vault:
    """``path``: the file with the key; it is made with the first secret."""

    def __init__(self, store: Store, path: Path) -> None:
        self._store, self._path = store, path

    # ── what a person asks for ───────────────────────────────────────────────

    def put(
        self, pipeline: str, name: str, value: Secret, *, environment: str, by: Who, now: float
    ) -> Version:
        """A new version, for that environment or ("") for every one. Raises ConfigError for what cannot be a
        secret, EngineFailed where the key is lost, wrong or open to others."""
        check_name(name)
        check_value(name, value)
        key = self._key_to_seal()

        def act(tx: Transaction) -> Version:
            records = tx.secrets()
            record = records.get(name, SecretRecord(name))
            if name not in records and len(records) >= NAMES:
                raise ConfigError(f"{pipeline} has {NAMES} secrets already; one more is not taken.")
            number = record.last + 1
            sealed = key.seal(value, _bound(pipeline, environment, name, number))
            version = Version(number, environment, now, audit_chain.actor(by).name, sealed, key.id)
            tx.put_secret(secret_versions.added(record, version, _in_use(tx, name)))
            _record(tx, by, "secret set", environment, f"{name} version {number}", now)
            return version

        return self._store.transact(pipeline, act)

    def revoke(
        self, pipeline: str, name: str, *, environment: str, number: int | None, by: Who, now: float
    ) -> tuple[int, ...]:
        """Forgets the values of one version, or of all for that environment; their numbers."""

        def act(tx: Transaction) -> tuple[int, ...]:
            record = tx.secrets().get(name)
            if record is None:
                raise NotFound(
                    f"{pipeline} has no secret {name[:128]}.", advice=f"`pushlive secret list {pipeline}`."
                )
            left, numbers = secret_versions.revoked(
                record, environment, number, audit_chain.actor(by).name, now
            )
            tx.put_secret(left)
            gone = ", ".join(str(one) for one in numbers)
            _record(tx, by, "secret rm", environment, f"{name} version {gone}", now)
            return numbers

        return self._store.transact(pipeline, act)

    def names(self, pipeline: str) -> list[dict[str, Any]]:
        """The newest version of each secret and environment, by name; never a value."""
        found = []
        for _, record in sorted(self._store.secrets(pipeline).items()):
            newest = {one.environment: one for one in record.versions}
            newest |= {one.environment: one for one in record.versions if one.good}
            found += [_shown(record, one) for _, one in sorted(newest.items())]
        return found

    def versions(self, pipeline: str, name: str, environment: str = "") -> list[dict[str, Any]]:
        """All versions of one secret, newest first. Raises NotFound."""
        record = self._store.secrets(pipeline).get(name)
        if record is None:
            raise NotFound(
                f"{pipeline} has no secret {name[:128]}.", advice=f"`pushlive secret list {pipeline}`."
            )
        kept = reversed(record.versions)
        return [_shown(record, one) for one in kept if environment in ("", one.environment)]

    # ── what a run asks for ──────────────────────────────────────────────────

    def ready(
        self, name: str, pipeline: Pipeline, environments: tuple[str, ...]
    ) -> dict[str, dict[str, int]]:
        """The newest versions of all that those environments need, each tried, the registry's password too. Raises
        ConfigError (not set) or EngineFailed (cannot be read)."""
        wanted = {env: pipeline.render(env).service.secrets for env in environments}
        found = secret_versions.newest(self._store.secrets(name), name, wanted)
        for environment, numbers in found.items():
            self.reveal(name, environment, numbers)
        self.login(name, pipeline.registry)
        return found

    def login(self, pipeline: str, registry: Registry | None) -> Login | None:
        """To the registry, with the newest version of its password; None where it is without. Raises ConfigError (not
        set) or EngineFailed (cannot be read)."""
        if registry is None or not registry.password:
            return None
        record = self._store.secrets(pipeline).get(registry.password)
        version = record.newest(secret_versions.EVERY) if record else None
        if record is None or version is None:
            raise secret_versions.absent(pipeline, [(secret_versions.EVERY, registry.password)])
        password = self._open(pipeline, record, version, self._reader())
        return Login(registry.username, password, f"{pipeline} {registry.password}")

    def missing(self, name: str, pipeline: Pipeline) -> Iterator[tuple[str, str]]:
        """(environment, secret) of each that the configuration names and nobody has set; the registry's password is
        for no environment ("")."""
        records = self._store.secrets(name)
        password = pipeline.registry.password if pipeline.registry else ""
        if password and not records.get(password, SecretRecord(password)).newest(secret_versions.EVERY):
            yield secret_versions.EVERY, password
        for environment in pipeline.environments:
            for secret in pipeline.render(environment).service.secrets:
                record = records.get(secret)
                if record is None or record.newest(environment) is None:
                    yield environment, secret

    def choose(self, release: Release, environment: str) -> Chosen:
        """Which versions that release gets there now. Raises ConfigError; see ``versions.chosen``."""
        if not release.environments[environment].service.secrets:
            return Chosen({})
        return secret_versions.chosen(self._store.secrets(release.pipeline), release, environment)

    def reveal(self, pipeline: str, environment: str, numbers: Mapping[str, int]) -> dict[str, Secret]:
        """The values. In place of one revoked since it was chosen the newest is taken. Raises ConfigError (kept
        no longer, none left) or EngineFailed (cannot be read)."""
        if not numbers:
            return {}
        records, found, key = self._store.secrets(pipeline), {}, self._reader()
        for name, number in numbers.items():
            record = records.get(name, SecretRecord(name))
            version = record.version(number)
            if version is None:
                raise secret_versions.dropped(pipeline, environment, name, number)
            version = version if version.good else record.newest(environment)
            if version is None:
                raise secret_versions.absent(pipeline, [(environment, name)])
            found[name] = self._open(pipeline, record, version, key)
        return found

    def substitutes(self, pipeline: str, environment: str, numbers: Mapping[str, int]) -> tuple[str, ...]:
        """What is to be said of what ``reveal`` takes in place of versions that were revoked."""
        if not numbers:
            return ()
        records, notes = self._store.secrets(pipeline), []
        for name, number in numbers.items():
            record = records.get(name, SecretRecord(name))
            version, newest = record.version(number), record.newest(environment)
            if version and newest and not version.good:
                notes.append(secret_versions.substitute(version, newest, name, environment))
        return tuple(notes)

    def mask(self, pipeline: str) -> tuple[Mask, tuple[str, ...]]:
        """What finds every kept value of that pipeline in a text, and the names that it cannot find, because they
        cannot be read."""
        values: list[Secret] = []
        unread: list[str] = []
        key = self._reader()
        for name, record in self._store.secrets(pipeline).items():
            try:
                values += [self._open(pipeline, record, one, key) for one in record.versions if one.good]
            except EngineFailed:
                unread.append(name)
        return Mask(values), tuple(unread)

    def examine(self) -> str:
        """How many secrets there are, each version tried. Raises EngineFailed for the first that fails."""
        count, key = 0, self._reader()
        for pipeline in self._store.pipelines_with_secrets():
            for record in self._store.secrets(pipeline).values():
                kept = [self._open(pipeline, record, one, key) for one in record.versions if one.good]
                count += bool(kept)
        return f"{count} can be read" if count else "none are set"

    # ── the key ──────────────────────────────────────────────────────────────

    def _key_to_seal(self) -> Key:
        """The key for a new value; never another one than that of the values that are there."""
        used = self._keys_used()
        key = encryption.read(self._path)
        if key is None:
            if used:
                raise self._lost()
            return encryption.make(self._path)
        if used - {key.id}:
            raise self._wrong(key.id, min(used - {key.id}))
        return key

    def _keys_used(self) -> set[str]:
        pipelines = self._store.pipelines_with_secrets()
        records = (record for name in pipelines for record in self._store.secrets(name).values())
        return {one.key for record in records for one in record.versions if one.good}

    def _reader(self) -> Callable[[], Key | None]:
        """The key, read from its file at most once, and not before it is needed."""
        return cache(partial(encryption.read, self._path))

    def _open(
        self, pipeline: str, record: SecretRecord, version: Version, read: Callable[[], Key | None]
    ) -> Secret:
        key = read()
        if key is None:
            raise self._lost()
        if key.id != version.key:
            raise self._wrong(key.id, version.key)
        try:
            bound = _bound(pipeline, version.environment, record.name, version.number)
            return key.open(version.sealed, bound)
        except PushliveError as error:
            where = f"version {version.number} of {pipeline}'s secret {record.name}"
            raise EngineFailed(f"{where} cannot be read: {error.message}", advice=error.advice) from None

    def _lost(self) -> EngineFailed:
        return EngineFailed(
            f"the key {self._path}, with which the secrets are encrypted, is not there.",
            advice="Restore it from a backup. If it is lost, the values are: `pushlive secret rm` each, then set "
            "them anew; the first one makes a new key.",
        )

    def _wrong(self, has: str, wanted: str) -> EngineFailed:
        return EngineFailed(
            f"{self._path} is another key ({has}) than the one that secrets are encrypted with ({wanted}).",
            advice="Put the right one back from a backup, or `pushlive secret rm` what it encrypted.",
        )


def _record(tx: Transaction, by: Who, act: str, environment: str, what: str, now: float) -> None:
    tx.record(audit_chain.entry(by, act, now, pipeline=tx.pipeline, environment=environment, detail=what))


def check_name(name: str) -> None:
    """Raises ConfigError. What stands there may be a value by mistake: it is not repeated."""
    if not _NAME.fullmatch(name):
        raise ConfigError(
            "that cannot be a secret's name.",
            advice="Names are letters, digits and `_`, not beginning with a digit; the value comes by itself, "
            "from standard input.",
        )
    if name.startswith("PUSHLIVE_"):
        raise ConfigError(
            f"{name}: names that begin with PUSHLIVE_ are set by Pushlive itself.", advice="Choose another."
        )


def check_value(name: str, value: Secret) -> None:
    """Raises ConfigError, without a word of the value."""
    try:
        size = len(value.reveal().encode())
    except UnicodeEncodeError:
        raise ConfigError(f"the value of {name} is not text.", advice="Give it as UTF-8.") from None
    if not value.reveal().strip():
        raise ConfigError(f"the value of {name} is empty.", advice="Give it on standard input.")
    if size > LARGEST:
        raise ConfigError(
            f"the value of {name} is larger than {show_size(LARGEST)}.",
            advice="Let the application fetch it with a short secret, or put it into the image encrypted.",
        )
    if "\0" in value.reveal():
        raise ConfigError(
            f"the value of {name} has a NUL byte in it, which no variable can.", advice="Give it in base64."
        )
    if len(value.reveal()) < SHORTEST:
        raise ConfigError(
            f"the value of {name} has fewer than {SHORTEST} characters and could not be masked in any output.",
            advice="Take a longer one, or write it under `env:` if it is none.",
        )


_OURS = "pushlive revert promote deploy release serving blue green build start smoke switch verify fetch"


def check_word(name: str, value: Secret, names: tuple[str, ...]) -> None:
    """Raises ConfigError for what stands in our own messages: masked there, they could not be read, and whoever reads
    them could tell the value."""
    if any(value.reveal().strip().lower() in word for word in (*_OURS.split(), *names)):
        raise ConfigError(
            f"the value of {name} is a word that Pushlive's own messages have in them.",
            advice="Write it under `env:` if it is no secret, or take another value.",
        )


def _bound(pipeline: str, environment: str, name: str, number: int) -> str:
    return json.dumps(["pushlive secret", pipeline, environment, name, number])


def _in_use(tx: Transaction, name: str) -> frozenset[int]:
    """The versions that containers have now: reconciliation may have to make them again."""
    slots = (slot for place in tx.environments() for slot in place.slots.values())
    return frozenset(slot.secrets[name] for slot in slots if name in slot.secrets)


def _shown(record: SecretRecord, version: Version) -> dict[str, Any]:
    return {
        "name": record.name,
        "environment": version.environment,
        "version": version.number,
        "created": version.created,
        "by": version.by,
        "revoked": version.revoked,
        "revoked_by": version.revoked_by,
    }
