"""The `binds` key: folders of the machine that the service's setting PUSHLIVE_BINDS allows containers to have."""

from __future__ import annotations

import re
from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Annotated

from pydantic import AfterValidator, StringConstraints

from pipeline.config.fields import Words

READ_ONLY = ":ro"
_MOST = 1024  # characters
_FOLDER = re.compile(r"(/[^/\x00-\x1f\x7f:\\\"]+)+")


def folder_of(text: str) -> str:
    """The folder in ``/srv/photos`` or ``/srv/photos:ro``."""
    return text.removesuffix(READ_ONLY)


def _bind(text: str) -> str:
    folder = folder_of(text)
    if not _FOLDER.fullmatch(folder) or {".", ".."} & set(folder.split("/")):
        raise ValueError(
            f"{text[:80]!r} is not a folder of the machine; write an absolute path without `..` and without `/` at its "
            "end, such as /srv/photos, or /srv/photos:ro to let it be read alone"
        )
    return text


BindSource = Annotated[
    str,
    StringConstraints(max_length=_MOST),
    AfterValidator(_bind),
    Words("a folder of the machine such as /srv/photos, or /srv/photos:ro"),
]


def refused(binds: Iterable[str], allowed: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """(folder, why) of those that containers are not given. ``allowed``: PUSHLIVE_BINDS. A ``*`` there stands for a
    part of a path between two slashes.

    A folder inside of another one that a container may have is refused: what runs there could put a symbolic link in
    its place, which Docker would follow out of everything that is allowed."""
    found = []
    for folder in map(folder_of, binds):
        above = [up for up in _above(folder) if _is_allowed(up, allowed)]
        if not _is_allowed(folder, allowed):
            found.append((folder, "PUSHLIVE_BINDS does not allow it"))
        elif above:
            why = f"it is inside of {above[-1]}, which PUSHLIVE_BINDS allows as well, so a link there could lead out"
            found.append((folder, why))
    return tuple(found)


def _is_allowed(folder: str, allowed: Iterable[str]) -> bool:
    parts = folder.split("/")
    patterns = (one.rstrip("/").split("/") for one in allowed)
    return any(len(one) == len(parts) and all(map(fnmatchcase, parts, one)) for one in patterns)


def _above(folder: str) -> list[str]:
    """The folders that it is in, the outermost first, without ``/``."""
    parts = folder.split("/")
    return ["/".join(parts[:end]) for end in range(2, len(parts))]
