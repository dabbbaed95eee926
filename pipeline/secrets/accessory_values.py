"""Values of the secrets of accessories: some are generated, and stay the same for ever."""

from __future__ import annotations

import secrets as tokens
from collections.abc import Mapping

from pipeline.domain import audit_chain, secret_versions
from pipeline.domain.audit_chain import Who
from pipeline.domain.secret_versions import EVERY, SecretRecord, Version
from pipeline.lib.secret import Secret
from pipeline.secrets.sealed_values import SET, SealedValues, context, record_act
from pipeline.store import Transaction

GENERATED = audit_chain.Actor("pushlive", way="service")


class AccessoryValues(SealedValues):
    """Those that an accessory's container is given."""

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
            encrypted = key.encrypt(value, context(accessory, environment, name, number))
            version = Version(number, environment, now, GENERATED.name, encrypted, key.id)
            tx.put_secret(secret_versions.added(record, version, frozenset()))
            record_act(tx, GENERATED, SET, name, (number,), environment, record, now)

        self._store.transact(accessory, act)

    def take_up(
        self, accessory: str, environment: str, name: str, value: Secret, number: int, *, by: Who, now: float
    ) -> int:
        """Keeps a value that a container was found with, under that number; under the next one if the number is 0 or
        another value has it. Returns the number. Idempotent."""
        key = self._encryption_key()

        def act(tx: Transaction) -> int:
            record = tx.secrets().get(name, SecretRecord(name))
            same = [one for one in record.versions if one.good and self._is(accessory, record, one, value)]
            known = next((one for one in same if number in (0, one.number)), None)
            if known and known.environment in (environment, EVERY):
                return known.number
            taken = record.version(number) is not None
            use = known.number if known else record.last + 1 if taken or not number else number
            where = EVERY if known else environment  # two environments with one number: it was set for all
            encrypted = key.encrypt(value, context(accessory, where, name, use))
            version = Version(use, where, now, audit_chain.actor(by).name, encrypted, key.id)
            others = [one for one in record.versions if one.number != use]
            kept = tuple(sorted((*others, version), key=lambda one: one.number))
            tx.put_secret(SecretRecord(name, max(record.last, use), kept))
            record_act(tx, by, SET, name, (use,), where, record, now)
            return use

        return self._store.transact(accessory, act)

    def _is(self, accessory: str, record: SecretRecord, version: Version, value: Secret) -> bool:
        return self._decrypt(accessory, record, version, self._reader()).reveal() == value.reveal()
