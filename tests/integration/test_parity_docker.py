"""Changes by hand on the real Docker Engine: each is found with the next look, named, and taken back if it is asked."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest

import docker
from pipeline.adapters.docker_api.labels import Body
from pipeline.config.parity.properties import IMAGE, properties
from pipeline.domain.engine_types import SlotSpec
from pipeline.domain.parity import seen
from pipeline.domain.parity.matrix import Column, told_apart, undeclared
from pipeline.errors import EngineFailed
from pipeline.lib.secret import Secret
from tests.conftest import Bench


@dataclass
class Live:
    """A release with two replicas and a secret, and one just like it, which no one touches."""

    bench: Bench
    client: docker.DockerClient
    spec: SlotSpec

    @property
    def names(self) -> list[str]:
        return [one.name for one in self.bench.engine.replicas(self.spec.ref)]

    def differences(self) -> dict[str, list[str]]:
        """What one look finds: by property, what it should be and what it is."""
        made = {IMAGE: seen.image(self.spec.image), **properties(self.spec.config)}
        found = self.bench.engine.seen(self.spec)
        both = {**made, **found.inside}
        runs = {name: value for name, value in both.items() if value is not None}
        rows = undeclared((Column("qa", made, made, made), Column("live", made, runs, made)))
        return {row.name: [cell.text for cell in told_apart(row).cells] for row in rows}

    def recreate(self, **changes: Any) -> str:
        """The first container is made again under its name and with its labels; its name. ``HostConfig`` is merged."""
        name = self.names[0]
        body: Body = {**self.bench.engine._bodies(self.spec)[name]}
        host = {
            **body["HostConfig"],
            **changes.pop("HostConfig", {}),
            "RestartPolicy": {"Name": "unless-stopped"},
        }
        body |= {"HostConfig": host, "Env": [*body["Env"], "TOKEN=of the house"], **changes}
        api = self.client.api
        api.remove_container(name, force=True)
        api.start(api.create_container_from_config(body, name))
        return name

    def back(self) -> None:
        """Nothing differs once it is taken back."""
        self.bench.engine.revert_drift(self.spec)
        assert self.bench.engine.drift(self.spec) == ()
        assert self.differences() == {}
        assert self.bench.engine.missing(self.spec) == ()


@pytest.fixture(scope="module")
def live(engine: Any, app_image: str, docker_client: docker.DockerClient) -> Iterator[Live]:
    bench = Bench(engine, app_image, "parity", 7)
    spec = bench.spec(
        replicas=2, env={"GREETING": "hello"}, volumes={"data": {"path": "/data"}}, secrets=("TOKEN",)
    )
    spec = replace(spec, secrets={"TOKEN": 1}, reveal=lambda: {"TOKEN": Secret("of the house")})
    bench.deploy(spec)
    yield Live(bench, docker_client, spec)
    engine.remove(bench.ref())


def docker_cli(*words: str) -> None:
    subprocess.run(["docker", *words], check=True, capture_output=True, text=True)


IN_PLACE = {
    "memory": (
        ["--memory=64m", "--memory-swap=64m"],
        "memory: 128 MiB → 64 MiB",
        ["128 MiB", "64 MiB and 128 MiB"],
    ),
    "swap": (["--memory-swap=-1"], "memory: 128 MiB → 128 MiB, and swap", None),
    "cpu": (["--cpus=0.25"], "cpu: 1 → 0.25", ["1", "0.25 and 1"]),
    "pids": (["--pids-limit=99"], "pids: 512 → 99", ["512", "99 and 512"]),
    "restart policy": (["--restart=no"], "restart policy: unless-stopped → no", None),
}


def test_docker_update_is_found_with_its_time_and_taken_back_in_place(live: Live) -> None:
    """One after the other, each with the next look."""
    assert live.differences() == {}
    name = live.names[0]
    before = live.client.api.inspect_container(name)["State"]["StartedAt"]
    for case, (words, line, values) in IN_PLACE.items():
        docker_cli("update", *words, name)
        [found] = live.bench.engine.drift(live.spec)
        assert found.startswith(f"{name}: {line} (20")
        assert found.endswith(" UTC)")
        assert live.differences() == ({case: values} if values else {})
        assert live.bench.engine.missing(live.spec) == (), "the keeper leaves it as it is"
        live.back()
    assert live.client.api.inspect_container(name)["State"]["StartedAt"] == before, "it was not restarted"


def test_a_network_that_was_joined_is_found_and_left(live: Live, instance: str) -> None:
    network = live.client.networks.create(f"{instance}-other", labels={"pushlive.instance": instance})
    try:
        docker_cli("network", "connect", str(network.name), live.names[0])
        assert live.bench.engine.drift(live.spec) == (f"{live.names[0]}: networks: nothing → {network.name}",)
        assert live.differences() == {"networks": ["none", str(network.name)]}
        live.back()
    finally:
        network.remove()


AGAIN: dict[str, tuple[dict[str, Any], str, str, list[str]]] = {
    "a variable more": (
        {"Env": ["GREETING=hello", "TOKEN=x", "DEBUG=1"]}, "env.DEBUG: nothing → •••", "env.DEBUG", ["none", "set"],
    ),
    "another value": (
        {"Env": ["GREETING=hidden word", "TOKEN=x"]}, "env.GREETING: ••• → •••", "env.GREETING",
        ["set", "set, not all alike"],
    ),
    "no secret": ({"Env": ["GREETING=hello"]}, "secrets.TOKEN: ••• → nothing", "secrets.TOKEN", ["set", "none"]),
    "another image": (
        {"Image": "busybox:1.36", "Cmd": ["sleep", "99"]}, "image: sha256:", "image", [],
    ),
    "another volume": (
        {"HostConfig": {"Mounts": [{"Type": "bind", "Source": "/tmp", "Target": "/data"}]}},
        "the mount /data: ", "volumes.data", [],
    ),
}  # fmt: skip


def test_a_container_that_was_made_again_is_found(live: Live) -> None:
    """One after the other, each with the next look."""
    body = live.bench.engine._bodies(live.spec)[live.names[0]]
    own = [one for one in body["Env"] if not one.startswith("GREETING=")]
    for changes, line, name, texts in AGAIN.values():
        if "Env" in changes:
            changes = {"Env": [*own, *changes["Env"]]}
        container = live.recreate(**changes)
        lines = live.bench.engine.drift(live.spec)
        assert any(one.startswith(f"{container}: {line}") and one.endswith(" UTC)") for one in lines), lines
        assert "hidden word" not in "".join(lines)
        found = live.differences()
        assert name in found
        if texts:  # the replica beside it is as it was
            assert found[name] == texts
        with pytest.raises(EngineFailed, match="was made again by hand") as refused:
            live.bench.engine.revert_drift(live.spec)
        assert f"docker rm -f {container}" in refused.value.advice
    docker_cli("rm", "-f", container)
    live.back()


def test_a_container_that_was_removed_is_found_and_made_again(live: Live) -> None:
    gone, left = live.names
    docker_cli("rm", "-f", gone)
    assert live.differences() == {"replicas": ["2", "1"]}
    assert live.bench.engine.missing(live.spec) == (f"{gone} is missing",)
    live.back()
    assert live.names == [gone, left]


def test_what_is_around_a_slot_is_known_before_anything_runs_there(live: Live) -> None:
    spec = live.bench.spec("green", 2)
    found = live.bench.engine.seen(spec)
    assert found.inside == {}
    assert found.around["engine.version"].text == f"Docker {live.client.version()['Version']}"
    assert found.around["tls"].text == "off"
