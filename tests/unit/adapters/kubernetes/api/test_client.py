"""Connecting to a cluster, and the errors that the API server's answers become."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline.adapters.kubernetes.api import connection, port_forward
from pipeline.adapters.kubernetes.api.client import Refused, connect
from pipeline.adapters.kubernetes.api.kube_api import KubeApi
from pipeline.adapters.kubernetes.api.watch import WatchedObjects
from pipeline.adapters.kubernetes.probe import KubeProbe, proxy_path
from pipeline.domain.engine_types import Route
from pipeline.errors import ConfigError, EngineAway, EngineFailed, PushliveError, TryAgain
from pipeline.lib.retry import Backoff
from tests.support.apiserver import Answer, ApiServer, kubeconfig, listing, serving, status
from tests.support.waiting import until

CLUSTER = "clusters: [{name: c, cluster: {server: 'http://127.0.0.1:1'}}]\n"
USER = "users: [{name: u, user: {token: t}}]\n"
HEAD = "apiVersion: v1\nkind: Config\ncurrent-context: a\ncontexts: [{name: a, context: {cluster: c, user: u}}]\n"


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries without pauses."""
    monkeypatch.setattr(connection, "BACKOFF", Backoff(0.0))


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ApiServer]:
    """An API server that answers 404 by default."""
    with serving(tmp_path, lambda method, path: status(404, "NotFound", "pods is not there")) as one:
        monkeypatch.setenv("KUBECONFIG", str(one.kubeconfig))
        yield one


@pytest.fixture
def api(server: ApiServer) -> KubeApi:
    return KubeApi(lambda: connect("", ""))


def asked(api: KubeApi) -> None:
    api.find("Pod", {})


EVERY: dict[str, Callable[[KubeApi], object]] = {
    "get": lambda api: api.get("Pod", "p"),
    "find": lambda api: api.find("Pod", {}),
    "apply": lambda api: api.apply({"kind": "Service", "metadata": {"name": "s"}}),
    "create": lambda api: api.create({"kind": "Pod", "metadata": {"name": "p"}}),
    "merge": lambda api: api.merge("Deployment", "d", {}),
    "delete": lambda api: api.delete("Pod", "p"),
    "output": lambda api: api.output("p", 5),
    "follow": lambda api: api.follow("p"),
    "watch": lambda api: api.watch("Pod", {}, "1"),
}


# ── connecting ───────────────────────────────────────────────────


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{[",
        "[1, 2]",
        "hello",
        "apiVersion: v1\nkind: Config\n",
        HEAD + USER + "clusters: []\n",
        HEAD + USER + "clusters: [{name: c, cluster: {}}]\n",
        HEAD + USER + "clusters: [{name: c, cluster: {server: 'http://'}}]\n",
        HEAD + USER + "clusters: [{name: c, cluster: {server: 'ftp://x'}}]\n",
        HEAD + USER + "clusters: [{name: c, cluster: {server: 'http://127.0.0.1:99999'}}]\n",
        HEAD
        + USER
        + "clusters: [{name: c, cluster: {server: 'https://x', certificate-authority: /nowhere}}]\n",
        HEAD
        + USER
        + "clusters: [{name: c, cluster: {server: 'https://x', certificate-authority-data: '!!x'}}]\n",
    ],
)
def test_a_malformed_kubeconfig_is_a_configuration_error(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "config"
    path.write_text(text)
    monkeypatch.setenv("KUBECONFIG", str(path))
    with pytest.raises(ConfigError, match="Cannot connect to the Kubernetes cluster") as raised:
        asked(KubeApi(lambda: connect("", "")))
    assert str(path) in raised.value.message
    assert "KUBECONFIG" in raised.value.advice


def test_an_unknown_context_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig(tmp_path / "config", "http://127.0.0.1:1")))
    with pytest.raises(ConfigError, match="the context elsewhere of the kubeconfig"):
        asked(KubeApi(lambda: connect("elsewhere", "")))


def test_without_a_kubeconfig_the_error_names_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "nowhere"))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(ConfigError, match="nowhere"):
        connect("", "")


def test_a_pod_without_a_service_account_is_a_configuration_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "nowhere"))
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    with pytest.raises(ConfigError, match="this pod's service account"):
        connect("", "")


def test_the_namespace_defaults_to_the_contexts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig(tmp_path / "config", "http://127.0.0.1:1")))
    assert connect("", "").namespace == "shop"
    assert connect("test", "other").namespace == "other"


def test_an_api_server_that_does_not_listen_raises_try_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as held:  # bound and not listening: no other process gets this port
        held.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{held.getsockname()[1]}"
        monkeypatch.setenv("KUBECONFIG", str(kubeconfig(tmp_path / "config", address)))
        api = KubeApi(lambda: connect("", ""))
        for act in EVERY.values():
            with pytest.raises(TryAgain, match=f"the Kubernetes API at {address} does not answer"):
                act(api)


# ── answers ──────────────────────────────────────────────────


@pytest.mark.parametrize("code", [408, 429, 500, 502, 503, 504])
def test_a_transient_status_raises_try_again(code: int, server: ApiServer, api: KubeApi) -> None:
    server.answers = lambda method, path: status(code, "Whatever", "etcdserver: request timed out")
    for act in EVERY.values():
        with pytest.raises(TryAgain, match=f"answered {code}: etcdserver: request timed out"):
            act(api)


@pytest.mark.parametrize("code", [409, 429, 500, 503])
def test_a_busy_api_server_is_asked_again(code: int, server: ApiServer, api: KubeApi) -> None:
    for act in EVERY.values():
        busy = iter((True, True, True))
        server.answers = lambda method, path, busy=busy: (  # type: ignore[misc]
            status(code, "Conflict", "busy") if next(busy, False) else listing()
        )
        act(api)
    assert len(server.asked) == 4 * len(EVERY)


def test_a_request_that_took_long_is_not_repeated(
    server: ApiServer, api: KubeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The caller has better things to do than wait for the same silence again."""
    monkeypatch.setattr(connection, "RETRY_WITHIN", -1.0)
    server.answers = lambda method, path: status(503, "ServiceUnavailable", "busy")
    with pytest.raises(EngineAway):
        asked(api)
    assert len(server.asked) == 1


@pytest.mark.parametrize("body", ["", "<html>upstream</html>", "[]", '"no"'])
def test_an_answer_of_a_proxy_in_between_raises_try_again(body: str, server: ApiServer, api: KubeApi) -> None:
    server.answers = lambda method, path: (502, body)
    for act in EVERY.values():
        with pytest.raises(TryAgain, match="answered 502"):
            act(api)


def test_a_conflict_raises_try_again_and_an_existing_object_is_no_error(
    server: ApiServer, api: KubeApi
) -> None:
    server.answers = lambda method, path: status(409, "Conflict", "the object has been modified")
    with pytest.raises(TryAgain, match="has been modified"):
        EVERY["apply"](api)
    server.answers = lambda method, path: status(409, "AlreadyExists", 'pods "p" already exists')
    assert EVERY["create"](api) is False


@pytest.mark.parametrize(("code", "reason"), [(401, "Unauthorized"), (403, "Forbidden"), (422, "Invalid")])
def test_a_refusal_is_an_engine_error_with_status_and_reason(
    code: int, reason: str, server: ApiServer, api: KubeApi
) -> None:
    server.answers = lambda method, path: status(code, reason, "no")
    for act in EVERY.values():
        with pytest.raises(Refused, match=f"answered {code}: no") as raised:
            act(api)
        assert (raised.value.status, raised.value.reason) == (code, reason)
        assert ("docs/kubernetes.md" in raised.value.advice) == (code in (401, 403))


def test_a_missing_object_is_no_error(api: KubeApi) -> None:
    assert api.get("Pod", "p") is None
    assert api.merge("Pod", "p", {}) is None
    assert api.delete("Pod", "p") is None
    assert api.output("p", 5) == ()


def test_what_the_kubelet_says_of_a_removed_container_is_no_output(server: ApiServer, api: KubeApi) -> None:
    server.answers = lambda method, path: (200, "unable to retrieve container logs for containerd://12280d8d")
    assert api.output("p", 5) == ()
    server.answers = lambda method, path: (200, "no queue\nunable to retrieve container logs for it\n")
    assert api.output("p", 5) == ("no queue", "unable to retrieve container logs for it")


def test_events_that_cannot_be_read_are_empty(server: ApiServer, api: KubeApi) -> None:
    server.answers = lambda method, path: status(403, "Forbidden", "events is forbidden")
    assert api.events("Pod", "p") == []


@pytest.mark.parametrize("body", ["<html>hello</html>", "", "[1]", "{}"])
def test_a_server_that_is_not_a_kubernetes_api_is_an_engine_error(
    body: str, server: ApiServer, api: KubeApi
) -> None:
    server.answers = lambda method, path: (200, body)
    with pytest.raises(EngineFailed, match="is not a Kubernetes API") as raised:
        asked(api)
    assert "`server`" in raised.value.advice


def test_an_incomplete_answer_raises_try_again(server: ApiServer, api: KubeApi) -> None:
    server.answers = lambda method, path: (200, [b'{"kind": "List", "ite'])
    with pytest.raises(TryAgain, match="does not answer"):
        asked(api)


def test_a_token_that_cannot_be_sent_is_an_engine_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "config"
    path.write_text(HEAD + CLUSTER + "users: [{name: u, user: {token: 'to\u2022ken'}}]\n")
    monkeypatch.setenv("KUBECONFIG", str(path))
    with pytest.raises(EngineFailed, match="listing pods"):
        asked(KubeApi(lambda: connect("", "")))


def test_a_missing_permission_to_forward_ports_is_not_a_refused_connection(
    server: ApiServer, api: KubeApi
) -> None:
    server.answers = lambda method, path: status(403, "Forbidden", "pods/portforward is forbidden")
    with pytest.raises(EngineFailed, match="answered 403"):
        port_forward.check_port(api, "p", 80, 1.0)
    server.answers = lambda method, path: status(404, "NotFound", 'pods "p" not found')
    with pytest.raises(TryAgain, match="answered 404"):
        port_forward.check_port(api, "p", 80, 1.0)


def test_a_403_of_the_api_servers_proxy_is_an_error_and_one_of_the_application_an_answer(
    server: ApiServer, api: KubeApi
) -> None:
    pods = {"endpoints": [{"targetRef": {"name": "hello-live-blue-abc-1"}}], "metadata": {"name": "x"}}
    slices = 200, {"kind": "List", "metadata": {"resourceVersion": "1"}, "items": [pods]}
    forbidden = status(
        403, "Forbidden", 'services "x" is forbidden: User "u" cannot get resource "services/proxy"'
    )
    own = 403, {"kind": "Status", "message": "members only"}
    route = Route(proxy_path(api, "hello-live"), {}, ("hello-live-blue-abc",), "shop/hello-live")
    for said in (own, forbidden):
        server.answers = lambda method, path, said=said: said if "proxy" in path else slices  # type: ignore[misc]
        if said is own:
            assert KubeProbe(api).get(route, "/", 5).status == 403
        else:
            with pytest.raises(Refused, match="services/proxy"):
                KubeProbe(api).get(route, "/", 5)


# ── watching ────────────────────────────────────────────────────────────────


def line(kind: str, name: str) -> bytes:
    return json.dumps({"type": kind, "object": {"metadata": {"name": name}}}).encode() + b"\n"


def test_changes_are_followed_through_broken_streams(server: ApiServer, api: KubeApi) -> None:
    streams = [[line("ADDED", "b")[:20]], [line("ADDED", "c") + line("DELETED", "a")]]

    def answers(method: str, path: str) -> Answer:
        return (200, streams.pop(0) if streams else []) if "watch=true" in path else listing("a")

    server.answers = answers
    seen = set()
    with WatchedObjects(api, ("Pod",), {}) as watched:
        until(
            lambda: (
                seen.add(tuple(one["metadata"]["name"] for one in watched.objects("Pod"))) or ("c",) in seen
            )
        )
        until(lambda: watched.breaks >= 2)
    assert ("a",) in seen


def test_a_server_that_ends_every_stream_at_once_is_not_flooded(server: ApiServer, api: KubeApi) -> None:
    server.answers = lambda method, path: (200, []) if "watch=true" in path else listing()
    with WatchedObjects(api, ("Pod",), {}) as watched:
        until(lambda: watched.breaks >= 3)
        until(lambda: watched.silence() > 0.2)
    assert len(server.asked) < 20


@pytest.mark.parametrize(
    "answer",
    [status(403, "Forbidden", "pods is forbidden"), (200, "<html>"), status(401, "Unauthorized", "no")],
)
def test_an_error_that_waiting_cannot_resolve_is_raised_by_wait(
    answer: Answer, server: ApiServer, api: KubeApi
) -> None:
    server.answers = lambda method, path: answer
    with WatchedObjects(api, ("Pod",), {}) as watched, pytest.raises(EngineFailed):
        until(lambda: watched.wait(0.1) and False)


def test_a_lost_kubeconfig_is_raised_by_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "nowhere"))
    with (
        WatchedObjects(KubeApi(lambda: connect("", "")), ("Pod",), {}) as watched,
        pytest.raises(PushliveError),
    ):
        until(lambda: watched.wait(0.1) and False)


def test_silence_is_counted_from_the_last_answer(server: ApiServer, api: KubeApi) -> None:
    server.answers = lambda method, path: status(503, "ServiceUnavailable", "not yet")
    with WatchedObjects(api, ("Pod", "Deployment"), {}) as watched:
        until(lambda: watched.silence() > 0.3)
        assert not watched.complete()
