"""A real store for tests."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.runtime.embedded_store import EmbeddedStore, url

MEMORY = "/dev/shm"


@contextmanager
def running() -> Iterator[str]:
    """The URL of an embedded Valkey with its files in memory, if the machine allows that."""
    folder = MEMORY if os.access(MEMORY, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="pl-", dir=folder) as name:
        embedded = EmbeddedStore(Path(name))
        embedded.start()
        try:
            yield url(Path(name))
        finally:
            embedded.stop()
