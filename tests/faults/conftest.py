"""Faults on the strict fakes use the story's world and its store."""

from __future__ import annotations

from tests.story.conftest import connections, make_world, valkey, world

__all__ = ["connections", "make_world", "valkey", "world"]
