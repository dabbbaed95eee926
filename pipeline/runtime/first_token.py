"""The first maintainer's token, in the file where the command line finds it."""

from __future__ import annotations

import os
import time
from pathlib import Path

from pipeline.config.settings import Settings
from pipeline.store import Store


def first_token(settings: Settings, store: Store) -> Path:
    """The file with the first maintainer's token, where the command line finds it. Idempotent."""
    file = settings.data / "token"
    found = store.tokens.find(file.read_text().strip()) if file.exists() else None
    if found and not found.expired(time.time()):
        return file
    text = store.tokens.create("first", "maintainer", replace=True)
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as opened:
        opened.write(text + "\n")
    return file
