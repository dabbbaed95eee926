"""One Redis client for a process, and its errors told in our words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import redis
from pydantic import ValidationError
from redis.backoff import ConstantBackoff
from redis.retry import Retry

from pipeline.errors import DamagedRecord, StoreUnavailable
from pipeline.lib import codec

T = TypeVar("T")

Client = redis.Redis


def connect(url: str, *, timeout: float = 3.0) -> Client:
    """A client with a pool. ``timeout`` (seconds) bounds every call: a black hole is noticed, too."""
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
    """The value that ``codec.dump`` wrote there. Raises DamagedRecord on anything else; what it holds instead is
    not repeated."""
    try:
        return codec.load(kind, text)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise damaged(key, field, f"{place}: {first['msg']}" if place else first["msg"]) from None


def damaged(key: str, field: str, why: str) -> DamagedRecord:
    where = f"{key} [{field[:80]}]" if field else key
    return DamagedRecord(
        f"the record {where} in the store is damaged ({why[:200]}).",
        advice="Restore a backup, or mend that key by hand: docs/operations.md, 'A record is damaged'.",
    )


@contextmanager
def translate() -> Iterator[None]:
    """Redis's exceptions become StoreUnavailable; a WatchError is passed on to the transaction."""
    try:
        yield
    except redis.WatchError:
        raise
    except redis.ResponseError as error:
        if "WRONGTYPE" not in str(error):
            raise _unavailable(error) from error
        raise damaged(
            "(see the store's MONITOR)", "", "a key is of another type than Pushlive writes"
        ) from error
    except redis.RedisError as error:
        raise _unavailable(error) from error


def _unavailable(error: Exception) -> StoreUnavailable:
    return StoreUnavailable(
        f"the store does not answer or does not take writes ({type(error).__name__}: {error}).",
        advice="Nothing was accepted; try again in a few seconds, and see `pushlive doctor`.",
    )
