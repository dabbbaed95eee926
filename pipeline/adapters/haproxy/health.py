"""HAProxy's checks of the servers: what they ask, and from ``show stat`` what they found. Pure.

Each backend has its own request, that of the release in its slot. It is the value of ``health.map``, so that it changes
without a reload. A backend without one is asked whether it answers at all: its servers are those of a proxy that an
earlier version started, until reconciliation has told it more.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote

from pipeline.config.checks.health import ANSWER

_ANY = "HEAD%20/%20HTTP/1.0%0D%0A%0D%0A"

# The answer to a GET has to be 2xx or 3xx, that to a HEAD may have any status. HAProxy has no condition for checks: the
# text that the answer must have in it is made from the request's first letter and the status' first digit.
CHECKS = rf"""
    option tcp-check
    tcp-check set-var(check.request) be_name,map(/proxy/health.map,{_ANY})
    # The checks end with FIN, not RST: applications do not log those.
    tcp-check connect linger
    tcp-check send-lf "%[var(check.request),url_dec]"
    tcp-check expect min-recv 12 on-error "got no HTTP answer" rstring "^HTTP/1\.[01] "
    tcp-check set-var(check.status) res.payload(9,1)
    tcp-check set-var(check.both) var(check.request),bytes(0,1),concat(,check.status)
    tcp-check set-var(check.wanted) 'var(check.both),regsub("^G[^23]$","no such answer"),regsub("^..$",HTTP)'
    tcp-check expect min-recv 12 on-error "answered %[res.payload(9,3)]" string-lf "%[var(check.wanted)]"
    # Three failed checks in a row take a replica out, two good ones put it back. A request that finds no
    # connection makes them fast.
    default-server check inter 2s fastinter 250ms downinter 500ms fall 3 rise 2
    default-server observe layer4 error-limit 1 on-error fastinter
    timeout check {ANSWER}s
""".strip()

_NUMBERED = re.compile(r"s([0-9]+)")
_REFUSED = "Connection refused"  # as the kernel words it, and HAProxy after it


def request(path: str, headers: Mapping[str, str]) -> str:
    """A GET as it is sent."""
    own = {**headers, "Connection": "close"}
    return "".join(
        [f"GET {path} HTTP/1.1\r\n", *(f"{name}: {value}\r\n" for name, value in own.items()), "\r\n"]
    )


def map_value(text: str) -> str:
    """A request as a value in a map: without a space or a line's end."""
    return quote(text, safe="")


def map_value_of(answer: str) -> str | None:
    """The value in HAProxy's answer to ``get map``; "" if the key is not there, None if there is no such map."""
    if answer.startswith("Unknown map"):
        return None
    found = re.search(r'value="([^"]*)"', answer)
    return found[1] if found else ""


@dataclass(frozen=True)
class ServerHealth:
    """``seconds``: for how long it has been so; ``said``: why it is unhealthy, for people."""

    healthy: bool
    seconds: float
    said: str


def servers_health(stat: str, backend: str, asked: str) -> dict[int, ServerHealth]:
    """Those of a backend's servers that are not in maintenance, by number. ``stat``: HAProxy's answer to
    ``show stat BACKEND 4 -1``; ``asked``: "GET /healthz"."""
    found = {}
    for row in csv.DictReader(stat.lstrip("# ").splitlines()):
        number = _NUMBERED.fullmatch(row.get("svname") or "")
        if row.get("pxname") == backend and number and not row["status"].startswith("MAINT"):
            found[int(number[1])] = _health(row, asked)
    return found


def _health(row: dict[str, str], asked: str) -> ServerHealth:
    healthy = not row["status"].startswith("DOWN")  # "UP 1/2" fails, and still gets requests
    return ServerHealth(healthy, float(row["lastchg"] or 0), "" if healthy else _said(row, asked))


def _said(row: dict[str, str], asked: str) -> str:
    """Why a server is down. While the next check is under way, there is a star in front of the status, and no text."""
    status, said = row["check_status"].removeprefix("* "), row["last_chk"].strip()
    if status == "L4CON":
        return f"it cannot be reached: {said}" if said and _REFUSED not in said else "it refuses connections"
    if status == "L4TOUT":
        return "it accepts no connections"
    if status == "L7TOUT":
        return f"{asked} got no answer within {ANSWER} s"
    return f"{asked} {said or 'did not get the answer of a healthy application'}"
