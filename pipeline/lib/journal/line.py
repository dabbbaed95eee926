"""One line of the journal. ``schema.json`` beside this has its fields; ``docs/guides/logs.md`` says what they mean."""

from __future__ import annotations

import json
import re
import time
from typing import Any

from pipeline.lib.secret import HIDDEN
from pipeline.lib.text import one_line, summary, without_password

LIMIT = 4096  # bytes of a line: as much as a pipe takes whole from several writers (PIPE_BUF)
FIRST = ("time", "level", "event", "instance", "version", "process", "pid")
MESSAGE = 1000  # characters; shorter where the line would be too long
TEXT = 200  # characters of every other text
_TOKEN = re.compile(r"\bpl_[A-Za-z0-9_-]{16,}")

Fields = dict[str, Any]


def rfc3339(at: float) -> str:
    """Seconds since the epoch as ``2026-03-01T12:00:00.123Z``."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at)) + f".{int(at * 1000) % 1000:03}Z"


def line(fields: Fields) -> bytes:
    """The fields as one line of ASCII with its end, at most ``LIMIT`` bytes. Empty ones are left out. Whatever a text
    says, it cannot begin another line, steer a terminal, or show a token or the password of a URL."""
    found = {key: _clean(key, value) for key, value in fields.items() if value not in ("", None)}
    ordered = {**{key: found[key] for key in FIRST if key in found}, **found}
    limit = MESSAGE
    while len(text := _dumped(ordered)) > LIMIT:
        limit //= 2
        ordered = {
            key: summary(value, limit) if isinstance(value, str) and key not in FIRST else value
            for key, value in ordered.items()
        }
    return text


def _dumped(fields: Fields) -> bytes:
    return json.dumps(fields, separators=(",", ":")).encode("ascii") + b"\n"


def _clean(key: str, value: Any) -> Any:
    if isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return round(value, 6)
    limit = MESSAGE if key == "message" else TEXT
    text = one_line(str(value)[: 20 * limit])
    return summary(without_password(_TOKEN.sub(HIDDEN, text)), limit)
