"""What all routes share; ``create_app`` makes it once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from threading import BoundedSemaphore

from pipeline.config.settings import Secret, Settings
from webhooks.ports import ServicePort
from webhooks.security.failures import Failures

MAX_SCRAPES = 4  # of /metrics at once, so that a store that answers slowly does not occupy the threads


@dataclass(frozen=True)
class WebContext:
    """``ensure_repository(name)`` creates that bare repository unless it exists, and returns its path."""

    service: ServicePort
    settings: Settings
    ensure_repository: Callable[[str], Path]
    internal: Secret  # authenticates our own git hook; new in each process
    hooks: Path  # the folder with our git hook; no other hook runs
    failures: Failures = field(default_factory=Failures)
    scrapes: BoundedSemaphore = field(default_factory=lambda: BoundedSemaphore(MAX_SCRAPES))
