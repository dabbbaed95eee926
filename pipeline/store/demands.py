"""What the store must be like, so that an acknowledged write is never lost. A store of someone's own is not always."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import redis

from pipeline.store.connection import Client, translate

OLDEST = {"redis": (7, 2), "valkey": (8, 0)}
SETTINGS = {"appendonly": "yes", "appendfsync": "always"}
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


def shortcomings(client: Client) -> tuple[str, ...]:
    """Each demand that the store does not meet, in words; () if it meets all. Raises StoreUnavailable."""
    with translate():
        found = tuple(_version(client.info("server")))
        found += tuple(_kind(client.info("cluster")))
        found += tuple(_settings(client))
    return found + tuple(_access(client.connection_pool.connection_kwargs))


def _version(info: Mapping[str, Any]) -> Iterator[str]:
    name = "valkey" if "valkey_version" in info else "redis"
    version = str(info.get(f"{name}_version", ""))
    numbers = re.match(r"(\d+)\.(\d+)", version)
    if numbers and (int(numbers[1]), int(numbers[2])) < OLDEST[name]:
        oldest = ".".join(map(str, OLDEST[name]))
        yield f"it is {name.capitalize()} {version}, and {oldest} is the oldest that works"


def _kind(info: Mapping[str, Any]) -> Iterator[str]:
    if info.get("cluster_enabled"):
        yield "it is a node of a Redis cluster, which cannot change the records of a pipeline in one transaction"


def _settings(client: Client) -> Iterator[str]:
    """Managed stores may not tell them."""
    try:
        given: Mapping[Any, Any] = client.config_get("append*", "maxmemory-policy", "maxmemory")
    except redis.ResponseError:
        if not client.info("persistence").get("aof_enabled"):
            yield "it keeps no append-only file, so what was acknowledged is lost with its process"
        yield "it does not say whether `appendfsync` is `always` (CONFIG GET is refused): see its own configuration"
        return
    for key, wanted in SETTINGS.items():
        if given.get(key) != wanted:
            yield f"`{key}` is `{given.get(key)}`, not `{wanted}`: writes that were acknowledged can be lost"
    policy = given.get("maxmemory-policy", "")
    if given.get("maxmemory", "0") != "0" and policy != "noeviction":
        yield f"`maxmemory-policy` is `{policy}`, not `noeviction`: it drops records when it is full"


def _access(way: Mapping[str, Any]) -> Iterator[str]:
    if "path" not in way and way.get("host") not in _LOOPBACK and not way.get("password"):
        yield "it is reached over the network without a password, so others can change what is live"
