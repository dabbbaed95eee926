"""Accessories: whether each is ready, and made as the store says."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.deploy.accessories import AccessoryCare, stopped
from pipeline.deploy.services import Services
from pipeline.domain.accessories import AccessoryRecord
from pipeline.errors import PushliveError, StoreUnavailable
from pipeline.maintenance.doctor.check import Check, check
from pipeline.ports.adapters import Adapters
from pipeline.store import Store

_APART = "It was made from another definition than the store has; it goes on as it is."


def examine(services: Services, adapters: Adapters) -> Iterator[Check]:
    """A line for each."""
    care = AccessoryCare(services, adapters.engines, adapters.clock)
    for accessory, error in services.store.accessories.damaged().items():
        yield check(f"accessory {accessory}", False, error.message, error.advice)
    for record in services.store.accessories.all():
        try:
            yield _one(record, care, adapters, services.store)
        except StoreUnavailable:
            raise
        except PushliveError as error:
            yield check(_named(record), False, error.message, error.advice)


def _one(record: AccessoryRecord, care: AccessoryCare, adapters: Adapters, store: Store) -> Check:
    name = _named(record)
    if not care.users(record):
        text = f"nothing uses it; `pushlive accessory rm {record.name} {record.environment}` removes it"
        return check(name, True, text)
    if record.stopped:
        error = stopped(store, record)
        what = error.message.removeprefix(f"the accessory {record.id} ").rstrip(".")
        return check(name, False, f"{what}; deploys that need it fail", error.advice)
    engine, spec = adapters.engines.of(record.engine).accessories, care.spec(record)
    if why := engine.accessory_unready(spec):
        advice = (
            f"`pushlive accessory logs {record.name} {record.environment}` shows its output; "
            f"`pushlive accessory restart {record.name} {record.environment}` restarts it."
        )
        return check(name, False, f"{why}.", advice)
    if engine.accessory_state(spec.ref).spec != engine.accessory_hash(spec):
        return check(
            name,
            False,
            _APART,
            f"`pushlive accessory apply {record.name} {record.environment}` makes it as pipelines.yaml says.",
        )
    return check(name, True, f"ready, from {record.config.image}")


def _named(record: AccessoryRecord) -> str:
    return f"accessory {record.id}"
