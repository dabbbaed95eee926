"""HTTP requests to one cluster's API server: credentials, retries and errors."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import urlencode

from urllib3 import BaseHTTPResponse, Timeout

from pipeline.adapters.kubernetes.api.client import Cluster, error_for, translate
from pipeline.errors import EngineAway, EngineFailed, PushliveError, TryAgain
from pipeline.lib.bounded import Late, TooManyLeft, bounded
from pipeline.lib.retry import Backoff, Retry
from pipeline.lib.sockets import within

T = TypeVar("T")
Connect = Callable[[], Cluster]

REQUEST_TIMEOUT = 15.0  # seconds for one answer
CONNECT_TIMEOUT = 5.0  # seconds
CREDENTIALS_WITHIN = 30.0  # seconds until they are read
RETRY_WITHIN = 3.0  # seconds: a request that failed later than this is not repeated
BACKOFF = Backoff(0.1, factor=3.0, ceiling=1.0)  # a busy or restarting API server fails at once
RETRIES = 3
OK, UNAUTHORIZED, FORBIDDEN = 200, 401, 403
# Seconds after which an API server that did not answer has surely read its permissions. Until it has, it forbids
# everything; it says itself when it is ready.
SETTLES_WITHIN = 30.0
READY = "/readyz"  # every account may read it, as long as the cluster has Kubernetes's default roles


class Connection:
    """One namespace of one cluster. After a fork, the child opens connections of its own."""

    def __init__(self, connect: Connect) -> None:
        self._connect = connect
        self._cluster: Cluster | None = None
        self._owner = 0
        self._last_away = -math.inf  # when it last did not answer, on the monotonic clock

    @property
    def cluster(self) -> Cluster:
        known = self._cluster  # another thread may reset it at any time
        if known is None or self._owner != os.getpid():
            known = self._in_time(self._connect)
            self._cluster, self._owner = known, os.getpid()
        return known

    def _in_time(self, call: Callable[[], T]) -> T:
        """A kubeconfig may name a server that issues the credentials (`auth-provider`), and the client waits for it
        without a limit. While it does, this connection asks no second time: others keep their share of calls."""
        try:
            return bounded(call, CREDENTIALS_WITHIN, name=f"Kubernetes credentials {id(self)}", most=1)
        except (Late, TooManyLeft):
            raise EngineAway(
                f"The credentials for the Kubernetes cluster were not there within {CREDENTIALS_WITHIN:g} s.",
                advice="See whether `kubectl version` with the same kubeconfig ends, as the service's user.",
            ) from None

    @property
    def namespace(self) -> str:
        return self.cluster.namespace

    @property
    def host(self) -> str:
        """The API server's URL."""
        return str(self.cluster.client.configuration.host)

    def request_json(self, method: str, path: str, doing: str, **options: Any) -> dict[str, Any]:
        """One request with a JSON object as its answer. Raises TryAgain, or Refused with the API server's reason."""
        raw = self.request(method, path, doing, **options).data
        try:
            answer: dict[str, Any] = json.loads(raw)
        except ValueError:
            raise self.not_an_api(doing, raw) from None
        if not isinstance(answer, dict):
            raise self.not_an_api(doing, raw)
        return answer

    def not_an_api(self, doing: str, answer: bytes | str) -> EngineFailed:
        text = answer if isinstance(answer, str) else answer.decode("utf-8", "replace")
        return EngineFailed(
            f"{doing}: the server at {self.host} is not a Kubernetes API: it answered {text[:100]!r}.",
            advice="Check `server` in the kubeconfig, and any proxy between this machine and the cluster.",
        )

    def request(
        self,
        method: str,
        path: str,
        doing: str,
        *,
        query: dict[str, str] | None = None,
        body: dict[str, Any] | list[dict[str, Any]] | None = None,
        content_type: str = "application/json",
        silence: float | None = 0.0,
    ) -> BaseHTTPResponse:
        """One request, repeated if the API server is busy. ``silence``: seconds that a stream may stay silent, None for
        no limit; 0 if the answer is not a stream."""
        given = {key: value for key, value in (query or {}).items() if value}
        url = path + (f"?{urlencode(given)}" if given else "")
        headers = {"Content-Type": content_type} if body is not None else {}
        sent = None if body is None else json.dumps(body).encode()

        def once() -> BaseHTTPResponse:
            answer = self.raw(method, url, doing, headers=headers, body=sent, silence=silence)
            if answer.status == FORBIDDEN and self._settling() and self._is_ready():
                self._last_away = -math.inf
                answer = self.raw(method, url, doing, headers=headers, body=sent, silence=silence)
            if not 200 <= answer.status < 300:
                with translate(doing, self.host), within(REQUEST_TIMEOUT):
                    raise self._error(doing, answer)
            return answer

        return _with_retries(once)

    def _error(self, doing: str, answer: BaseHTTPResponse) -> PushliveError:
        error = error_for(doing, answer.status, answer.data)
        if answer.status == FORBIDDEN and self._settling():
            return EngineAway(
                f"{error.message} It has just started, and may not have read its permissions yet."
            )
        return error

    def _settling(self) -> bool:
        return time.monotonic() - self._last_away < SETTLES_WITHIN

    def _is_ready(self) -> bool:
        doing = "asking the API server whether it is ready"
        return self.raw("GET", READY, doing, headers={}).status == OK

    def raw(
        self,
        method: str,
        path: str,
        doing: str,
        *,
        headers: dict[str, str],
        body: bytes | None = None,
        silence: float | None = 0.0,
        timeout: float = REQUEST_TIMEOUT,
    ) -> BaseHTTPResponse:
        """One exchange with the API server, whatever the status of its answer. The caller reads and closes a stream.
        Raises TryAgain if there is no answer."""
        whole = silence == 0.0
        limits = Timeout(connect=CONNECT_TIMEOUT, read=timeout if whole else silence)
        try:
            # The limits of urllib3 start again with each byte, ours does not. Of a stream, the head is limited.
            with within(timeout):
                cluster = self.cluster
                answer = self._exchange(cluster, method, path, doing, headers, body, limits, whole)
                if answer.status != UNAUTHORIZED:
                    return answer
                answer.close()
            cluster.refused()
            self._forget_cluster()
            with within(timeout):
                return self._exchange(self.cluster, method, path, doing, headers, body, limits, whole)
        except TryAgain:
            self._last_away = time.monotonic()
            self._forget_cluster()
            raise

    def _forget_cluster(self) -> None:
        """The next request reads the kubeconfig again: credentials and certificates in it may have been renewed."""
        self._cluster = None

    def _exchange(
        self,
        cluster: Cluster,
        method: str,
        path: str,
        doing: str,
        headers: dict[str, str],
        body: bytes | None,
        limits: Timeout,
        whole: bool,
    ) -> BaseHTTPResponse:
        client = cluster.client
        host = str(client.configuration.host)
        with translate(doing, host):
            sent = {"Accept": "application/json", "User-Agent": "pushlive", **headers}
            self._in_time(
                lambda: client.update_params_for_auth(sent, [], ["BearerToken"], path, method, None)
            )
            return client.rest_client.pool_manager.request(
                method,
                host + path,
                headers=sent,
                body=body,
                preload_content=whole,
                timeout=limits,
                retries=False,
                redirect=False,
            )


def _with_retries(request: Callable[[], BaseHTTPResponse]) -> BaseHTTPResponse:
    """Every request made here is idempotent. It is repeated if it fails at once (busy, a conflict, a refused
    connection), but not after a timeout: the caller has a deadline of its own."""
    start = time.monotonic()
    retry = Retry(BACKOFF, retries=RETRIES)
    while True:
        try:
            return request()
        except TryAgain:
            pause = retry.pause()
            if pause is None or time.monotonic() - start > RETRY_WITHIN:
                raise
        time.sleep(pause)
