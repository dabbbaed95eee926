"""Secrets of pipelines: set, listed, revoked, given to containers, and masked in output. No value is ever returned to a
user."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from pipeline.config.engines import Registry
from pipeline.config.models import Config, Pipeline
from pipeline.domain import audit_chain, secret_versions
from pipeline.domain.audit_chain import Who
from pipeline.domain.engine_types import Login
from pipeline.domain.previews.records import PreviewState
from pipeline.domain.release import Release
from pipeline.domain.retention import needed
from pipeline.domain.secret_versions import Chosen, SecretRecord, Version
from pipeline.errors import ConfigError, EngineFailed, NotFound
from pipeline.lib.secret import Secret
from pipeline.secrets.accessory_values import AccessoryValues
from pipeline.secrets.named import Named, named
from pipeline.secrets.redaction import Mask
from pipeline.secrets.rules import check_name, check_value
from pipeline.secrets.sealed_values import REMOVE, SET, context, record_act
from pipeline.store import Transaction

MAX_SECRETS = 200  # of one pipeline


class Vault(AccessoryValues):
    """See ``SealedValues`` for the key."""

    # ── for users ────────────────────────────────────────────────────────────

    def put(
        self, pipeline: str, name: str, value: Secret, *, environment: str, by: Who, now: float
    ) -> Version:
        """Adds a version for that environment, or for all of them (""). Raises ConfigError if the name or the value is
        not allowed, EngineFailed if the key is missing, wrong or accessible to other users."""
        check_name(name)
        check_value(name, value)
        key, given = self._encryption_key(), self._given_elsewhere(pipeline, name)

        def act(tx: Transaction) -> Version:
            records = tx.secrets()
            record = records.get(name, SecretRecord(name))
            if name not in records and len(records) >= MAX_SECRETS:
                raise ConfigError(
                    f"{pipeline} already has {MAX_SECRETS} secrets, the most that a pipeline can have."
                )
            number = record.last + 1
            encrypted = key.encrypt(value, context(pipeline, environment, name, number))
            version = Version(number, environment, now, audit_chain.actor(by).name, encrypted, key.id)
            tx.put_secret(secret_versions.added(record, version, _in_use(tx, name) | given))
            record_act(tx, by, SET, name, (number,), environment, record, now)
            return version

        return self._store.transact(pipeline, act)

    def _accessories_of(self, pipeline: str) -> Iterator[str]:
        """Those that it uses or used, or may have used: their record cannot be read."""
        other = {one.name for one in self._store.accessories.all() if pipeline not in one.attached}
        own = {one.name for one in self._store.accessories.of(pipeline)}
        yield from (name for name in self._store.accessories.names() if name in own or name not in other)

    def _given_elsewhere(self, owner: str, name: str) -> frozenset[int]:
        """The versions that accessories of that name have, or previews of the pipeline, in a slot or a release that may
        be started again."""
        given = [one.secrets for one in self._store.accessories.all() if one.name == owner]
        for preview in self._store.previews.all().values():
            if preview.pipeline != owner or preview.state == PreviewState.CLOSED:
                continue
            environments = tuple(self._store.environments(preview.name).values())
            given += [slot.secrets for one in environments for slot in one.slots.values()]
            for number in needed(environments, self._store.open_runs(preview.name)):
                with suppress(NotFound):
                    given += self._store.release(preview.name, number).secrets.values()
        return frozenset(one[name] for one in given if name in one)

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
            record_act(tx, by, REMOVE, name, numbers, environment, record, now)
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
        wanted = {env: pipeline.render(env).service.all_secrets for env in environments}
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

    def missing(self, config: Config) -> Iterator[Named]:
        """Each secret that the configuration names and that is not set."""
        records: dict[str, dict[str, SecretRecord]] = {}
        for one in named(config):
            if one.owner not in records:
                records[one.owner] = self._store.secrets(one.owner)
            record = records[one.owner].get(one.name)
            if record is None or record.newest(one.environment) is None:
                yield one

    def choose(self, release: Release, environment: str) -> Chosen:
        """The versions that the release gets in that environment now. Raises ConfigError; see
        ``secret_versions.chosen``."""
        if not release.environments[environment].service.all_secrets:
            return Chosen({})
        return secret_versions.chosen(self._store.secrets(release.pipeline), release, environment)

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
        for owner in (pipeline, *self._accessories_of(pipeline)):
            for name, record in self._store.secrets(owner).items():
                try:
                    values += [self._decrypt(owner, record, one, key) for one in record.versions if one.good]
                except EngineFailed:
                    unread.append(name)
        return Mask(values), tuple(unread)

    def examine(self) -> str:
        """How many secrets can be read, for the doctor. Decrypts every version; raises EngineFailed for the first that
        fails."""
        count, key = 0, self._reader()
        for pipeline in self._store.pipelines_with_secrets():
            for record in self._store.secrets(pipeline).values():
                kept = [self._decrypt(pipeline, record, one, key) for one in record.versions if one.good]
                count += bool(kept)
        return f"{count} can be read" if count else "none are set"


def _unknown(pipeline: str, name: str) -> NotFound:
    return NotFound(
        f"{pipeline} has no secret {name[:128]}.", advice=f"`pushlive secret list {pipeline}` lists them."
    )


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
