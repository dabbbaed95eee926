"""What the columns of ``show stat`` mean for a replica."""

from __future__ import annotations

import pytest

from pipeline.adapters.haproxy.health import ServerHealth, servers_health

COLUMNS = ("pxname", "svname", "status", "lastchg", "check_status", "last_chk", "check_desc")


def stat(*rows: tuple[str, ...]) -> str:
    """HAProxy's answer, with these columns of the hundred that it has."""
    return "\n".join(["# " + ",".join(COLUMNS), *(",".join(row) for row in rows), "", ""])


def test_servers_are_told_by_their_number() -> None:
    text = stat(
        ("e3-blue", "s1", "UP", "20", "L4OK", "", "Layer4 check passed"),
        ("e3-blue", "s2", "DOWN", "7", "* L7TOUT", "", "Layer7 timeout"),
        ("e3-blue", "s3", "MAINT", "90", "", "", ""),
        ("e3-blue", "last", "no check", "90", "", "", ""),
    )
    assert servers_health(text, "e3-blue", "GET /healthz") == {
        1: ServerHealth(True, 20.0, ""),
        2: ServerHealth(False, 7.0, "GET /healthz got no answer within 5 s"),
    }
    assert servers_health(text, "e3-green", "GET /") == {}


@pytest.mark.parametrize(
    ("status", "healthy"), [("UP", True), ("UP 1/2", True), ("DOWN", False), ("DOWN 1/2", False)]
)
def test_a_server_is_healthy_as_long_as_it_gets_requests(status: str, healthy: bool) -> None:
    row = ("e0-blue", "s1", status, "1", "L7RSP", "answered 503", "Layer7 invalid response")
    assert servers_health(stat(row), "e0-blue", "GET /healthz")[1].healthy is healthy


@pytest.mark.parametrize(
    ("status", "last", "said"),
    [
        ("L4CON", "Connection refused at step 1 of tcp-check (connect)", "it refuses connections"),
        ("L4CON", "No route to host", "it cannot be reached: No route to host"),
        ("L4TOUT", "", "it accepts no connections"),
        ("L7RSP", "answered 503", "GET /healthz answered 503"),
        ("* L7RSP", "", "GET /healthz did not get the answer of a healthy application"),
    ],
)
def test_what_a_check_found_is_said(status: str, last: str, said: str) -> None:
    row = ("e0-blue", "s1", "DOWN", "1", status, last, "Layer7 invalid response")
    assert servers_health(stat(row), "e0-blue", "GET /healthz")[1].said == said
