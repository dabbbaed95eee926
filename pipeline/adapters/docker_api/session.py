"""The Docker SDK's session on sockets that keep to a deadline. Its own timeout starts again with each byte, so that an
Engine, or a proxy before it, that answers a byte a second would hold a request for ever."""

from __future__ import annotations

from typing import Any

import docker.transport
from docker.transport.unixconn import UnixHTTPConnection, UnixHTTPConnectionPool
from requests.adapters import HTTPAdapter

import docker
from pipeline.adapters.deadline_sessions import DeadlineAdapter
from pipeline.lib.sockets import DeadlineSocket, within

POOL = 32  # connections that are kept


class DeadlineApi(docker.APIClient):
    """Each request and its answer take at most the request's timeout in all; of an answer that is streamed, its head.
    A request without a timeout has no limit: a thread makes it, and another one watches (``lib.streams.pump``)."""

    def mount(self, prefix: Any, adapter: Any) -> None:
        """See ``requests.Session.mount``: the constructors of the SDK choose by it how to connect."""
        if type(adapter) is docker.transport.UnixHTTPAdapter:
            adapter = _UnixAdapter(f"http+unix://{adapter.socket_path}", adapter.timeout, max_pool_size=POOL)
        elif type(adapter) is HTTPAdapter:
            adapter = DeadlineAdapter(pool_maxsize=POOL)
        super().mount(prefix, adapter)

    def send(self, request: Any, **options: Any) -> Any:
        """See ``requests.Session.send``."""
        limit = options.get("timeout")
        with within(limit if isinstance(limit, int | float) else None):
            return super().send(request, **options)


class _UnixAdapter(docker.transport.UnixHTTPAdapter):
    def get_connection(self, url: Any, proxies: Any = None) -> Any:
        del proxies
        with self.pools.lock:
            pool = self.pools.get(url)
            if pool is None:
                pool = self.pools[url] = _UnixPool(url, self.socket_path, self.timeout, self.max_pool_size)
            return pool


class _UnixPool(UnixHTTPConnectionPool):
    def _new_conn(self) -> Any:
        timeout: Any = self.timeout
        return _UnixConnection(self.base_url, self.socket_path, timeout)


class _UnixConnection(UnixHTTPConnection):
    def connect(self) -> None:
        super().connect()
        plain: Any = self.sock
        self.sock = DeadlineSocket.over(plain)
