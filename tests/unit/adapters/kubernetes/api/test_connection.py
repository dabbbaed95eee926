"""Credentials and retries, against a stub of an API server."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from typing import ClassVar

import pytest
from kubernetes.client import ApiClient, Configuration

from pipeline.adapters.kubernetes.api import connection
from pipeline.adapters.kubernetes.api.client import Cluster, Refused
from pipeline.adapters.kubernetes.api.connection import RETRIES
from pipeline.adapters.kubernetes.api.kube_api import KubeApi
from pipeline.errors import EngineAway
from pipeline.lib.retry import Backoff


class Answers(http.server.BaseHTTPRequestHandler):
    """Accepts the current token."""

    token: ClassVar[str] = "one"
    seen: ClassVar[list[str]] = []
    status: ClassVar[int] = 200
    ready: ClassVar[int] = 403  # the status of /readyz

    def do_GET(self) -> None:
        given = self.headers.get("Authorization", "")
        self.seen.append(given)
        good = given == f"Bearer {self.token}"
        body = json.dumps({"items": [], "metadata": {"resourceVersion": "7"}} if good else {"message": "no"})
        status = self.ready if self.path == "/readyz" else self.status
        self.send_response(status if good else 401)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    Answers.seen.clear()
    one = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    thread = threading.Thread(target=one.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{one.server_address[1]}"
    one.shutdown()
    one.server_close()
    thread.join()


def cluster(url: str, token: str) -> Cluster:
    found = Configuration(host=url)
    found.api_key = {"authorization": f"Bearer {token}"}
    return Cluster(ApiClient(found), "shop", inside=False)


def test_renewed_credentials_are_used_without_a_restart(server: str) -> None:
    made: list[Cluster] = []

    def connect() -> Cluster:
        made.append(cluster(server, Answers.token))
        return made[-1]

    api = KubeApi(connect)
    Answers.token = "one"
    assert api.find("Pod", {}) == []
    Answers.token = "two"
    assert api.find("Pod", {}) == []
    assert Answers.seen == ["Bearer one", "Bearer one", "Bearer two"]
    for one in made:
        one.client.close()


def test_credentials_that_stay_wrong_are_refused_with_advice(server: str) -> None:
    made: list[Cluster] = []

    def connect() -> Cluster:
        made.append(cluster(server, "wrong"))
        return made[-1]

    with pytest.raises(Refused, match="401") as caught:
        KubeApi(connect).find("Pod", {})
    assert caught.value.status == 401
    assert "docs/kubernetes.md" in caught.value.advice
    assert len(Answers.seen) == 2
    for one in made:
        one.client.close()


def test_a_refused_connection_is_retried_and_the_kubeconfig_is_read_again() -> None:
    made: list[Cluster] = []

    def connect() -> Cluster:
        made.append(cluster("http://127.0.0.1:1", "one"))
        return made[-1]

    api = KubeApi(connect)
    with pytest.raises(EngineAway, match=r"listing pods: the Kubernetes API at http://127\.0\.0\.1:1 "):
        api.find("Pod", {})
    assert len(made) == 1 + RETRIES  # each retry reads the kubeconfig again


@pytest.fixture
def forbidding(server: str, monkeypatch: pytest.MonkeyPatch) -> KubeApi:
    """An API server that was away a moment ago, and that forbids everything."""
    monkeypatch.setattr(Answers, "token", "one")
    monkeypatch.setattr(Answers, "status", 403)
    monkeypatch.setattr(connection, "BACKOFF", Backoff(0.0))
    away = [True]
    api = KubeApi(lambda: cluster("http://127.0.0.1:1" if away[0] else server, "one"))
    with pytest.raises(EngineAway, match="does not answer"):
        api.find("Pod", {})
    away[0] = False
    return api


def test_an_api_server_that_forbids_everything_just_after_it_started_is_asked_again(
    forbidding: KubeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = forbidding
    with pytest.raises(EngineAway, match="has just started"):
        api.find("Pod", {})
    monkeypatch.setattr(connection, "SETTLES_WITHIN", 0.0)
    with pytest.raises(Refused):
        api.find("Pod", {})
    api.cluster.client.close()


def test_what_an_api_server_forbids_once_it_says_that_it_is_ready_is_forbidden(
    forbidding: KubeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = forbidding
    monkeypatch.setattr(Answers, "ready", 200)
    with pytest.raises(Refused) as caught:
        api.find("Node", {})
    assert caught.value.status == 403
    assert len(Answers.seen) == 3, "forbidden, ready, and forbidden still"
    with pytest.raises(Refused):
        api.find("Node", {})
    assert len(Answers.seen) == 4, "it is not asked again whether it is ready"
    api.cluster.client.close()
