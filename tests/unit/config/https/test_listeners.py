from __future__ import annotations

import re

import pytest

from pipeline.config.https.listeners import Listener, listeners, port_of


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", []),
        ("127.0.0.1:7080", [("127.0.0.1", 7080)]),
        ("*:80", [("*", 80)]),
        ("[::]:80", [("::", 80)]),
        ("0.0.0.0:80, [2001:DB8::1]:80", [("0.0.0.0", 80), ("2001:db8::1", 80)]),  # noqa: S104
        ("localhost:80", [("localhost", 80)]),
    ],
)
def test_addresses(text: str, found: list[tuple[str, int]]) -> None:
    assert [(one.host, one.port) for one in listeners(text)] == found
    assert [str(one) for one in listeners(",".join(map(str, listeners(text))))] == list(
        map(str, listeners(text))
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("80", "write ADDRESS:PORT"),
        (":80", "write ADDRESS:PORT"),
        ("127.0.0.1:0", "write ADDRESS:PORT"),
        ("127.0.0.1:65536", "write ADDRESS:PORT"),
        ("127.0.0.1:80,", "write ADDRESS:PORT"),
        ("::1:80", "written in brackets, [::1]:80"),
        ("[127.0.0.1]:80", "not a valid address"),
        ("[fe80::1%eth0]:80", "a zone is not possible"),
        ("300.0.0.1:80", "not a valid address"),
        ("a b:80", "not a valid address"),
        ("x\nbind *:99:80", "not a valid address"),
        ("[::1:80", "not a valid address"),
        ("*:80,0.0.0.0:80", "take the same connections"),
        ("[::1]:80,[::1]:80", "take the same connections"),
        ("0.0.0.0:80,127.0.0.1:80", "take the same connections"),
        (",".join(f"127.0.0.1:{port}" for port in range(80, 97)), "16 are the most"),
    ],
)
def test_wrong_ones_are_named(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        listeners(text)


def test_families_are_apart() -> None:
    assert len(listeners("0.0.0.0:80,[::1]:80,127.0.0.1:81")) == 3
    assert port_of("0.0.0.0:80,[::1]:81") == "80"
    assert [one.nearby for one in listeners("*:80,[::1]:81")] == ["127.0.0.1", "::1"]
    assert not Listener("localhost", 80).is_ipv6
