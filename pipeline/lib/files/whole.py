"""A file is replaced as a whole or not at all, whatever dies meanwhile, and is on the disk before it has its name."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def replacing(path: Path, *, mode: int = 0o600, draft: str = "new") -> Iterator[BinaryIO]:
    """What is written inside takes the place of the file at the end; if something is raised, the file stays as it was.
    ``mode``: of a new file, less the umask; ``draft``: ends the name of the file that is written first, and is
    different for each of those who may write at the same time. The name itself is on the disk after
    ``sync_folder``. Raises OSError."""
    fresh = path.with_name(f".{path.name}.{draft}")
    try:
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb") as opened:
            yield opened
            opened.flush()
            os.fsync(opened.fileno())
        fresh.rename(path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
