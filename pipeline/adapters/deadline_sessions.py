"""Connections of ``requests`` on sockets that keep to the deadline of ``lib.sockets.within``."""

from __future__ import annotations

from typing import Any

from requests.adapters import HTTPAdapter

from pipeline.adapters.deadline_connections import keep_pools_to_deadline


class DeadlineAdapter(HTTPAdapter):
    """HTTP and HTTPS over TCP, also through a proxy."""

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        super().init_poolmanager(*arguments, **options)
        keep_pools_to_deadline(self.poolmanager)

    def proxy_manager_for(self, *arguments: Any, **options: Any) -> Any:
        manager = super().proxy_manager_for(*arguments, **options)
        keep_pools_to_deadline(manager)
        return manager
