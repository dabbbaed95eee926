"""Numbers that documents say and code decides."""

from __future__ import annotations

import re

import pytest

from tests.support.paths import ROOT
from webhooks.context import MAX_SCRAPES
from webhooks.security import intake
from webhooks.security.intake import POOLS
from webhooks.server import Limits

LIMITS = Limits()
STREAMS, PUSHES, FETCHES = (POOLS[name] for name in (intake.STREAMS, intake.PUSHES, intake.FETCHES))
SAID = [
    ("security.md", f"Before authentication: {LIMITS.connections} connections"),
    ("security.md", f"{LIMITS.buffered >> 20} MB of buffered bodies"),
    ("security.md", f"at most {STREAMS.by_token} of {STREAMS.threads} followed runs"),
    ("security.md", f"{PUSHES.by_token} of {PUSHES.threads} pushes"),
    ("security.md", f"{FETCHES.by_token} of {FETCHES.threads} fetches"),
    ("security.md", f"{MAX_SCRAPES} scrapes of `/metrics`"),
    (
        "webhooks.md",
        f"its head within {LIMITS.head_seconds:.0f} s, its body within {LIMITS.body_seconds:.0f} s",
    ),
    (
        "webhooks.md",
        f"waiting for {LIMITS.grace:.0f} s in total, and one second more for each {LIMITS.rate} bytes",
    ),
    ("webhooks.md", f"acknowledges nothing for {LIMITS.vanished_seconds:.0f} s is disconnected"),
]


@pytest.mark.parametrize(("name", "text"), SAID)
def test_the_limits_on_clients_are_those_of_the_code(name: str, text: str) -> None:
    assert text in " ".join((ROOT / "docs" / name).read_text().split())


def test_nothing_but_the_code_says_how_many_threads_there_are() -> None:
    """A decision says how it was when it was made."""
    files = [ROOT / "README.md", *ROOT.glob("docs/*.md"), *ROOT.glob("webhooks/**/*.py")]
    found = [file for file in files if re.search(r"\b[0-9]+ (?:of the server's )?threads", file.read_text())]
    assert found == []
