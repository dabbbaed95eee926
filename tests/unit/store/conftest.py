"""The store's own tests run on a real Valkey: one server for the session, a prefix of its own for every test."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest

from pipeline.store import Store
from tests.support.valkey import running


@pytest.fixture(scope="session")
def valkey() -> Iterator[str]:
    with running() as url:
        yield url


@pytest.fixture
def store(valkey: str) -> Store:
    return Store(valkey, secrets.token_hex(4))
