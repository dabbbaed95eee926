"""Faults on the strict fakes use the story's world and its store, which is always a real one."""

from __future__ import annotations

import pytest

from tests.story.conftest import connections, make_world, nothing_aside, valkey, world

__all__ = ["connections", "make_world", "nothing_aside", "valkey", "world"]


@pytest.fixture
def store_url(valkey: str) -> str:
    return valkey
