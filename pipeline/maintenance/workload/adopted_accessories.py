"""Accessories that a store knows nothing of: taken up with the values that their containers have."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import product

from pipeline.config.models import Config
from pipeline.deploy.accessories import AccessoryCare
from pipeline.deploy.services import Services
from pipeline.domain import audit_chain
from pipeline.domain.accessories import AccessoryMade, AccessoryRecord, AccessorySpec, FoundAccessory
from pipeline.domain.audit_chain import Who
from pipeline.ports.adapters import Adapters
from pipeline.ports.clock import Deadline

LIMIT = 60.0  # seconds for one
NAMES_TRIED, NUMBERS_TRIED = 2, 16  # secrets of one of an earlier version, and versions of each


class AdoptAccessories:
    """For ``pushlive adopt``. Nothing is started, stopped or made."""

    def __init__(self, services: Services, adapters: Adapters, by: Who) -> None:
        self._store, self._vault, self._by = services.store, services.vault, by
        self._engines, self._clock = adapters.engines, adapters.clock
        self._care = AccessoryCare(services, adapters.engines, adapters.clock)

    def survey(self) -> list[FoundAccessory]:
        """Raises TryAgain if an engine does not answer."""
        keys = sorted(self._engines.in_use())
        return [one for key in keys for one in self._engines.of(key).adoption.accessories_found()]

    def take(self, found: FoundAccessory, config: Config) -> Iterator[str]:
        """Writes its record and its secrets; says what was taken up. Idempotent."""
        ref, now = found.ref, self._clock.now()
        made = found.made or self._guess(found, config)
        if made is None:
            yield (
                f"the accessory {ref.id} was not taken up: pipelines.yaml has no {ref.name}. It goes on as it is, and "
                "is taken up by a run that uses it"
            )
            return
        record = AccessoryRecord(ref.name, ref.environment, ref.engine, made.config, now)
        record = replace(record, attached={one.pipeline: one for one in found.attached})
        with self._care.lease(record.id, Deadline(self._clock, LIMIT, "adopting an accessory")) as lease:
            there = {name: number for name, number in made.secrets.items() if name in found.env}
            versions = {
                name: self._vault.take_up(
                    ref.name, ref.environment, name, found.env[name], number, by=self._by, now=now
                )
                for name, number in there.items()
            }
            entry = audit_chain.entry(
                self._by,
                "adopt",
                now,
                environment=ref.environment,
                detail=ref.name,
                before="no record",
                after=record.config.image,
            )
            self._store.accessories.put(replace(record, secrets=versions), lease, entry)
        yield f"the accessory {ref.id}: it goes on as it is{_with(versions)}"

    def _guess(self, found: FoundAccessory, config: Config) -> AccessoryMade | None:
        """For one of an earlier version: what pipelines.yaml says now. The number 0 stands for the next one."""
        now = config.accessories.get(found.ref.name)
        if now is None:
            return None
        engine, names = self._engines.of(found.ref.engine).accessories, list(now.secrets)
        count = len(names) if len(names) <= NAMES_TRIED else 0
        for numbers in product(range(1, NUMBERS_TRIED + 1), repeat=count):
            versions = dict(zip(names, numbers, strict=False))
            if engine.accessory_hash(AccessorySpec(found.ref, now, secrets=versions)) == found.spec:
                return AccessoryMade(now, versions)
        return AccessoryMade(now, dict.fromkeys(names, 0))


def _with(versions: dict[str, int]) -> str:
    return f", and its {', '.join(versions)} was read from its container" if versions else ""
