"""A process's Redis client, and its errors as ours."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, TypeVar

import redis
from pydantic import ValidationError
from redis.backoff import ConstantBackoff
from redis.retry import Retry

from pipeline.errors import DamagedRecord, StoreUnavailable
from pipeline.lib import codec

T = TypeVar("T")

KEPT = 128  # records in a process's memory

Client = redis.Redis


def connect(url: str, *, timeout: float = 3.0) -> Client:
    """A client with a pool. ``timeout``: seconds for each answer. A call to a store that accepts and never answers ends
    after four times as long: connecting and the call itself are each tried twice."""
    network = {} if url.startswith("unix:") else {"socket_keepalive": True}
    return redis.Redis.from_url(
        url,
        socket_timeout=timeout,
        socket_connect_timeout=min(timeout, 1.0),
        health_check_interval=15,
        retry=Retry(ConstantBackoff(0.05), retries=1),
        decode_responses=True,
        **network,
    )


def read(kind: type[T], text: str | bytes, key: str, field: str = "") -> T:
    """The value that ``codec.dump`` wrote to that key and field. Raises DamagedRecord for any other text, which the
    message does not repeat."""
    try:
        return codec.load(kind, text)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        path = ".".join(str(part) for part in first["loc"])
        raise damaged(key, field, f"{path}: {first['msg']}" if path else first["msg"]) from None


def read_kept(kind: type[T], text: str | bytes, key: str, field: str = "") -> T:
    """``read`` for a record that is read often and changes seldom: the same text is parsed once. Records are
    never changed in place, so several readers may have the same one."""
    try:
        value: T = _kept(kind, text)  # type: ignore[arg-type] # mypy takes no class for hashable
    except ValidationError:
        return read(kind, text, key, field)
    return value


@lru_cache(maxsize=KEPT)
def _kept(kind: type[Any], text: str | bytes) -> Any:
    return codec.load(kind, text)


def read_all(
    kind: type[T], found: Mapping[Any, str | bytes], key: str
) -> tuple[tuple[T, ...], dict[str, DamagedRecord]]:
    """The values of a hash in the order of its fields, and for each field that is not as Pushlive writes it an
    error."""
    values: list[T] = []
    errors: dict[str, DamagedRecord] = {}
    for field, text in sorted(found.items()):
        try:
            values.append(read(kind, text, key, str(field)))
        except DamagedRecord as error:
            errors[str(field)] = error
    return tuple(values), errors


def damaged(key: str, field: str, why: str) -> DamagedRecord:
    where = f"{key} [{field[:80]}]" if field else key
    return DamagedRecord(
        f"the record {where} in the store is damaged ({why[:200]}).",
        advice="Restore a backup, or repair that key by hand: docs/operations.md, 'A record is damaged'.",
    )


@contextmanager
def translate() -> Iterator[None]:
    """Turns Redis's exceptions into StoreUnavailable. A WatchError passes: it is the transaction's."""
    try:
        yield
    except redis.WatchError:
        raise
    except redis.ResponseError as error:
        if "WRONGTYPE" not in str(error):
            raise _unavailable(error) from error
        raise damaged(
            "(see the store's MONITOR)", "", "a key has another type than Pushlive writes"
        ) from error
    except redis.RedisError as error:
        raise _unavailable(error) from error


def _unavailable(error: Exception) -> StoreUnavailable:
    return StoreUnavailable(
        f"the store does not answer or does not accept writes ({type(error).__name__}: {error}).",
        advice="Nothing was accepted. Try again in a few seconds; `pushlive doctor` says more.",
    )
