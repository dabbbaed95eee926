"""How old backups are, for `/metrics`."""

from __future__ import annotations

from contextlib import suppress

from pipeline.deploy.data.backup_places import configured, fact_of
from pipeline.domain.measuring.measurements import BackupMeasurements
from pipeline.domain.volumes import backup_state
from pipeline.errors import ConfigError
from pipeline.store import Store
from pipeline.store.configurations import Configurations


def measured(
    store: Store, configurations: Configurations, now: float
) -> dict[tuple[str, str, str], BackupMeasurements]:
    """By owner, environment and name, of everything with a `backup` key; nothing while the configuration cannot be
    read. One round trip."""
    with suppress(ConfigError):
        said = configured(configurations.current()[1])
        texts = store.facts.several([fact_of(ref) for ref in said])
        states = zip(said, map(backup_state, texts), strict=True)
        return {
            (ref.owner, ref.environment, ref.name): BackupMeasurements(
                state.good.at if state.good else None, state.is_late(said[ref], now)
            )
            for ref, state in states
        }
    return {}
