"""How much a folder takes."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

BLOCK = 512  # bytes, in which ``st_blocks`` counts


def size_of(folder: Path) -> int:
    """Bytes that everything in it takes of the disk. Links are not followed; what vanishes meanwhile does not count,
    nor what may not be read."""
    found, folders = 0, [str(folder)]
    while folders:
        with suppress(OSError), os.scandir(folders.pop()) as entries:
            for one in entries:
                with suppress(OSError):
                    found += one.stat(follow_symlinks=False).st_blocks * BLOCK
                    if one.is_dir(follow_symlinks=False):
                        folders.append(one.path)
    return found
