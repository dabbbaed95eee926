"""The store's client in memory: what ``pipeline.store.connection.connect`` makes, without a server.

It has the commands that the store and its stories use, and no other: an unknown one raises at once. Answers have the
types of redis-py with ``decode_responses``. Whatever it does, a real Valkey does as well:
``tests/contract/test_store_client_contract.py`` runs on both.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any

import pytest
import redis

from pipeline.store import connection
from tests.support.fake_store.data import Data
from tests.support.fake_store.scripts import twin

SCHEME = "memory://"

_servers: dict[str, Data] = {}


def connect(url: str, *, timeout: float = 3.0) -> Any:
    """A client of the server of that URL, ``memory://NAME``: all clients of one URL have the same data. A real one for
    any other URL."""
    if not url.startswith(SCHEME):
        return connection.connect(url, timeout=timeout)
    return FakeClient(_servers.setdefault(url, Data()))


@contextmanager
def in_memory() -> Iterator[None]:
    """Stores with such a URL are in memory meanwhile."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipeline.store.store.connect", connect)
        yield


def end(url: str) -> None:
    """The server's data goes; clients that are left keep theirs."""
    _servers.pop(url, None)


def text(value: object) -> str:
    """What the server gets, as redis-py sends it."""
    if type(value) is str:
        if not value.isascii():
            value.encode()  # refuses what is no text: half of a surrogate pair
        return value
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, int | float) and not isinstance(value, bool):
        return repr(value)
    if isinstance(value, str):
        return text(str.__str__(value))
    raise redis.DataError(f"Invalid input of type: {type(value).__name__!r}.")


def _texts(values: Iterable[object]) -> tuple[str, ...]:
    return tuple(map(text, values))


def _listed(first: Any, more: Iterable[object]) -> tuple[str, ...]:
    """redis-py takes keys one by one or as one list."""
    if isinstance(first, list | tuple):
        return (*_texts(first), *_texts(more))
    return (text(first), *_texts(more))


class Commands:
    """Each command as redis-py calls it."""

    def _do(self, act: Callable[..., Any], *arguments: Any) -> Any:
        """Does it now, or when the transaction is executed."""
        raise NotImplementedError

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise NotImplementedError(
            f"the fake store has no {name!r}. Add it in tests/support/fake_store with its contract, or mark the story "
            "with real_store if the server or its client is its subject."
        )

    # ── keys ─────────────────────────────────────────────────────────────────

    def type(self, name: object) -> Any:
        return self._do(Data.type, text(name))

    def keys(self, pattern: str = "*") -> Any:
        return self._do(Data.names, pattern)

    def exists(self, *names: object) -> Any:
        return self._do(Data.exists, *_texts(names))

    def delete(self, *names: object) -> Any:
        return self._do(Data.delete, *_texts(names))

    def expire(self, name: object, seconds: int) -> Any:
        return self._do(Data.pexpire, text(name), seconds * 1000)

    def pexpire(self, name: object, milliseconds: int) -> Any:
        return self._do(Data.pexpire, text(name), milliseconds)

    def ttl(self, name: object) -> Any:
        return self._do(Data.ttl, text(name))

    def pttl(self, name: object) -> Any:
        return self._do(Data.pttl, text(name))

    # ── strings ──────────────────────────────────────────────────────────────

    def get(self, name: object) -> Any:
        return self._do(Data.get, text(name))

    def mget(self, keys: Any, *more: object) -> Any:
        return self._do(Data.mget, *_listed(keys, more))

    def set(
        self, name: object, value: object, *, ex: int | None = None, px: int | None = None, nx: bool = False
    ) -> Any:
        milliseconds = px or (ex or 0) * 1000
        return self._do(Data.set, text(name), text(value), nx, milliseconds)

    def incrby(self, name: object, amount: int = 1) -> Any:
        return self._do(Data.incrby, text(name), amount)

    # ── hashes ───────────────────────────────────────────────────────────────

    def hget(self, name: object, key: object) -> Any:
        return self._do(Data.hget, text(name), text(key))

    def hmget(self, name: object, keys: Any, *more: object) -> Any:
        return self._do(Data.hmget, text(name), _listed(keys, more))

    def hgetall(self, name: object) -> Any:
        return self._do(Data.hgetall, text(name))

    def hkeys(self, name: object) -> Any:
        return self._do(Data.hkeys, text(name))

    def hset(
        self,
        name: object,
        key: object = None,
        value: object = None,
        mapping: Mapping[Any, object] | None = None,
    ) -> Any:
        values = {text(field): text(one) for field, one in (mapping or {}).items()}
        if key is not None:
            values = {text(key): text(value), **values}
        if not values:
            raise redis.DataError("'hset' with no key value pairs")
        return self._do(Data.hset, text(name), values)

    def hdel(self, name: object, *keys: object) -> Any:
        return self._do(Data.hdel, text(name), *_texts(keys))

    def hincrby(self, name: object, key: object, amount: int = 1) -> Any:
        return self._do(Data.hincrby, text(name), text(key), amount)

    # ── sets and lists ───────────────────────────────────────────────────────

    def smembers(self, name: object) -> Any:
        return self._do(Data.smembers, text(name))

    def scard(self, name: object) -> Any:
        return self._do(Data.scard, text(name))

    def sadd(self, name: object, *values: object) -> Any:
        return self._do(Data.sadd, text(name), *_texts(values))

    def srem(self, name: object, *values: object) -> Any:
        return self._do(Data.srem, text(name), *_texts(values))

    def llen(self, name: object) -> Any:
        return self._do(Data.llen, text(name))

    def lindex(self, name: object, index: int) -> Any:
        return self._do(Data.lindex, text(name), index)

    def lrange(self, name: object, start: int, end: int) -> Any:
        return self._do(Data.lrange, text(name), start, end)

    def rpush(self, name: object, *values: object) -> Any:
        return self._do(Data.rpush, text(name), *_texts(values))

    def lpush(self, name: object, *values: object) -> Any:
        return self._do(Data.lpush, text(name), *_texts(values))

    def rpop(self, name: object) -> Any:
        return self._do(Data.rpop, text(name))

    def lset(self, name: object, index: int, value: object) -> Any:
        return self._do(Data.lset, text(name), index, text(value))

    def ltrim(self, name: object, start: int, end: int) -> Any:
        return self._do(Data.ltrim, text(name), start, end)

    def lrem(self, name: object, count: int, value: object) -> Any:
        return self._do(Data.lrem, text(name), count, text(value))

    # ── streams and scripts ──────────────────────────────────────────────────

    def xadd(
        self,
        name: object,
        fields: Mapping[Any, object],
        id: str = "*",
        maxlen: int | None = None,
        approximate: bool = True,
    ) -> Any:
        if maxlen is not None and not approximate:
            raise NotImplementedError("the fake store trims a stream approximately only")
        if not fields:
            raise redis.DataError("XADD fields must be a non-empty dict")
        values = {text(field): text(one) for field, one in fields.items()}
        return self._do(Data.xadd, text(name), values, id, maxlen)

    def xrange(self, name: object) -> Any:
        return self._do(Data.xrange, text(name))

    def eval(self, script: str, numkeys: int, *keys_and_args: object) -> Any:
        given = _texts(keys_and_args)
        return self._do(twin(script), given[:numkeys], given[numkeys:])


class FakeClient(Commands):
    def __init__(self, data: Data) -> None:
        self.data = data

    def _do(self, act: Callable[..., Any], *arguments: Any) -> Any:
        with self.data.lock:
            return act(self.data, *arguments)

    def ping(self) -> bool:
        return True

    def close(self) -> None:
        """There is no connection."""

    def scan_iter(self, match: str = "*", count: int | None = None) -> Iterator[str]:
        yield from self.keys(match)

    def xread(self, streams: Mapping[Any, object], count: int | None = None, block: int | None = None) -> Any:
        """``block``: milliseconds to wait for the first entry, 0: for ever."""
        wanted = {text(name): text(after) for name, after in streams.items()}
        deadline = time.monotonic() + block / 1000 if block else None
        with self.data.lock:
            while True:
                found = self.data.xread(wanted, count)
                left = None if deadline is None else deadline - time.monotonic()
                if found or block is None or (left is not None and left <= 0):
                    return found
                self.data.added.wait(left)

    def register_script(self, script: str) -> Callable[..., Any]:
        twin(script)  # raises if it has none

        def run(keys: Sequence[object] = (), args: Sequence[object] = ()) -> Any:
            return self.eval(script, len(keys), *keys, *args)

        return run

    def pipeline(self, transaction: bool = True) -> FakePipeline:
        return FakePipeline(self.data, transaction)


class FakePipeline(Commands):
    """Collects commands; those between ``watch`` and ``multi`` are done at once."""

    def __init__(self, data: Data, transaction: bool) -> None:
        self._data, self._transaction = data, transaction
        self.reset()

    def __enter__(self) -> FakePipeline:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.reset()

    def reset(self) -> None:
        self._queued: list[tuple[Callable[..., Any], tuple[Any, ...]]] = []
        self._watched: dict[str, int] = {}
        self._began = False

    def _do(self, act: Callable[..., Any], *arguments: Any) -> Any:
        if self._watched and not self._began:
            with self._data.lock:
                return act(self._data, *arguments)
        self._queued.append((act, arguments))
        return self

    def watch(self, *names: object) -> bool:
        if self._began:
            raise redis.RedisError("Cannot issue a WATCH after a MULTI")
        if not names:
            raise redis.ResponseError("wrong number of arguments for 'watch' command")
        with self._data.lock:
            for name in _texts(names):
                self._watched.setdefault(name, self._data.changed(name))
        return True

    def multi(self) -> None:
        if self._began:
            raise redis.RedisError("Cannot issue nested calls to MULTI")
        if self._queued:
            raise redis.RedisError("Commands without an initial WATCH have already been issued")
        self._began = True

    def execute(self, raise_on_error: bool = True) -> list[Any]:
        """One answer for each command. Raises the first error, after all were done; WatchError, and nothing is done, if
        a key that it watches was changed."""
        try:
            with self._data.lock:
                if any(self._data.changed(key) != before for key, before in self._watched.items()):
                    raise redis.WatchError("Watched variable changed.")
                answers = [self._answer(act, arguments) for act, arguments in self._queued]
        finally:
            self.reset()
        for number, answer in enumerate(answers, 1):
            if raise_on_error and isinstance(answer, redis.ResponseError):
                raise redis.ResponseError(f"Command # {number} of pipeline caused error: {answer}")
        return answers

    def _answer(self, act: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        try:
            return act(self._data, *arguments)
        except redis.ResponseError as error:
            return error
