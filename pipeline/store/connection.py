"""One Redis client for a process, and its errors told in our words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import redis
from redis.backoff import ConstantBackoff
from redis.retry import Retry

from pipeline.errors import StoreUnavailable

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


@contextmanager
def translate() -> Iterator[None]:
    """Redis's exceptions become StoreUnavailable; a WatchError is passed on to the transaction."""
    try:
        yield
    except redis.WatchError:
        raise
    except redis.RedisError as error:
        raise StoreUnavailable(
            f"the store does not answer or does not take writes ({type(error).__name__}: {error}).",
            advice="Nothing was accepted; try again in a few seconds, and see `pushlive doctor`.",
        ) from error
