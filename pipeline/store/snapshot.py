"""The whole store of one installation as lines of JSON, and back: what a backup holds of it.

A logical copy, so that it can be read, fits every server and version, and nothing in it is trusted by a parser
of the server's own. Each line is ``{"key": …, "type": …, "value": …}`` and, where it ends by itself, ``"ttl"`` in
milliseconds; keys are without the installation's prefix.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from pipeline.errors import RequestError, TryAgain
from pipeline.store.connection import Client, translate
from pipeline.store.store import Store

ATTEMPTS = 20
TOGETHER = 500  # members written by one command
NOT_KEPT = ("lease:", "beats", "last-beat", "heartbeat")  # who works now is not worth remembering
APART = "events:"  # large, and read by followers alone: not part of the one moment

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
    """Every line. The events come first, one stream at a time; all that is truth is then read in one moment,
    so that events are never newer than their run's record. Raises StoreUnavailable, TryAgain."""
    prefix = store.key()
    known = _known(store.client, prefix)
    for key in sorted(key for key in known if key.startswith(prefix + APART)):
        with translate():
            values = _together(store.client, {key: known[key]})
        yield from _lines(values, prefix)
    yield from _lines(_moment(store.client, prefix), prefix)


def _known(client: Client, prefix: str) -> dict[str, str]:
    """The type of every key of ours."""
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
    """Everything but the events as of one moment: again, where a key came into being meanwhile."""
    for _ in range(ATTEMPTS):
        wanted = {k: t for k, t in _known(client, prefix).items() if not k.startswith(prefix + APART)}
        with translate():
            found = _together(client, wanted)
        now = {key for key in _known(client, prefix) if not key.startswith(prefix + APART)}
        if now <= set(wanted):
            return found
    raise TryAgain("the store changes faster than it can be copied.", advice="Try again in a quieter minute.")


def _together(client: Client, wanted: dict[str, str]) -> dict[str, tuple[str, Any, int]]:
    """Values and lifetimes (milliseconds, negative: for ever) in one transaction."""
    pipe = client.pipeline(transaction=True)
    for key, kind in wanted.items():
        _READ[kind](pipe, key)
        pipe.pttl(key)
    answers = iter(pipe.execute())
    return {key: (kind, next(answers), int(next(answers))) for key, kind in wanted.items()}


def _lines(values: dict[str, tuple[str, Any, int]], prefix: str) -> Iterator[str]:
    for key, (kind, value, ttl) in values.items():
        if not value:  # it has ended meanwhile
            continue
        plain = sorted(value) if kind == "set" else value
        line: dict[str, Any] = {"key": key.removeprefix(prefix), "type": kind, "value": plain}
        if ttl > 0:
            line["ttl"] = ttl
        yield json.dumps(line, ensure_ascii=False, sort_keys=True)


def refuse_filled(store: Store) -> None:
    """Raises RequestError where the store has records of this installation."""
    if _known(store.client, store.key()):
        raise RequestError(
            f"the store holds records of {store.key().rstrip(':')!r} already; nothing was restored.",
            advice="Restore into an empty one, or set another PUSHLIVE_INSTANCE.",
        )


def clear(store: Store) -> None:
    """Removes every record of this installation: what a restore that failed has written."""
    with translate():
        for key in _known(store.client, store.key()):
            store.client.delete(key)


def load(store: Store, lines: Iterable[str]) -> int:
    """Writes every line into an empty store; how many there were. Raises RequestError (not empty; a line that
    ``dump`` did not write), StoreUnavailable."""
    refuse_filled(store)
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
            f"line {number} of the backup's store is no record; nothing can be restored from it."
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
        for start in range(0, len(items), TOGETHER):
            pipe.hset(key, mapping=dict(items[start : start + TOGETHER]))
    else:
        for start in range(0, len(value), TOGETHER):
            (pipe.sadd if kind == "set" else pipe.rpush)(key, *value[start : start + TOGETHER])
