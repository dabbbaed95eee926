"""The HTTP server: one thread that speaks to all clients, and pools of threads that answer complete requests."""

from __future__ import annotations

from webhooks.server.limits import Limits
from webhooks.server.listener import Server

__all__ = ["Limits", "Server"]
