"""The store's Lua scripts in Python, each found by its own text: a script that was changed is not found until its twin
is changed as well, and ``tests/contract/test_store_client_contract.py`` runs both."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Any

import redis

from tests.support.fake_store.data import Data

Twin = Callable[[Data, Sequence[str], Sequence[str]], Any]


@lru_cache(maxsize=64)
def twin(script: str) -> Twin:
    """The function that does what the script does. Raises NotImplementedError."""
    digest = hashlib.sha256(script.encode()).hexdigest()[:16]
    if digest not in TWINS:
        raise NotImplementedError(
            f"tests/support/fake_store/scripts.py has no twin of the script {digest}, which begins with "
            f"{script.strip()[:60]!r}. If it was changed, change its twin and then the key of it in TWINS."
        )
    return TWINS[digest]


# ── leases ───────────────────────────────────────────────────────────────────


def _beat(data: Data, keys: Sequence[str], name: str) -> int:
    data.hset(keys[1], {name: str(data.incrby(keys[2], 1))})
    return 1


def take(data: Data, keys: Sequence[str], args: Sequence[str]) -> int:
    if data.exists(keys[0]):
        return 0
    data.set(keys[0], args[0])
    return _beat(data, keys, args[1])


def renew(data: Data, keys: Sequence[str], args: Sequence[str]) -> int:
    return _beat(data, keys, args[1]) if data.get(keys[0]) == args[0] else 0


def _end(data: Data, keys: Sequence[str], name: str) -> int:
    data.hdel(keys[1], name)
    return data.delete(keys[0])


def drop(data: Data, keys: Sequence[str], args: Sequence[str]) -> int:
    return _end(data, keys, args[1]) if data.get(keys[0]) == args[0] else 0


def free(data: Data, keys: Sequence[str], args: Sequence[str]) -> int:
    return _end(data, keys, args[1]) if data.hget(keys[1], args[1]) == args[0] else 0


def read(data: Data, keys: Sequence[str], args: Sequence[str]) -> list[str | None]:
    plain = len(keys) - len(args)
    found = [data.get(key) for key in keys[:plain]]
    for key, field in zip(keys[plain:], args, strict=True):
        try:
            found.append(data.hget(key, field))
        except redis.ResponseError:
            found.append(None)
    return found


# ── the others ───────────────────────────────────────────────────────────────


def record(data: Data, keys: Sequence[str], args: Sequence[str]) -> int:
    if data.set(keys[1], "1", new=True, milliseconds=60_000):
        data.rpush(keys[0], args[0])
    return 1


def append(data: Data, keys: Sequence[str], args: Sequence[str]) -> int:
    token, batch, limit, keep, *events = args
    if len(keys) > 1 and data.get(keys[1]) != token:
        return 0
    last = data.newest(keys[0])
    if last and last[1].get("b") == batch:
        return 1
    for event in events[:-1]:
        data.xadd(keys[0], {"e": event}, most=int(limit))
    data.xadd(keys[0], {"e": events[-1], "b": batch}, most=int(limit))
    if keep != "0":
        data.pexpire(keys[0], int(keep) * 1000)
    return 1


def forget(data: Data, keys: Sequence[str], args: Sequence[str]) -> int:
    return data.hdel(keys[0], args[0]) if not data.exists(*keys[1:4]) else 0


_COUNTING: dict[str, Callable[[Data, str, str, str], object]] = {
    "hincrby": lambda data, key, field, value: data.hincrby(key, field, int(value)),
    "hincrbyfloat": lambda data, key, field, value: data.hincrbyfloat(key, field, value),
    "hset": lambda data, key, field, value: data.hset(key, {field: value}),
}


def count(data: Data, keys: Sequence[str], args: Sequence[str]) -> int:
    for command, field, value in zip(args[::3], args[1::3], args[2::3], strict=True):
        with suppress(redis.ResponseError):
            _COUNTING[command](data, keys[0], field, value)
    return 0


TWINS: dict[str, Twin] = {
    "f162d0f394f49a70": take,
    "7ca590efe01713f1": renew,
    "aee87f6c58b8f100": drop,
    "92eac6bee1ea9358": free,
    "909c41489534a840": read,
    "5c2764f67fe260ff": append,
    "d06728aefa744b24": forget,
    "6ab8fa1fa0acbd66": record,
    "1d5350a93c53db51": count,
}
