"""The maps of notices and redirects."""

from __future__ import annotations

import re

import pytest

from pipeline.adapters.haproxy.changes import added, noticed, switched, with_slot
from pipeline.adapters.haproxy.config import State, maps
from pipeline.adapters.haproxy.rules import registry
from pipeline.adapters.haproxy.rules.maintenance import MAP, entries
from pipeline.config.http.keys import Http
from pipeline.config.settings import Settings
from pipeline.domain.visitors.maintenance import Notice


@pytest.mark.parametrize("message", ["\"'\\ ;<<%[env(PATH)]#$`\t", "é 👩‍🚀", "a.b", "x" * 500])
def test_a_message_is_letters_and_digits_in_the_map(message: str) -> None:
    found = entries("e3", Notice(message, 1764489600.4))
    assert [*found] == ["e3", "e3.text"]
    assert all(re.fullmatch(r"1764489600\.[A-Za-z0-9%]+", value) for value in found.values())


def test_a_notice_stays_with_the_environment_until_that_is_removed() -> None:
    settings, state = Settings(), added(State("t"), 3, "hello-live", ())
    state = noticed(state, 3, Notice("later"))
    state = state.with_routes(3, with_slot(state.environments[3], "blue", (("10.0.0.2", 80),), 60.0))
    for changed in (state, switched(state, 3, "blue"), switched(state, 3, None)):
        assert maps(changed, settings)[MAP] == {"e3": "0.later", "e3.text": "0.later"}
    assert maps(noticed(state, 3, None), settings)[MAP] == {}
    assert maps(state.without(3), settings)[MAP] == {}


def test_a_slots_redirects_are_entries_of_two_maps() -> None:
    rules = registry.values(Http(redirects={"/old": "/new", "/blog/*": "https://b.example/*", "/x/*": "/y"}))
    state = added(State("t"), 3, "hello-live", ())
    routes = with_slot(state.environments[3], "blue", (("10.0.0.2", 80),), 60.0, rules=rules)
    found = maps(state.with_routes(3, routes), Settings())
    assert found["redirects.map"] == {"e3-blue/old": "/new"}
    assert found["below.map"] == {"e3-blue/blog/": "3.https://b.example/", "e3-blue/x/": "0./y"}
    assert registry.values(Http()) == {}
