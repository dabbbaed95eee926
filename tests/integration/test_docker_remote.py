"""An environment on a remote Docker Engine: what the contract does not cover."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

import docker
from pipeline.adapters.docker.remote import pair, proxy
from pipeline.adapters.docker_api.client import client
from pipeline.adapters.docker_api.exec_tunnel import RELAY
from pipeline.adapters.haproxy import config, remote
from pipeline.config.https.keys import Hsts
from pipeline.config.https.policy import HostPolicy
from pipeline.config.models import Where
from pipeline.config.settings import Settings
from pipeline.domain.engine_types import Route, SlotRef, SlotSpec
from pipeline.errors import AppFailed, EngineAway, EngineFailed, TryAgain
from pipeline.ports.clock import Deadline, SystemClock
from tests.support.certificates import Authority, asked
from tests.support.developer import web
from tests.support.local_registry import registry
from tests.support.ports import free_ports
from tests.support.remote_engine import RemoteEngine
from tests.support.service import PUSHLIVE, Service, get, running
from tests.support.specs import SAMPLE, slot_spec
from tests.support.waiting import until

_releases = itertools.count(1)


def watch(seconds: float = 40.0) -> Deadline:
    return Deadline(SystemClock(), seconds)


def new_ref(there: RemoteEngine, slot: str = "blue") -> SlotRef:
    name, index = there.name()
    return SlotRef(name, "live", index, slot, there.key)


def spec_of(there: RemoteEngine, ref: SlotRef, **service: object) -> SlotSpec:
    hosts = (f"{ref.pipeline}.example",)
    return slot_spec(ref, next(_releases), remote=there.remote, hosts=hosts, **{**SAMPLE, **service})


def deploy(there: RemoteEngine, spec: SlotSpec) -> None:
    there.engine.prepare(spec.ref, spec.config.hosts)
    there.engine.start(spec, watch())
    there.engine.ready(spec, lambda event: None, watch())
    there.engine.expose(spec)
    there.engine.switch(spec)


def told(there: RemoteEngine, spec: SlotSpec) -> tuple[int, str]:
    """The status and body that the machine's public port answers."""
    return get(f"http://{there.settings.proxy_http}/?text", Host=spec.config.hosts[0])


def test_the_public_port_serves_and_the_switch_moves_requests(there: RemoteEngine) -> None:
    blue = spec_of(there, new_ref(there))
    deploy(there, blue)
    assert f"release=r{blue.release} environment=live" in told(there, blue)[1]
    green = spec_of(there, replace(blue.ref, slot="green"))
    deploy(there, replace(green, config=blue.config))
    assert f"release=r{green.release} environment=live" in told(there, blue)[1]
    there.engine.remove(blue.ref)
    assert told(there, blue)[0] == 404


def test_a_host_is_shared_by_paths_there_as_well(there: RemoteEngine) -> None:
    site, part = new_ref(there), new_ref(there)

    def answers(host: str, path: str, ref: SlotRef) -> bool:
        body = get(f"http://{there.settings.proxy_http}{path}", Host=host)[1]
        return f"{ref.pipeline}-live has no release" in body

    try:
        there.engine.prepare(site, ("shared.example", "*.shared.example"))
        there.engine.prepare(part, ("shared.example/api",))
        assert answers("shared.example", "/apix", site)
        assert answers("a.shared.example", "/api", site)
        assert answers("shared.example", "/api/x", part)
    finally:
        for ref in (site, part):
            there.engine.remove(ref)


def test_the_proxy_restarts_with_the_last_wanted_state(there: RemoteEngine) -> None:
    spec = spec_of(there, new_ref(there))
    deploy(there, spec)
    name = f"{there.settings.instance}-proxy"
    there.client.api.restart(name, timeout=0)
    until(lambda: answers(there, spec))
    there.client.api.remove_container(name, force=True)
    assert there.engine.serving(spec.ref) == "blue"  # created again, in the same networks
    assert f"release=r{spec.release} " in told(there, spec)[1]
    there.engine.remove(spec.ref)


def test_fault_54_a_remote_proxy_that_is_paused_or_hangs_is_repaired(
    there: RemoteEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = spec_of(there, new_ref(there))
    deploy(there, spec)
    name, proxy = f"{there.settings.instance}-proxy", there.engine._proxy
    assert re.fullmatch(
        rf"{name} answers commands and requests; its limit of \d+ open files .*", proxy.examine()
    )
    there.client.api.pause(name)
    assert proxy.repair() == [f"the proxy {name} was paused: it was resumed"]
    until(lambda: answers(there, spec))
    monkeypatch.setattr(remote, "ANSWER", 2.0)
    there.client.api.kill(name, "STOP")
    with pytest.raises(EngineAway, match="neither commands nor requests"):
        proxy.examine()
    assert "was restarted" in " ".join(proxy.repair(by_hand=True))
    until(lambda: answers(there, spec))
    there.engine.remove(spec.ref)


def answers(there: RemoteEngine, spec: SlotSpec) -> bool:
    try:
        return told(there, spec)[0] == 200
    except OSError:
        return False


def test_preview_and_control_are_not_reachable_from_outside(there: RemoteEngine) -> None:
    spec = spec_of(there, new_ref(there))
    deploy(there, spec)
    found = there.client.api.inspect_container(f"{there.settings.instance}-proxy")
    assert [port for port, bound in found["NetworkSettings"]["Ports"].items() if bound] == ["8080/tcp"]
    assert found["Config"]["User"] == "65534:65534"
    assert (
        told(there, replace(spec, config=spec.config.model_copy(update={"hosts": ("x.example",)})))[0] == 404
    )
    [replica] = there.engine.replicas(spec.ref)
    inside = there.client.api.exec_create(
        replica.name, ["nc", "-w", "1", f"{replica.address[:-1]}62", "9901"]
    )
    there.client.api.exec_start(inside["Id"])
    assert there.client.api.exec_inspect(inside["Id"])["ExitCode"] == 1
    there.engine.remove(spec.ref)


def test_an_application_on_a_remote_engine_is_diagnosed_as_on_the_local_one(there: RemoteEngine) -> None:
    spec = spec_of(there, new_ref(there), command=("httpd", "-f", "-p", "9090", "-h", "/www"), ready=2.0)
    there.engine.prepare(spec.ref, ())
    there.engine.start(spec, watch())
    with pytest.raises(AppFailed, match="listens on port 9090, not on 8080") as raised:
        there.engine.ready(spec, lambda event: None, watch())
    assert "connection refused" in raised.value.evidence[0]
    there.engine.remove(spec.ref)


def test_the_probe_explains_failures(there: RemoteEngine) -> None:
    silent = "nc -l -p 9091 -e sleep 60 & exec httpd -f -p 8080 -h /www"
    spec = spec_of(there, new_ref(there), command=("sh", "-c", silent))
    deploy(there, spec)
    [replica] = there.engine.replicas(spec.ref)
    assert there.probe.tcp(replica.address, replica.port, 5) < 5
    with pytest.raises(TryAgain, match="connection refused, nothing listens there"):
        there.probe.tcp(replica.address, 9, 5)
    with pytest.raises(TryAgain, match="connection refused, nothing listens there"):
        there.probe.get(Route(f"http://{replica.address}:9"), "/", 5)
    with pytest.raises(TryAgain, match=r"no complete answer within 0\.5 s"):
        there.probe.get(Route(f"http://{replica.address}:9091"), "/", 0.5)
    there.engine.remove(spec.ref)


def test_a_port_in_use_there_is_named_with_its_setting(there: RemoteEngine) -> None:
    settings = there.settings.model_copy(
        update={"instance": f"{there.settings.instance}x", "data": there.settings.data / "x"}
    )
    engine, _ = pair(Where(docker=there.daemon.tcp), settings, SystemClock())
    there.engine.serving(new_ref(there))  # its proxy has the port
    with pytest.raises(
        EngineFailed, match=f"{settings.proxy_http} is already in use on the Engine's machine"
    ) as raised:
        engine.serving(new_ref(there))
    assert "PUSHLIVE_PROXY_HTTP" in raised.value.advice
    there.client.api.remove_container(f"{settings.instance}-proxy", force=True, v=True)


def secured(there: RemoteEngine, name: str, https: str) -> remote.RemoteProxy:
    """The proxy of another installation on that machine."""
    first = free_ports(2)
    changes = {
        "instance": f"{there.settings.instance}{name}",
        "data": there.settings.data / name,
        "proxy_http": f"127.0.0.1:{first}",
        "proxy_https": https or f"127.0.0.1:{first + 1}",
        "subnets": there.more_subnets,
    }
    settings = there.settings.model_copy(update=changes)
    (settings.data / "tls").mkdir(parents=True)
    return proxy(Where(docker=there.daemon.tcp), settings, SystemClock())


def test_https_ends_there_as_well(there: RemoteEngine) -> None:
    one, authority = secured(there, "s", ""), Authority()
    settings, container = one.settings, f"{one.settings.instance}-proxy"
    pem = one._data / "tls" / "far.pem"
    try:
        assert one.secure({}) == ([], [])  # it does not run, and is not started for that
        one.ensure()
        one.add_environment(0, "far-live", ("far.example",))
        pem.write_text(authority.issue("far.example"))
        policies = {"far.example": HostPolicy(hsts=Hsts(max_age=60.0))}
        assert one.secure(policies) == (["far.pem"], [])
        assert asked(settings, "far.example", "/a?b") == (308, "https://far.example/a?b", "")
        assert asked(settings, "far.example", authority=authority) == (503, "", "max-age=60")
        assert one.schemes.of("far.example") == "https"
        listed = there.client.containers.get(container).exec_run(
            "stat -c '%a %u %n' /proxy/certificates/far.auto"
        )
        assert listed.output.decode().split() == ["600", "65534", "/proxy/certificates/far.auto"]

        there.client.api.restart(container, timeout=0)
        until(lambda: one._control.answers())
        assert asked(settings, "far.example", authority=authority)[0] == 503
        with one._folder.locked():  # a second process in the container takes over
            one._container.replace()
            one._container.handover.decide(65.0)
            one._container.handover.retire()
        assert asked(settings, "far.example", authority=authority)[0] == 503
        pem.unlink()
        assert one.secure(policies) == (["far.auto"], [])
        assert asked(settings, "far.example")[0] == 503
        assert there.client.containers.get(container).exec_run("ls /proxy/certificates").output == b""
    finally:
        one.stop()


def test_a_port_for_https_in_use_there_leaves_http(there: RemoteEngine) -> None:
    there.engine.serving(new_ref(there))  # its proxy has the port
    one = secured(there, "t", there.settings.proxy_http)
    try:
        one.ensure()
        assert asked(one.settings, "far.example")[0] == 404
        assert "It serves no HTTPS" in one.examine()
        assert one.secure({}) == ([], [])
        one.ensure()
    finally:
        one.stop()


CONFIG = """
pipelines:
  hello:
    registry: REGISTRY/hello
    service: {memory: 128MiB, stop: 1s}
    smoke: [{get: /, contains: version}, {tcp: 8080}, {run: [sh, -c, 'wget -qO- "$PUSHLIVE_URL"']}]
    environments: {live: {engine: {docker: 'HOST'}, host: shop.example}}
"""


def test_a_push_goes_live_on_another_machine_and_comes_back(
    there: RemoteEngine,
    docker_client: docker.DockerClient,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    with registry() as shelf:
        text = CONFIG.replace("REGISTRY", shelf.host).replace("HOST", there.daemon.tcp)
        with running(docker_client, text, PUSHLIVE_SUBNETS=there.more_subnets) as service:
            for number in (1, 2):
                service.push(web(f"version {number}"), f"Version {number}")
                run = service.wait(f"hello#{number}")
                assert run["outcome"] == "live", run["failure"]
                page = get(f"http://{service.proxy}/", Host="shop.example")
                assert page == (200, f"version {number}\n")
            assert f"{there.key}" in service.pushlive("doctor").text
            tools(service, tmp_path)
            service.pushlive("revert", "hello")
            until(lambda: get(f"http://{service.proxy}/", Host="shop.example")[1] == "version 1\n", 30)
            assert service.containers() == []  # nothing runs on this machine
            mine = {"label": f"pushlive.instance={service.instance}"}
            assert len(there.client.api.containers(filters=mine)) == 3  # two slots and the proxy
            service.end()
            replaced = with_another_configuration(there, service, monkeypatch)
            service.up()
            until(lambda: replaced in service.output, 60)  # by this version's, in the keeper's first round
            assert get(f"http://{service.proxy}/", Host="shop.example") == (200, "version 1\n")
            service.end()
            service.pushlive("down", "--all")
            assert there.client.api.containers(all=True, filters=mine) == []
            assert there.client.api.networks(filters=mine) == []
            volumes = there.client.api.volumes()["Volumes"] or []
            assert f"{service.instance}-proxy" not in {one["Name"] for one in volumes}


def tools(service: Service, folder: Path) -> None:
    """What people do with containers, by the command line, as on this machine's own Engine."""
    assert service.pushlive(
        "run", "hello", "live", "--", "sh", "-c", "echo $PUSHLIVE_RELEASE; exit 7", code=7
    ).out
    assert service.pushlive("exec", "hello", "live", "--", "cat", "/www/index.html").out == "version 2\n"
    service.pushlive("cp", "hello", "live:/www/index.html", "./page", cwd=folder)
    assert (folder / "page").read_text() == "version 2\n"
    [used] = json.loads(service.pushlive("stats", "hello", "live", "--json").out)["containers"]
    assert 0 < used["memory"] < used["limit"] == 128 << 20
    follower = [*PUSHLIVE, "logs", "hello", "live", "-f"]
    with subprocess.Popen(follower, env=service.environ, stdout=subprocess.PIPE, text=True) as following:
        try:
            assert "hello-live-green-r2-1 was restarted" in service.pushlive("restart", "hello", "live").text
            service.pushlive(
                "exec", "hello", "live", "--", "sh", "-c", "echo after the restart >/proc/1/fd/1"
            )
            assert following.stdout
            assert any("after the restart" in line for line in following.stdout)  # ends at the first
        finally:
            following.terminate()
    assert get(f"http://{service.proxy}/", Host="shop.example") == (200, "version 2\n")


def with_another_configuration(there: RemoteEngine, service: Service, patch: pytest.MonkeyPatch) -> str:
    """The service's proxy there has that of another version from now on; what is said once it is replaced."""
    own = Settings(
        data=service.data,
        instance=service.instance,
        ports=service.environ["PUSHLIVE_PORTS"],
        proxy_http=service.proxy,
        preview_port=int(service.environ["PUSHLIVE_PREVIEW_PORT"]),
        subnets=there.more_subnets,
    )
    other = proxy(Where(docker=there.daemon.tcp), own, SystemClock())
    with patch.context() as changed:
        head = config._HEAD.replace("    nbthread 2\n", "    nbthread 2\n    maxconnrate 100000\n")
        changed.setattr(config, "_HEAD", head)
        [said] = other.renew(60)
        until(lambda: other.tend(lambda: 0) or other._remote.handover.first() is None, 30)
    return said


def test_an_engine_that_does_not_answer_is_worth_a_retry() -> None:
    with pytest.raises(TryAgain, match="Connecting to Docker"):
        client(host=f"tcp://127.0.0.1:{free_ports(1)}")


def test_bash_relays_if_there_is_no_netcat(there: RemoteEngine, tmp_path: object) -> None:
    """As in images based on Debian: no netcat in PATH."""
    for program in ("bash", "cat"):
        found = subprocess.run(
            ["sh", "-c", f"command -v {program}"], capture_output=True, text=True, check=True
        )
        (tmp_path / program).symlink_to(found.stdout.strip())  # type: ignore[operator]
    host, _, port = there.settings.proxy_http.rpartition(":")
    asked = subprocess.Popen(
        ["/bin/sh", "-c", RELAY, "relay", host, port], env={"PATH": str(tmp_path)},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    with asked:
        assert asked.stdin
        assert asked.stdout
        asked.stdin.write(b"GET / HTTP/1.1\r\nHost: x.example\r\nConnection: close\r\n\r\n")
        asked.stdin.flush()
        assert asked.stdout.read().startswith(b"HTTP/1.1 404")
