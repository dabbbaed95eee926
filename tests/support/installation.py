"""Settings of an installation of one's own, beside others on the same machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline.config.settings import Settings
from tests.support.ports import free_ports


def own_settings(data: Path, instance: str, environments: int = 1, **changes: Any) -> Settings:
    """With free ports for so many environments and for the proxy. ``changes``: further keys of ``Settings``."""
    first = free_ports(environments + 2)
    values = {
        "ports": f"{first}-{first + environments - 1}",
        "proxy_http": f"127.0.0.1:{first + environments}",
        "preview_port": first + environments + 1,
        **changes,
    }
    return Settings(data=data, instance=instance, **values)
