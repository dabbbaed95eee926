"""Values of secrets: encrypted in the store, and decrypted with the key in its file.

A value is encrypted for its pipeline, environment, name and number, so an encrypted value in the store cannot be passed
off as that of another secret.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from functools import cache, partial
from pathlib import Path

from pipeline.config.previews.names import pipeline_of
from pipeline.domain import audit_chain, secret_versions
from pipeline.domain.audit_chain import Who
from pipeline.domain.secret_versions import SecretRecord, Version
from pipeline.errors import EngineFailed, PushliveError
from pipeline.lib.secret import Secret
from pipeline.secrets import encryption
from pipeline.secrets.encryption import Key
from pipeline.store import Store, Transaction

SET, REMOVE = "secret set", "secret rm"


class SealedValues:
    """``path``: the file with the key. It is created when the first secret is set."""

    def __init__(self, store: Store, path: Path) -> None:
        self._store, self._path = store, path

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

    def newest(self, pipeline: str, environment: str, name: str) -> Secret:
        """The newest value of one secret. Raises ConfigError (not set) or EngineFailed (cannot be read)."""
        version = self._store.secrets(pipeline).get(name, SecretRecord(name)).newest(environment)
        if version is None:
            raise secret_versions.absent(pipeline, [(environment, name)])
        return self.reveal(pipeline, environment, {name: version.number})[name]

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
            where = context(pipeline_of(pipeline), version.environment, record.name, version.number)
            return key.decrypt(version.sealed, where)
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


def record_act(
    tx: Transaction,
    by: Who,
    act: str,
    name: str,
    numbers: Iterable[int],
    environment: str,
    before: SecretRecord,
    now: float,
) -> None:
    """``numbers``: of the versions that are set or removed; ``before``: the secret as it was."""
    after = "" if act == SET else "removed: "
    what = f"version {', '.join(map(str, numbers))}"
    kept = [one.number for one in before.versions if one.good and one.environment == environment]
    entry = audit_chain.entry(
        by,
        act,
        now,
        pipeline=tx.pipeline,
        environment=environment,
        detail=f"{name} {what}",
        before=f"version {', '.join(map(str, kept))}" if kept else "not set",
        after=f"{after}{what}",
    )
    tx.record(entry)


def context(pipeline: str, environment: str, name: str, number: int) -> str:
    return json.dumps(["pushlive secret", pipeline, environment, name, number])
