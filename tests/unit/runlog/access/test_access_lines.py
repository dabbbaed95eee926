"""A line of the proxy's becomes a line of the access log, whatever a client has sent."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pipeline.lib.secret import Secret
from pipeline.runlog.access.lines import for_people, line, seen
from pipeline.secrets.redaction import Mask

SAID: dict[str, Any] = {
    "at": 1795930780.086, "env": "e3", "slot": "e3-green", "server": "10.213.0.66:8080", "client": "2001:db8::1",
    "method": "GET", "host": "shop.example", "path": "/a?b=c", "status": 200, "bytes": 73, "ms": 12, "first": 9,
    "agent": "curl",
}  # fmt: skip


def record(release: int = 4, mask: Mask | None = None, **other: Any) -> dict[str, Any]:
    found = seen(json.dumps({**SAID, **other}).encode())
    assert found is not None
    text = line(found, release, (mask or Mask()).text)
    assert text.count(b"\n") == 1
    answer: dict[str, Any] = json.loads(text)
    return answer


def test_it_has_what_happened_to_the_request() -> None:
    assert record() == {
        "time": "2026-11-29T05:39:40.086Z", "client": "2001:db8::1", "method": "GET", "host": "shop.example",
        "path": "/a?b=c", "status": 200, "bytes": 73, "ms": 12, "first_byte_ms": 9, "release": "r4",
        "slot": "green", "server": "10.213.0.66:8080", "agent": "curl",
    }  # fmt: skip
    found = seen(json.dumps(SAID).encode())
    assert found is not None
    assert (found.index, found.slot) == (3, "green")


def test_what_no_release_answered_says_so() -> None:
    found = record(0, slot="none", server="-", status=-1, first=-1, ms=-1, agent="-")
    assert [found[key] for key in ("release", "slot", "server", "status", "first_byte_ms")] == [None] * 5
    assert (found["ms"], found["agent"]) == (0, "")


def test_secrets_and_passwords_are_masked() -> None:
    mask = Mask([Secret("hunter2-hunter2")])
    found = record(
        mask=mask, path="/x?k=hunter2-hunter2&u=https://ann:pass@example.com/", agent="hunter2-hunter2"
    )
    assert found["path"] == "/x?k=•••&u=https://ann:•••@example.com/"
    assert found["agent"] == "•••"


@pytest.mark.parametrize("sent", ["/a\r\nb", "/\x1b[31mred", "/\u202eevil", '/"}{"', "/\ud800", "/\x00"])
def test_a_hostile_path_stays_on_one_line_and_says_nothing_to_a_terminal(sent: str) -> None:
    found = record(path=sent)
    assert not set("\r\n\x1b\u202e\x00") & set(found["path"])
    assert "\n" not in for_people(json.dumps(found))


@pytest.mark.parametrize(
    "datagram",
    [
        b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 100_000, json.dumps(SAID).encode()[:-9],
        json.dumps({**SAID, "env": "-"}).encode(), json.dumps({**SAID, "at": "soon"}).encode(),
        json.dumps({**SAID, "at": float("nan")}).encode(), json.dumps({**SAID, "at": 1e300}).encode(),
        json.dumps({**SAID, "env": "e" + "9" * 3, "status": None}).encode(),
        json.dumps({key: value for key, value in SAID.items() if key != "agent"}).encode(),
    ],
)  # fmt: skip
def test_anything_else_is_no_line(datagram: bytes) -> None:
    assert seen(datagram) is None


def test_people_get_a_short_line() -> None:
    assert for_people(json.dumps(record())) == (
        "2026-11-29T05:39:40.086Z 2001:db8::1 200 GET shop.example/a?b=c 73 B 12 ms (9) r4"
    )
    assert for_people(json.dumps(record(0, status=-1, first=-1))).endswith(
        " - GET shop.example/a?b=c 73 B 12 ms -"
    )
    assert for_people("! broken") == "! broken"
