"""Strict fakes of the ports, for tests without Docker. They refuse calls in an illegal order, and can be told to fail,
hang or die at one. ``tests/contract`` holds them to what the real adapters do."""

from pipeline.adapters.fake.builder import FakeBuilder
from pipeline.adapters.fake.clock import FakeClock
from pipeline.adapters.fake.engine import FakeEngine, OneEngine
from pipeline.adapters.fake.post import FakePost
from pipeline.adapters.fake.probe import FakeProbe
from pipeline.adapters.fake.queue import FakeQueue
from pipeline.adapters.fake.repositories import FakeRepositories
from pipeline.adapters.fake.script import IllegalOrder, Killed
from pipeline.adapters.fake.source import FakeSource

__all__ = [
    "FakeBuilder",
    "FakeClock",
    "FakeEngine",
    "FakePost",
    "FakeProbe",
    "FakeQueue",
    "FakeRepositories",
    "FakeSource",
    "IllegalOrder",
    "Killed",
    "OneEngine",
]
