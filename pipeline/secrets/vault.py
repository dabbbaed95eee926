"""Secrets of pipelines: set, listed, revoked, given to containers, and masked in output. No value is ever returned to a
user.

A value is encrypted for its pipeline, environment, name and number, so an encrypted value in the store cannot be passed
off as that of another secret.
"""

from __future__ import annotations

import json
import secrets as tokens
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from typing import Any

from pipeline.config.engines import Registry
from pipeline.config.models import Pipeline
from pipeline.domain import audit_chain, secret_versions
from pipeline.domain.audit_chain import Who
from pipeline.domain.engine_types import Login
from pipeline.domain.release import Release
from pipeline.domain.retention import needed
from pipeline.domain.secret_versions import Chosen, SecretRecord, Version
from pipeline.errors import ConfigError, EngineFailed, NotFound, PushliveError
from pipeline.lib.secret import Secret
from pipeline.secrets import encryption
from pipeline.secrets.encryption import Key
from pipeline.secrets.redaction import Mask
from pipeline.secrets.rules import check_name, check_value
from pipeline.store import Store, Transaction

GENERATED = audit_chain.Actor("pushlive", way="service")
MAX_SECRETS = 200  # of one pipeline


class Vault:
    """``path``: the file with the key. It is created when the first secret is set."""

    def __init__(self, store: Store, path: Path) -> None:
        self._store, self._path = store, path

    # ── for users ────────────────────────────────────────────────────────────

    def put(
        self, pipeline: str, name: str, value: Secret, *, environment: str, by: Who, now: float
    ) -> Version:
        """Adds a version for that environment, or for all of them (""). Raises ConfigError if the name or the value is
        not allowed, EngineFailed if the key is missing, wrong or accessible to other users."""
        check_name(name)
        check_value(name, value)
        key = self._encryption_key()

        def act(tx: Transaction) -> Version:
            records = tx.secrets()
            record = records.get(name, SecretRecord(name))
            if name not in records and len(records) >= MAX_SECRETS:
                raise ConfigError(
                    f"{pipeline} already has {MAX_SECRETS} secrets, the most that a pipeline can have."
                )
            number = record.last + 1
            encrypted = key.encrypt(value, _context(pipeline, environment, name, number))
            version = Version(number, environment, now, audit_chain.actor(by).name, encrypted, key.id)
            tx.put_secret(secret_versions.added(record, version, _in_use(tx, name)))
            _record(tx, by, "secret set", environment, f"{name} version {number}", now)
            return version

        return self._store.transact(pipeline, act)

    def revoke(
        self, pipeline: str, name: str, *, environment: str, number: int | None, by: Who, now: float
    ) -> tuple[int, ...]:
        """Deletes the value of one version, or of every version for that environment; returns their numbers. Raises
        NotFound."""

        def act(tx: Transaction) -> tuple[int, ...]:
            record = tx.secrets().get(name)
            if record is None:
                raise _unknown(pipeline, name)
            left, numbers = secret_versions.revoked(
                pipeline, record, environment, number, audit_chain.actor(by).name, now
            )
            tx.put_secret(left)
            revoked = ", ".join(str(one) for one in numbers)
            _record(tx, by, "secret rm", environment, f"{name} version {revoked}", now)
            return numbers

        return self._store.transact(pipeline, act)

    def names(self, pipeline: str) -> list[dict[str, Any]]:
        """The newest version of each secret for each environment, sorted by name, without values."""
        found = []
        for _, record in sorted(self._store.secrets(pipeline).items()):
            newest = {one.environment: one for one in record.versions}
            newest |= {one.environment: one for one in record.versions if one.good}
            found += [_row(record, one) for _, one in sorted(newest.items())]
        return found

    def versions(self, pipeline: str, name: str, environment: str = "") -> list[dict[str, Any]]:
        """Every kept version of one secret, newest first, without values. Raises NotFound."""
        record = self._store.secrets(pipeline).get(name)
        if record is None:
            raise _unknown(pipeline, name)
        kept = reversed(record.versions)
        return [_row(record, one) for one in kept if environment in ("", one.environment)]

    # ── for runs ─────────────────────────────────────────────────────────────

    def ready(
        self, name: str, pipeline: Pipeline, environments: tuple[str, ...]
    ) -> dict[str, dict[str, int]]:
        """The newest version of every secret that those environments need. Decrypts each, and the registry's password,
        to be sure that it can. Raises ConfigError (not set) or EngineFailed (cannot be read)."""
        wanted = {env: pipeline.render(env).service.secrets for env in environments}
        found = secret_versions.newest(self._store.secrets(name), name, wanted)
        for environment, numbers in found.items():
            self.reveal(name, environment, numbers)
        self.login(name, pipeline.registry)
        return found

    def login(self, pipeline: str, registry: Registry | None) -> Login | None:
        """The registry's login with the newest version of its password; None if there is none. Raises ConfigError
        (not set) or EngineFailed (cannot be read)."""
        if registry is None or not registry.password:
            return None
        record = self._store.secrets(pipeline).get(registry.password)
        version = record.newest(secret_versions.EVERY) if record else None
        if record is None or version is None:
            raise secret_versions.absent(pipeline, [(secret_versions.EVERY, registry.password)])
        password = self._decrypt(pipeline, record, version, self._reader())
        return Login(registry.username, password, f"{pipeline} {registry.password}")

    def missing(self, name: str, pipeline: Pipeline) -> Iterator[tuple[str, str]]:
        """(environment, secret) of each secret that the configuration names and that is not set. The environment of the
        registry's password is ""."""
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
        """The versions that the release gets in that environment now. Raises ConfigError; see
        ``secret_versions.chosen``."""
        if not release.environments[environment].service.secrets:
            return Chosen({})
        return secret_versions.chosen(self._store.secrets(release.pipeline), release, environment)

    def reveal(self, pipeline: str, environment: str, numbers: Mapping[str, int]) -> dict[str, Secret]:
        """The values of those versions. A version that was revoked meanwhile is replaced by the newest. Raises
        ConfigError (no longer kept, or none left) or EngineFailed (cannot be read)."""
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
            found[name] = self._decrypt(pipeline, record, version, key)
        return found

    def substitutes(self, pipeline: str, environment: str, numbers: Mapping[str, int]) -> tuple[str, ...]:
        """One note for each revoked version that ``reveal`` replaces."""
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
        """A mask of every kept value of that pipeline and of the accessories that it uses, and the names of the secrets
        that cannot be read and so are not masked."""
        values: list[Secret] = []
        unread: list[str] = []
        key = self._reader()
        for owner in dict.fromkeys((pipeline, *(one.name for one in self._store.accessories.of(pipeline)))):
            for name, record in self._store.secrets(owner).items():
                try:
                    values += [self._decrypt(owner, record, one, key) for one in record.versions if one.good]
                except EngineFailed:
                    unread.append(name)
        return Mask(values), tuple(unread)

    # ── for accessories ──────────────────────────────────────────────────────

    def provide(
        self, accessory: str, environment: str, origins: Mapping[str, str], now: float
    ) -> dict[str, int]:
        """The newest version of each of an accessory's secrets in that environment. A value that is to be generated is
        made if there has never been one. Raises ConfigError (not set, or revoked) or EngineFailed (cannot be read)."""
        for name, origin in origins.items():
            record = self._store.secrets(accessory).get(name, SecretRecord(name))
            if origin == "generate" and not record.ever(environment):
                self._generate(accessory, environment, name, now)
        records, found = self._store.secrets(accessory), dict[str, int]()
        for name in origins:
            version = records.get(name, SecretRecord(name)).newest(environment)
            if version is None:
                raise secret_versions.absent(accessory, [(environment, name)])
            found[name] = version.number
        self.reveal(accessory, environment, found)
        return found

    def _generate(self, accessory: str, environment: str, name: str, now: float) -> None:
        """Makes the value, unless another process has just made it."""
        key, value = self._encryption_key(), Secret(tokens.token_hex(16))

        def act(tx: Transaction) -> None:
            record = tx.secrets().get(name, SecretRecord(name))
            if record.ever(environment):
                return
            number = record.last + 1
            encrypted = key.encrypt(value, _context(accessory, environment, name, number))
            version = Version(number, environment, now, GENERATED.name, encrypted, key.id)
            tx.put_secret(secret_versions.added(record, version, frozenset()))
            _record(tx, GENERATED, "secret set", environment, f"{name} version {number}", now)

        self._store.transact(accessory, act)

    def newest(self, pipeline: str, environment: str, name: str) -> Secret:
        """The newest value of one secret. Raises ConfigError (not set) or EngineFailed (cannot be read)."""
        version = self._store.secrets(pipeline).get(name, SecretRecord(name)).newest(environment)
        if version is None:
            raise secret_versions.absent(pipeline, [(environment, name)])
        return self.reveal(pipeline, environment, {name: version.number})[name]

    def examine(self) -> str:
        """How many secrets can be read, for the doctor. Decrypts every version; raises EngineFailed for the first that
        fails."""
        count, key = 0, self._reader()
        for pipeline in self._store.pipelines_with_secrets():
            for record in self._store.secrets(pipeline).values():
                kept = [self._decrypt(pipeline, record, one, key) for one in record.versions if one.good]
                count += bool(kept)
        return f"{count} can be read" if count else "none are set"

    # ── the key ──────────────────────────────────────────────────────────────

    def _encryption_key(self) -> Key:
        """The key for a new value: the one that the values in the store are encrypted with, or a new key if there are
        none."""
        used = self._keys_used()
        key = encryption.read(self._path)
        if key is None:
            if used:
                raise self._missing_key()
            return encryption.make(self._path)
        if used - {key.id}:
            raise self._wrong_key(key.id, min(used - {key.id}))
        return key

    def _keys_used(self) -> set[str]:
        pipelines = self._store.pipelines_with_secrets()
        records = (record for name in pipelines for record in self._store.secrets(name).values())
        return {one.key for record in records for one in record.versions if one.good}

    def _reader(self) -> Callable[[], Key | None]:
        """A function that reads the key from its file when it is first needed, and only once."""
        return cache(partial(encryption.read, self._path))

    def _decrypt(
        self, pipeline: str, record: SecretRecord, version: Version, read: Callable[[], Key | None]
    ) -> Secret:
        key = read()
        if key is None:
            raise self._missing_key()
        if key.id != version.key:
            raise self._wrong_key(key.id, version.key)
        try:
            context = _context(pipeline, version.environment, record.name, version.number)
            return key.decrypt(version.sealed, context)
        except PushliveError as error:
            what = f"version {version.number} of the secret {record.name} of {pipeline}"
            raise EngineFailed(f"{what} cannot be read: {error.message}", advice=error.advice) from None

    def _missing_key(self) -> EngineFailed:
        return EngineFailed(
            f"the secrets key {self._path} does not exist, and secrets are encrypted with it.",
            advice="Restore it from a backup. If it is lost, so are the values: run `pushlive secret rm PIPELINE NAME` "
            "for each secret, then set it again; the first one creates a new key.",
        )

    def _wrong_key(self, found: str, wanted: str) -> EngineFailed:
        return EngineFailed(
            f"{self._path} contains the key {found}, but secrets are encrypted with the key {wanted}.",
            advice="Restore the right key from a backup, or remove the secrets, each with "
            "`pushlive secret rm PIPELINE NAME`.",
        )


def _unknown(pipeline: str, name: str) -> NotFound:
    return NotFound(
        f"{pipeline} has no secret {name[:128]}.", advice=f"`pushlive secret list {pipeline}` lists them."
    )


def _record(tx: Transaction, by: Who, act: str, environment: str, what: str, now: float) -> None:
    tx.record(audit_chain.entry(by, act, now, pipeline=tx.pipeline, environment=environment, detail=what))


def _context(pipeline: str, environment: str, name: str, number: int) -> str:
    return json.dumps(["pushlive secret", pipeline, environment, name, number])


def _in_use(tx: Transaction, name: str) -> frozenset[int]:
    """The versions that containers have now, and those of releases that may have to be started again."""
    environments = tx.environments()
    given = [slot.secrets for environment in environments for slot in environment.slots.values()]
    for number in needed(environments, tx.open()):
        with suppress(NotFound):  # it was lost with an earlier store
            given += tx.release(number).secrets.values()
    return frozenset(versions[name] for versions in given if name in versions)


def _row(record: SecretRecord, version: Version) -> dict[str, Any]:
    return {
        "name": record.name,
        "environment": version.environment,
        "version": version.number,
        "created": version.created,
        "by": version.by,
        "revoked": version.revoked,
        "revoked_by": version.revoked_by,
    }
