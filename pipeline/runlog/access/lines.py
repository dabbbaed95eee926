"""A line of the proxy's about one request becomes a line of the access log. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pipeline.lib.text import one_line, without_password

LARGEST = 1e11  # of any number; more is nothing that a proxy says
_TEXTS = ("method", "host", "path", "client", "agent")  # what a client has written


@dataclass(frozen=True)
class Seen:
    """One request. ``index``: of its environment; ``slot``: the one that answered, "" if none did; ``fields``: the rest
    as the proxy says it."""

    index: int
    slot: str
    fields: dict[str, Any]


def seen(datagram: bytes) -> Seen | None:
    """None for anything that is not a whole line of the proxy's about a request to an environment. What is not UTF-8
    in it is shown as such."""
    try:
        fields = json.loads(datagram.decode("utf-8", "replace"))
        index = str(fields.pop("env"))
        slot = str(fields.pop("slot")).rpartition("-")[2]
        if index[:1] != "e" or not index[1:].isdecimal():
            return None
        for name in ("at", "status", "bytes", "ms", "first"):
            if not isinstance(fields[name], (int, float)) or not -1 <= fields[name] < LARGEST:
                return None
        fields.update({name: _text(fields[name]) for name in _TEXTS})
        fields["server"] = _text(fields["server"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return Seen(int(index[1:]), slot if slot in ("blue", "green") else "", fields)


def _text(value: Any) -> str:
    """On one line and without what a terminal would obey; "" for what the proxy does not know."""
    text = one_line(str(value))
    return "" if text == "-" else text


def line(found: Seen, release: int, mask: Callable[[str], str]) -> bytes:
    """``release``: the one in that slot, 0 if none answered; ``mask``: hides secrets in what a client has written."""
    told = found.fields
    texts = {name: mask(without_password(told[name])) for name in _TEXTS}
    status = int(told["status"])
    record = {
        "time": time(float(told["at"])),
        "client": texts["client"],
        "method": texts["method"],
        "host": texts["host"],
        "path": texts["path"],
        "status": status if status > 0 else None,  # the client went away before an answer
        "bytes": int(told["bytes"]),
        "ms": max(int(told["ms"]), 0),
        "first_byte_ms": _first(int(told["first"])),
        "release": f"r{release}" if release else None,
        "slot": found.slot or None,
        "server": told["server"] or None,
        "agent": texts["agent"],
    }
    return json.dumps(record, ensure_ascii=False).encode("utf-8", "replace") + b"\n"


def _first(value: int) -> int | None:
    return value if value >= 0 else None


def time(at: float) -> str:
    """In UTC, with milliseconds. ``at``: seconds since the epoch."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{int(at * 1000) % 1000:03}Z"


def for_people(text: str) -> str:
    """A line of the access log on one line of a terminal; as it is if it is not one."""
    try:
        one = json.loads(text)
        took = f"{one['ms']} ms" + (f" ({one['first_byte_ms']})" if one["first_byte_ms"] is not None else "")
        return (
            f"{one['time']} {one['client']} {one['status'] or '-'} {one['method']} {one['host']}{one['path']} "
            f"{one['bytes']} B {took} {one['release'] or '-'}"
        )
    except (ValueError, KeyError, TypeError):
        return text
