"""What the parts of the web side share, made once by ``create_app``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from threading import BoundedSemaphore

from pipeline.config.settings import Secret, Settings
from webhooks.ports import ServicePort
from webhooks.security.failures import Failures
from webhooks.security.limits import Deadlines

PUSHES_AT_ONCE = 24  # each holds two of the server's threads: its own, and its hook's
STREAMS_AT_ONCE = 24  # runs that are watched; each holds a thread for as long as it likes


@dataclass(frozen=True)
class Site:
    """``ensure_repository`` makes the bare repository of that name if need be, and returns its path."""

    desk: ServicePort
    settings: Settings
    ensure_repository: Callable[[str], Path]
    internal: Secret  # what our own git hook proves itself with; new in each process
    hooks: Path  # the folder with our hooks: git runs no others
    deadlines: Deadlines = field(default_factory=Deadlines)
    failures: Failures = field(default_factory=Failures)
    pushes: BoundedSemaphore = field(default_factory=lambda: BoundedSemaphore(PUSHES_AT_ONCE))
    streams: BoundedSemaphore = field(default_factory=lambda: BoundedSemaphore(STREAMS_AT_ONCE))
