"""Every git that Pushlive starts has the same settings."""

from __future__ import annotations

import re

from pipeline.lib.git_settings import ENVIRONMENT, SETTINGS, VISIBLE, in_environment
from tests.support.paths import ROOT

STARTS_GIT = re.compile(r'\[[^\]]*"git"[,\]]')


def test_settings_are_numbered_in_order_and_may_repeat() -> None:
    found = in_environment([("a.b", "1"), ("a.b", "!2")])
    assert found == {
        "GIT_CONFIG_COUNT": "2",
        "GIT_CONFIG_KEY_0": "a.b", "GIT_CONFIG_VALUE_0": "1",
        "GIT_CONFIG_KEY_1": "a.b", "GIT_CONFIG_VALUE_1": "!2",
    }  # fmt: skip
    assert in_environment([]) == {}


def test_all_refs_are_hidden_before_some_are_shown() -> None:
    assert VISIBLE[0] == ("transfer.hideRefs", "refs")
    assert all(value.startswith("!refs/") for _, value in VISIBLE[1:])


def test_whoever_starts_git_gives_it_these_settings() -> None:
    starters = [
        path
        for package in ("pipeline", "webhooks", "workers")
        for path in (ROOT / package).rglob("*.py")
        if STARTS_GIT.search(path.read_text())
    ]
    assert len(starters) >= 2, starters
    for path in starters:
        text = path.read_text()
        if path.name == "http_backend.py":  # is given its environment
            text = path.with_name("server.py").read_text()
        assert "ENVIRONMENT" in text, path
        assert "SETTINGS" in text, path
    assert ENVIRONMENT["GIT_NO_REPLACE_OBJECTS"] == "1"
    assert SETTINGS["core.hooksPath"] == "/dev/null"
