"""Fixtures that several tests on the cluster share."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest

from tests.support import clusterbench
from tests.support.clusterbench import ClusterBench
from tests.support.waiting import until


@pytest.fixture
def own(namespace: str, instance: str, pushed_app: str) -> Iterator[ClusterBench]:
    """An environment in a namespace of its own, for rules that would disturb other tests."""
    name = f"{instance}-{secrets.token_hex(2)}"
    one = clusterbench.make(instance, name, pushed_app)
    clusterbench.make_namespace(one.api, name)
    until(lambda: clusterbench.kubectl(name, "get", "serviceaccounts", "-o", "name"))
    yield one
    clusterbench.end_namespace(one.api, name)
