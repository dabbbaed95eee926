"""What is made once for a process and passed on: the settings, and everything kept in the store."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.config.settings import Settings
from pipeline.secrets.vault import Vault
from pipeline.store import Store
from pipeline.store.audit_head import AuditHead
from pipeline.store.configurations import Configurations
from pipeline.store.freezes import Freezes


@dataclass(frozen=True)
class Services:
    """Made by ``pipeline.runtime.bootstrap``; none of them needs an adapter."""

    settings: Settings
    store: Store
    configurations: Configurations
    vault: Vault
    audit_head: AuditHead
    freezes: Freezes


def services_on(store: Store, settings: Settings) -> Services:
    """The services of one installation on that store."""
    configurations = Configurations(store, settings.config)
    return Services(
        settings,
        store,
        configurations,
        Vault(store, settings.secrets_key),
        AuditHead(store, settings.data),
        Freezes(store, configurations),
    )
