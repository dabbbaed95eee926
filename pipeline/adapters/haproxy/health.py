"""What HAProxy's checks found of each server, from ``show stat``. Pure."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass

_NUMBERED = re.compile(r"s([0-9]+)")
_REFUSED = "Connection refused"  # as the kernel words it, and HAProxy after it


@dataclass(frozen=True)
class ServerHealth:
    """``seconds``: for how long it has been so; ``said``: what its last check found, for people."""

    healthy: bool
    seconds: float
    said: str


def servers_health(stat: str, backend: str) -> dict[int, ServerHealth]:
    """Those of a backend's servers that are not in maintenance, by number. ``stat``: HAProxy's answer to
    ``show stat BACKEND 4 -1``."""
    found = {}
    for row in csv.DictReader(stat.lstrip("# ").splitlines()):
        number = _NUMBERED.fullmatch(row.get("svname") or "")
        if row.get("pxname") == backend and number and not row["status"].startswith("MAINT"):
            found[int(number[1])] = _health(row)
    return found


def _health(row: dict[str, str]) -> ServerHealth:
    healthy = not row["status"].startswith("DOWN")  # "UP 1/2" fails, and still gets requests
    return ServerHealth(healthy, float(row["lastchg"] or 0), "" if healthy else _said(row))


def _said(row: dict[str, str]) -> str:
    """Why a server is down. A star is in front of the status while the next check is under way."""
    status, said = row["check_status"].removeprefix("* "), row["last_chk"].strip()
    if status == "L4CON":
        return "it refuses connections" if _REFUSED in said else f"it cannot be reached: {said}"
    if status == "L4TOUT":
        return "it accepts no connection in time"
    if status == "L7TOUT":
        return "it accepts connections, but does not answer in time"
    return said or row["check_desc"].lower() or "its check failed"
