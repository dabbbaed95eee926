"""The files of a bundle: their names, and the list of their hashes. Imports nothing heavy: ``verify`` uses it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath
from typing import Any

SUMS = "SHA256SUMS"  # as `sha256sum` writes and checks it
STATEMENT = f"{SUMS}.intoto.jsonl"  # signs the list, and with it every file
PROVENANCE = "provenance.intoto.jsonl"  # of the image; in the list as any other file
INDEX, BUNDLE, SCHEMA = "index.html", "bundle.json", "schema.json"
UNLISTED = frozenset({SUMS, STATEMENT})

FILES_AT_MOST = 10_000
LIST_LIMIT = 4 << 20  # bytes of SHA256SUMS
JSON_LIMIT = 16 << 20  # bytes of a statement or of bundle.json, which are read whole
_LINE = re.compile(r"([0-9a-f]{64})  (\S+)")
_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,120}")


def text_of(value: Any) -> str:
    """JSON for people and programs, the same for the same value."""
    return json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def is_safe(name: str) -> bool:
    """Whether a bundle may have a file of that name: ``logs/run-42.txt``, and nothing that leads out of it."""
    parts = PurePosixPath(name).parts
    return 0 < len(parts) <= 3 and name == "/".join(parts) and all(map(_PART.fullmatch, parts))


def sums_of(hashes: Mapping[str, str]) -> str:
    return "".join(f"{digest}  {name}\n" for name, digest in sorted(hashes.items()))


def read_sums(text: str) -> dict[str, str]:
    """Hashes by name. Raises ValueError for anything that ``sums_of`` does not write."""
    found = dict(_entries(text.splitlines()))
    if sums_of(found) != text or len(found) > FILES_AT_MOST:
        raise ValueError(f"{SUMS} is not sorted, or names a file twice")
    return found


def _entries(lines: Iterable[str]) -> Iterable[tuple[str, str]]:
    for number, line in enumerate(lines, 1):
        match = _LINE.fullmatch(line)
        if not match or not is_safe(match[2]) or match[2] in UNLISTED:
            raise ValueError(f"line {number} of {SUMS} is not a hash and a name of a bundle")
        yield match[2], match[1]
