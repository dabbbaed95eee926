"""gunicorn, configured for few users, many open streams and slow clients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Flask
from gunicorn.app.base import BaseApplication  # type: ignore[import-untyped]

THREADS = 96  # at most 2 × 24 for pushes and 24 for streams; the rest serves everything else
OPTIONS: dict[str, Any] = {
    "worker_class": "webhooks.security.slow_clients.SlowClientWorker",
    "workers": 1,
    "threads": THREADS,
    "worker_connections": 1000,
    "backlog": 1024,  # a burst of pushes waits here
    "timeout": 120,  # seconds without a sign of life, until the worker process is restarted
    "graceful_timeout": 1,  # open streams are closed; their runs continue
    "keepalive": 15,
    "limit_request_line": 4094,
    "limit_request_fields": 64,
    "limit_request_field_size": 8190,
    "control_socket_disable": True,
    "accesslog": None,
    "loglevel": "warning",
    "proc_name": "pushlive-web",
}


class Server(BaseApplication):  # type: ignore[misc]
    """gunicorn with our options. It calls ``make_app`` in its worker process, after the fork."""

    def __init__(self, listen: str, make_app: Callable[[], Flask]) -> None:
        self._listen = listen
        self._make_app = make_app
        super().__init__()

    def load_config(self) -> None:
        for name, value in {**OPTIONS, "bind": self._listen}.items():
            self.cfg.set(name, value)

    def load(self) -> Flask:
        return self._make_app()
