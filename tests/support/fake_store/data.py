"""What a server of the fake store has, and what each command does to it. Keys, fields and values are text already."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from time import monotonic  # by its name: a test that sets the clock of its process does not set the server's
from typing import Any, TypeVar

import redis

from tests.support.fake_store.streams import Entry, Stream, parsed

K = TypeVar("K", dict[str, str], set[str], list[str], str, Stream)

KINDS = {str: "string", dict: "hash", set: "set", list: "list", Stream: "stream"}
WRONG_TYPE = "WRONGTYPE Operation against a key holding the wrong kind of value"
_WHOLE, _NUMBER = re.compile(r"0|-?[1-9]\d{0,18}"), re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_LEAST, _MOST = -(2**63), 2**63 - 1


class Data:
    """Every method is called with ``lock`` held, and raises redis.ResponseError as the server would. ``now``: the
    server's clock, in seconds, for what expires."""

    def __init__(self, now: Callable[[], float] = monotonic) -> None:
        self.now = now
        self.lock = threading.Lock()
        self.added = threading.Condition(self.lock)  # to a stream
        self._values: dict[str, Any] = {}
        self._ends: dict[str, float] = {}  # when each key expires
        self._changes = 0
        self._changed: dict[str, int] = {}  # each key's last change

    def changed(self, key: str) -> int:
        """A number that is another one after each change of the key: what WATCH compares."""
        self._expire(key)
        return self._changed.get(key, 0)

    # ── keys ─────────────────────────────────────────────────────────────────

    def type(self, key: str) -> str:
        self._expire(key)
        return KINDS[type(self._values[key])] if key in self._values else "none"

    def names(self, pattern: str) -> list[str]:
        fits = _glob(pattern).fullmatch
        return [key for key in tuple(self._values) if fits(key) and self.type(key) != "none"]

    def exists(self, *keys: str) -> int:
        _some(keys, "exists")
        return sum(self.type(key) != "none" for key in keys)

    def delete(self, *keys: str) -> int:
        _some(keys, "del")
        found = [key for key in keys if self.type(key) != "none" and self._remove(key)]
        return len(found)

    def pexpire(self, key: str, milliseconds: int) -> bool:
        if self.type(key) == "none":
            return False
        self._ends[key] = self.now() + milliseconds / 1000
        self._touch(key)
        return True

    def pttl(self, key: str) -> int:
        """Milliseconds; -1: it does not expire, -2: there is none."""
        if self.type(key) == "none":
            return -2
        return round((self._ends[key] - self.now()) * 1000) if key in self._ends else -1

    def ttl(self, key: str) -> int:
        left = self.pttl(key)
        return left if left < 0 else (left + 500) // 1000

    # ── strings ──────────────────────────────────────────────────────────────

    def get(self, key: str) -> str | None:
        return self._at(key, str)

    def mget(self, *keys: str) -> list[str | None]:
        values = [None if self.type(key) == "none" else self._values[key] for key in keys]
        return [value if type(value) is str else None for value in values]

    def set(self, key: str, value: str, new: bool = False, milliseconds: int = 0) -> bool | None:
        if new and self.type(key) != "none":
            return None
        self._values[key] = value
        self._ends.pop(key, None)
        if milliseconds:
            self._ends[key] = self.now() + milliseconds / 1000
        self._touch(key)
        return True

    def incrby(self, key: str, by: int) -> int:
        before = self._at(key, str)
        count = _sum("0" if before is None else before, by, "value is not an integer or out of range")
        self._values[key] = str(count)
        self._touch(key)
        return count

    # ── hashes ───────────────────────────────────────────────────────────────

    def hget(self, key: str, field: str) -> str | None:
        found = self._at(key, dict)
        return found.get(field) if found else None

    def hmget(self, key: str, fields: tuple[str, ...]) -> list[str | None]:
        _some(fields, "hmget")
        found = self._at(key, dict) or {}
        return [found.get(field) for field in fields]

    def hgetall(self, key: str) -> dict[str, str]:
        return dict(self._at(key, dict) or {})

    def hkeys(self, key: str) -> list[str]:
        return list(self._at(key, dict) or ())

    def hset(self, key: str, values: Mapping[str, str]) -> int:
        found = self._made(key, dict)
        before = len(found)
        found.update(values)
        self._touch(key)
        return len(found) - before

    def hdel(self, key: str, *fields: str) -> int:
        _some(fields, "hdel")
        found = self._at(key, dict) or {}
        return self._taken(key, [field for field in fields if found.pop(field, None) is not None])

    def hincrby(self, key: str, field: str, by: int) -> int:
        count = _sum((self._at(key, dict) or {}).get(field, "0"), by, "hash value is not an integer")
        self.hset(key, {field: str(count)})
        return count

    def hincrbyfloat(self, key: str, field: str, by: str) -> str:
        before = (self._at(key, dict) or {}).get(field, "0")
        if not _NUMBER.fullmatch(by):
            raise redis.ResponseError("value is not a valid float")
        if not _NUMBER.fullmatch(before):
            raise redis.ResponseError("hash value is not a float")
        total = f"{Decimal(before) + Decimal(by):.17f}".rstrip("0").rstrip(".")
        self.hset(key, {field: total})
        return total

    # ── sets ─────────────────────────────────────────────────────────────────

    def smembers(self, key: str) -> set[str]:
        return set(self._at(key, set) or ())

    def scard(self, key: str) -> int:
        return len(self._at(key, set) or ())

    def sadd(self, key: str, *members: str) -> int:
        _some(members, "sadd")
        found = self._made(key, set)
        before = len(found)
        found.update(members)
        if len(found) > before:
            self._touch(key)
        return len(found) - before

    def srem(self, key: str, *members: str) -> int:
        _some(members, "srem")
        found = self._at(key, set) or set()
        gone = found.intersection(members)
        found -= gone
        return self._taken(key, gone)

    # ── lists ────────────────────────────────────────────────────────────────

    def llen(self, key: str) -> int:
        return len(self._at(key, list) or ())

    def lindex(self, key: str, index: int) -> str | None:
        found = self._at(key, list) or []
        return found[index] if -len(found) <= index < len(found) else None

    def lrange(self, key: str, first: int, last: int) -> list[str]:
        return _part(self._at(key, list) or [], first, last)

    def rpush(self, key: str, *values: str) -> int:
        _some(values, "rpush")
        found = self._made(key, list)
        found.extend(values)
        self._touch(key)
        return len(found)

    def lpush(self, key: str, *values: str) -> int:
        _some(values, "lpush")
        found = self._made(key, list)
        found[:0] = reversed(values)
        self._touch(key)
        return len(found)

    def rpop(self, key: str) -> str | None:
        found = self._at(key, list)
        if not found:
            return None
        last = found.pop()
        self._taken(key, (last,))
        return last

    def lset(self, key: str, index: int, value: str) -> bool:
        found = self._at(key, list)
        if found is None:
            raise redis.ResponseError("no such key")
        if not -len(found) <= index < len(found):
            raise redis.ResponseError("index out of range")
        found[index] = value
        self._touch(key)
        return True

    def ltrim(self, key: str, first: int, last: int) -> bool:
        found = self._at(key, list)
        if found is not None:
            before = len(found)
            found[:] = _part(found, first, last)
            self._taken(key, range(before - len(found)))
        return True

    def lrem(self, key: str, count: int, value: str) -> int:
        """``count``: at most so many from the left; 0: all of them."""
        if count < 0:
            raise NotImplementedError("the fake store removes from the left only")
        found = self._at(key, list) or []
        places = [index for index, one in enumerate(found) if one == value][: count or None]
        for index in reversed(places):
            del found[index]
        return self._taken(key, places)

    # ── streams ──────────────────────────────────────────────────────────────

    def xadd(self, key: str, fields: dict[str, str], id_: str = "*", most: int | None = None) -> str:
        if id_ != "*":
            parsed(id_)
        entry = (self._at(key, Stream) or Stream()).next(id_)
        self._made(key, Stream).add(entry, fields, most)
        self._touch(key)
        self.added.notify_all()
        return f"{entry[0]}-{entry[1]}"

    def xread(self, streams: Mapping[str, str], count: int | None) -> list[list[Any]]:
        found = [[key, (self._at(key, Stream) or Stream()).after(id_, count)] for key, id_ in streams.items()]
        return [one for one in found if one[1]]

    def xrange(self, key: str) -> list[Entry]:
        return (self._at(key, Stream) or Stream()).after("0", None)

    def newest(self, key: str) -> Entry | None:
        """What XREVRANGE + - COUNT 1 answers."""
        found = self._at(key, Stream)
        return found.newest() if found else None

    # ─────────────────────────────────────────────────────────────────────────

    def _at(self, key: str, kind: type[K]) -> K | None:
        if key in self._ends:
            self._expire(key)
        value = self._values.get(key)
        if value is not None and type(value) is not kind:
            raise redis.ResponseError(WRONG_TYPE)
        return value

    def _made(self, key: str, kind: type[K]) -> K:
        value = self._at(key, kind)
        if value is None:
            value = self._values[key] = kind()
        return value

    def _touch(self, key: str) -> None:
        self._changes += 1
        self._changed[key] = self._changes

    def _taken(self, key: str, gone: Iterable[object]) -> int:
        """How many are gone from the value of that key, which goes with the last of its members."""
        count = sum(1 for _ in gone)
        if count and not self._values[key]:
            self._remove(key)
        elif count:
            self._touch(key)
        return count

    def _remove(self, key: str) -> bool:
        del self._values[key]
        self._ends.pop(key, None)
        self._touch(key)
        return True

    def _expire(self, key: str) -> None:
        if key in self._ends and self._ends[key] <= self.now():
            self._remove(key)


def _some(given: tuple[str, ...], command: str) -> None:
    if not given:
        raise redis.ResponseError(f"wrong number of arguments for '{command}' command")


def _sum(before: str, by: int, problem: str) -> int:
    if not _WHOLE.fullmatch(before) or not _LEAST <= int(before) <= _MOST:
        raise redis.ResponseError(problem)
    total = int(before) + by
    if not _LEAST <= total <= _MOST:
        raise redis.ResponseError("increment or decrement would overflow")
    return total


def _part(found: list[str], first: int, last: int) -> list[str]:
    """Both ends included; a negative one counts from the right."""
    size = len(found)
    first, last = (max(0, first + size) if first < 0 else first), (last + size if last < 0 else last)
    return found[first : last + 1] if last >= 0 else []


def _glob(pattern: str) -> re.Pattern[str]:
    """KEYS's patterns: ``*``, ``?``, and any character after a backslash."""
    parts = re.findall(r"\\.|.", pattern, re.DOTALL)
    if "[" in parts:
        raise NotImplementedError("the fake store knows no [classes] in a pattern")
    wild = {"*": ".*", "?": "."}
    return re.compile("".join(wild.get(part) or re.escape(part[-1]) for part in parts), re.DOTALL)
