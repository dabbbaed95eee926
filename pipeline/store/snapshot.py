"""The whole store of one installation as lines of JSON, and back: its part of a backup.

It is a logical copy: people can read it, every server and version can load it, and no parser of the server has to trust
it. Each line is ``{"key": …, "type": …, "value": …}``, with ``"ttl"`` in milliseconds for a key that expires. Keys are
without the installation's prefix.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from pipeline.errors import RequestError, TryAgain
from pipeline.store.connection import Client, translate
from pipeline.store.store import Store

ATTEMPTS = 20
BATCH = 500  # members written by one command
NOT_KEPT = ("lease:", "beats", "last-beat", "heartbeat")  # about processes that run now
APART = "events:"  # large, and only for followers: not part of the consistent copy

_READ: dict[str, Callable[[Any, str], Any]] = {
    "string": lambda pipe, key: pipe.get(key),
    "hash": lambda pipe, key: pipe.hgetall(key),
    "set": lambda pipe, key: pipe.smembers(key),
    "list": lambda pipe, key: pipe.lrange(key, 0, -1),
    "zset": lambda pipe, key: pipe.zrange(key, 0, -1, withscores=True),
    "stream": lambda pipe, key: pipe.xrange(key),
}
_SHAPES: dict[str, type] = {
    "string": str,
    "hash": dict,
    "set": list,
    "list": list,
    "zset": list,
    "stream": list,
}


def dump(store: Store) -> Iterator[str]:
    """Every line. The events come first, one stream at a time. Everything else is then read as of one moment, so events
    are never newer than their run's record. Raises StoreUnavailable, TryAgain."""
    prefix = store.key()
    known = _known(store.client, prefix)
    for key in sorted(key for key in known if key.startswith(prefix + APART)):
        with translate():
            values = _together(store.client, {key: known[key]})
        yield from _lines(values, prefix)
    yield from _lines(_moment(store.client, prefix), prefix)


def _known(client: Client, prefix: str) -> dict[str, str]:
    """The type of every key of this installation."""
    with translate():
        keys = [str(key) for key in client.scan_iter(match=_escaped(prefix) + "*", count=1000)]
        keys = [key for key in keys if not key.startswith(tuple(prefix + name for name in NOT_KEPT))]
        pipe = client.pipeline(transaction=False)
        for key in keys:
            pipe.type(key)
        return {key: str(kind) for key, kind in zip(keys, pipe.execute(), strict=True) if kind in _READ}


def _escaped(text: str) -> str:
    return "".join(f"\\{c}" if c in "*?[]\\" else c for c in text)


def _moment(client: Client, prefix: str) -> dict[str, tuple[str, Any, int]]:
    """Everything but the events, as of one moment. Reads again if a key was created meanwhile."""
    for _ in range(ATTEMPTS):
        wanted = {k: t for k, t in _known(client, prefix).items() if not k.startswith(prefix + APART)}
        with translate():
            found = _together(client, wanted)
        now = {key for key in _known(client, prefix) if not key.startswith(prefix + APART)}
        if now <= set(wanted):
            return found
    raise TryAgain(
        "the store changes faster than it can be copied.", advice="Try again when less is running."
    )


def _together(client: Client, wanted: dict[str, str]) -> dict[str, tuple[str, Any, int]]:
    """Types, values and TTLs (milliseconds; negative: none), read in one transaction."""
    pipe = client.pipeline(transaction=True)
    for key, kind in wanted.items():
        _READ[kind](pipe, key)
        pipe.pttl(key)
    answers = iter(pipe.execute())
    return {key: (kind, next(answers), int(next(answers))) for key, kind in wanted.items()}


def _lines(values: dict[str, tuple[str, Any, int]], prefix: str) -> Iterator[str]:
    for key, (kind, value, ttl) in values.items():
        if not value:  # it has expired meanwhile
            continue
        plain = sorted(value) if kind == "set" else value
        line: dict[str, Any] = {"key": key.removeprefix(prefix), "type": kind, "value": plain}
        if ttl > 0:
            line["ttl"] = ttl
        yield json.dumps(line, ensure_ascii=False, sort_keys=True)


def refuse_filled(store: Store) -> None:
    """Raises RequestError if the store has records of this installation. What is written to one that waits for a
    restore (a first token, the configuration) does not count."""
    if _known(store.client, store.key()) and store.origin.known():
        raise RequestError(
            f"the store already has records of {store.key().rstrip(':')!r}. Nothing was restored.",
            advice="Restore into an empty store, or set another PUSHLIVE_INSTANCE.",
        )


def clear(store: Store) -> None:
    """Removes every record of this installation, after a restore that failed."""
    with translate():
        for key in _known(store.client, store.key()):
            store.client.delete(key)


def load(store: Store, lines: Iterable[str]) -> int:
    """Writes every line into an empty store; returns their number. Raises RequestError (not empty, or a line that
    ``dump`` did not write), StoreUnavailable."""
    refuse_filled(store)
    clear(store)
    prefix, count = store.key(), 0
    for count, text in enumerate(lines, 1):
        key, kind, value, ttl = _checked(text, count)
        with translate():
            pipe = store.client.pipeline(transaction=True)
            _write(pipe, prefix + key, kind, value)
            if ttl:
                pipe.pexpire(prefix + key, ttl)
            pipe.execute()
    return count


def _checked(text: str, number: int) -> tuple[str, str, Any, int]:
    try:
        line = json.loads(text)
        key, kind, value, ttl = line["key"], line["type"], line["value"], line.get("ttl", 0)
        good = isinstance(key, str) and isinstance(value, _SHAPES[kind]) and type(ttl) is int and ttl >= 0
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        good = False
    if not good:
        raise RequestError(
            f"line {number} of the store in the backup is not a record: the backup cannot be restored."
        )
    return key, kind, value, ttl


def _write(pipe: Any, key: str, kind: str, value: Any) -> None:
    if kind == "string":
        pipe.set(key, value)
    elif kind == "stream":
        for entry, fields in value:
            pipe.xadd(key, fields, id=entry)
    elif kind == "zset":
        pipe.zadd(key, {str(member): float(score) for member, score in value})
    elif kind == "hash":
        items = list(value.items())
        for start in range(0, len(items), BATCH):
            pipe.hset(key, mapping=dict(items[start : start + BATCH]))
    else:
        for start in range(0, len(value), BATCH):
            (pipe.sadd if kind == "set" else pipe.rpush)(key, *value[start : start + BATCH])
