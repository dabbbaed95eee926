"""The store's own tests run on a real Valkey, one server for the session, and on the fake one, with a prefix of its own
for every test."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest

from pipeline.store import Store
from tests.support.fake_store import client as fake_store
from tests.support.valkey import running


@pytest.fixture(scope="session")
def valkey() -> Iterator[str]:
    with running() as url:
        yield url


@pytest.fixture(params=["valkey", "fake"])
def store(request: pytest.FixtureRequest) -> Iterator[Store]:
    fake = f"{fake_store.SCHEME}{secrets.token_hex(4)}"
    url = fake if request.param == "fake" else request.getfixturevalue("valkey")
    with fake_store.in_memory():
        yield Store(url, secrets.token_hex(4))
    fake_store.end(fake)
