"""Routes by host name and by port, and the answers if nothing is served yet."""

from __future__ import annotations

import socket
from dataclasses import replace
from pathlib import Path

import pytest

import docker
from pipeline.adapters.haproxy.proxy import Proxy
from pipeline.adapters.http.probe import HttpProbe
from pipeline.config.settings import Settings
from pipeline.domain.engine_types import Answer, Route, SlotRef
from pipeline.errors import EngineFailed
from pipeline.ports.clock import SystemClock
from tests.conftest import Bench
from tests.support.installation import own_settings
from tests.support.ports import free_ports


def by_host(settings: Settings, host: str, path: str = "/?text", **headers: str) -> Answer:
    return HttpProbe().get(Route(f"http://{settings.proxy_http}", {"Host": host, **headers}), path, 5)


def test_host_names_lead_to_their_environment(bench: Bench, settings: Settings) -> None:
    bench.hosts = ("shop.example.com",)
    spec = bench.spec()
    bench.deploy(spec)
    port = settings.proxy_http.rpartition(":")[2]
    for host in ("shop.example.com", f"SHOP.example.com.:{port}", f"{bench.name}-live.localhost:{port}"):
        answer = by_host(settings, host)
        assert (answer.status, b"environment=live" in answer.body) == (200, True)
    unknown = by_host(settings, "elsewhere.example.com")
    assert unknown.status == 404
    assert b"pushlive status" in unknown.body


def test_before_the_first_switch_the_route_says_so(bench: Bench, settings: Settings) -> None:
    bench.engine.prepare(bench.ref(), ())
    answer = by_host(settings, f"{bench.name}-live.localhost")
    assert answer.status == 503
    assert f"{bench.name}-live has no release yet".encode() in answer.body
    assert answer.headers["retry-after"] == "5"


def test_only_checks_learn_which_server_answered(bench: Bench, settings: Settings) -> None:
    spec = bench.spec()
    bench.deploy(spec)
    public = bench.engine.public(spec)
    assert HttpProbe().get(public, "/healthz", 5).served_by in public.expect
    host = f"{bench.name}-live.localhost"
    assert by_host(settings, host).served_by == ""
    assert by_host(settings, host, **{"X-Pushlive-Probe": "guess"}).served_by == ""


def test_a_host_name_moves_to_another_environment_with_its_switch(bench: Bench, settings: Settings) -> None:
    bench.hosts = ("shop.example.com",)
    old = bench.spec()
    bench.deploy(old)
    new = replace(bench.spec(), ref=SlotRef(bench.name, "shop", bench.index + 1, "blue"), release=2)
    try:
        bench.engine.prepare(new.ref, new.hosts)
        bench.stand(new)
        assert "release=r1" in by_host(settings, "shop.example.com", path="/?text").body.decode()
        bench.engine.switch(new)
        assert "release=r2" in by_host(settings, "shop.example.com", path="/?text").body.decode()
        bench.engine.prepare(old.ref, old.hosts)  # as the keeper does
        assert "release=r2" in by_host(settings, "shop.example.com", path="/?text").body.decode()
        bench.engine.unroute(new.ref)
        assert "release=r1" in by_host(settings, "shop.example.com", path="/?text").body.decode()
    finally:
        bench.engine.remove(new.ref)


def test_a_removed_host_name_answers_404(bench: Bench, settings: Settings) -> None:
    bench.engine.prepare(bench.ref(), ("old.example.com",))
    assert by_host(settings, "old.example.com").status == 503
    bench.engine.prepare(bench.ref(), ("new.example.com",))
    assert by_host(settings, "old.example.com").status == 404
    assert by_host(settings, "new.example.com").status == 503


def test_fault_32_a_port_in_use_is_named_before_anything_starts(
    settings: Settings, docker_client: docker.DockerClient, tmp_path: Path
) -> None:
    own = own_settings(tmp_path, f"{settings.instance}-taken", subnets=settings.subnets)
    host, _, port = own.proxy_http.partition(":")
    with socket.socket() as other:
        other.bind((host, int(port)))
        other.listen()
        with pytest.raises(EngineFailed, match=rf"127.0.0.1:{port} is in use.*PUSHLIVE_PROXY_HTTP"):
            Proxy(lambda: docker_client, own, SystemClock()).ensure()
    mine = {"label": f"pushlive.instance={own.instance}"}
    assert docker_client.api.containers(all=True, filters=mine) == []


def test_a_proxy_that_does_not_start_is_quoted(
    settings: Settings, docker_client: docker.DockerClient, tmp_path: Path
) -> None:
    unreachable = f"192.0.2.1:{free_ports(1)}"
    own = own_settings(
        tmp_path, f"{settings.instance}-broken", subnets=settings.subnets, proxy_http=unreachable
    )
    proxy = Proxy(lambda: docker_client, own, SystemClock())
    try:
        with pytest.raises(EngineFailed, match=r"does not start.*192\.0\.2\.1"):
            proxy.ensure()
    finally:
        proxy.stop()


def test_a_long_data_path_and_changed_settings_work(
    settings: Settings, docker_client: docker.DockerClient, tmp_path: Path
) -> None:
    data = tmp_path / ("long" * 30) / "data"
    own = own_settings(data, f"{settings.instance}-long", subnets=settings.subnets)
    proxy = Proxy(lambda: docker_client, own, SystemClock())
    try:
        proxy.add_environment(0, "hello-live", ())
        moved = own.model_copy(update={"proxy_http": f"127.0.0.1:{free_ports(1)}"})
        again = Proxy(lambda: docker_client, moved, SystemClock())
        again.ensure()
        assert by_host(moved, "nobody").status == 404
        assert again.serving(0) is None
        route = Route(f"http://127.0.0.1:{own.port_range[0]}")
        assert b"hello-live has no release" in HttpProbe().get(route, "/", 5).body
    finally:
        proxy.stop()
