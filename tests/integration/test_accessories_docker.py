"""Accessories on the real Docker Engine: addresses and names in networks, restarts, and what never touches them."""

from __future__ import annotations

import secrets
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace

import pytest
from docker.errors import NotFound

import docker
from pipeline.adapters.docker.accessories import accessory_name
from pipeline.adapters.docker.volumes.bodies import volume_name
from pipeline.adapters.docker_api import registry
from pipeline.config.settings import Settings
from pipeline.config.workload.accessory import Accessory, AccessoryHealth, Use
from pipeline.domain.accessories import AccessoryRef, AccessorySpec, Attachment
from pipeline.domain.engine_types import SlotSpec
from pipeline.errors import EngineFailed
from pipeline.lib.secret import Secret
from pipeline.ports.clock import Deadline, SystemClock
from tests.conftest import Bench
from tests.support.paths import ROOT
from tests.support.remote_engine import RemoteEngine, remote_engine
from tests.support.waiting import until

PAGE = {"port": 8080, "health": {"tcp": 8080}, "volume": "/kept", "memory": 32 << 20, "stop": 1.0}


@dataclass
class Scene:
    """The sample application as an accessory, and one environment that uses it."""

    bench: Bench
    client: docker.DockerClient
    settings: Settings

    @property
    def ref(self) -> AccessoryRef:
        return AccessoryRef(f"{self.bench.name}-db", "live")

    @property
    def name(self) -> str:
        return accessory_name(self.settings, self.ref)

    def spec(self, **keys: object) -> AccessorySpec:
        config = Accessory(**{**PAGE, "image": self.bench.image, **keys})  # type: ignore[arg-type]
        attached = (Attachment(self.bench.name, self.bench.index, ("db",), 29),)
        return AccessorySpec(
            self.ref, config, attached, {"PASSWORD": 1}, lambda: {"PASSWORD": Secret("pass word")}
        )

    def slot(self) -> SlotSpec:
        spec = self.bench.spec(env={"URL": "http://x:${db.PASSWORD|url}@db"})
        config = spec.config.model_copy(update={"uses": {"db": Use(accessory=self.ref.name)}})
        return replace(spec, config=config, reveal=lambda: {"URL": Secret("http://x:pass%20word@db")})

    def keep(self, spec: AccessorySpec | None = None) -> bool:
        return self.bench.engine.keep_accessory(spec or self.spec(), self.bench.watch())

    def ready(self) -> None:
        until(lambda: not self.bench.engine.accessory_unready(self.spec()))

    def asked(self, command: str, number: int = 1) -> str:
        """What a command in a container of the environment printed."""
        watch, emit = self.bench.watch(), self.bench.events.append
        argv = ("sh", "-c", command)
        return self.bench.engine.command(self.slot(), f"ask-{number}", argv, {}, emit, watch).output

    def inspected(self) -> dict:
        return self.client.api.inspect_container(self.name)


@pytest.fixture(scope="module")
def elsewhere(
    docker_client: docker.DockerClient,
    app_image: str,
    instance: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[RemoteEngine]:
    """A daemon of one's own, which these tests may end."""
    with remote_engine(docker_client, app_image, tmp_path_factory.mktemp("own"), f"{instance}-x") as one:
        yield one


@pytest.fixture
def scene(bench: Bench, docker_client: docker.DockerClient, settings: Settings) -> Iterator[Scene]:
    one = Scene(bench, docker_client, settings)
    yield one
    with suppress(NotFound):  # one that could not be made
        docker_client.api.remove_container(one.name, force=True)
        docker_client.api.remove_volume(volume_name(settings, one.ref.volume))


def test_it_is_reached_by_its_name_at_a_fixed_address(scene: Scene) -> None:
    assert scene.keep()
    scene.ready()
    assert not scene.keep()
    assert "version=1" in scene.asked("wget -qO- 'http://db:8080/?text'")
    [endpoint] = scene.inspected()["NetworkSettings"]["Networks"].values()
    assert endpoint["IPAddress"].endswith((".29", ".93", ".157", ".221"))
    assert scene.asked("echo $URL", 2) == "http://x:pass%20word@db\n"


def test_it_outlives_the_environment_that_uses_it(scene: Scene) -> None:
    engine = scene.bench.engine
    scene.bench.deploy(scene.slot())
    scene.keep()
    made = scene.inspected()["Id"]
    assert engine.remove(scene.bench.ref()) == ""
    assert scene.inspected()["State"]["Running"]
    scene.keep()
    scene.ready()
    assert scene.inspected()["Id"] == made
    assert "version=1" in scene.asked("wget -qO- 'http://db:8080/?text'")


def test_one_that_was_removed_by_hand_comes_back_with_its_data(scene: Scene) -> None:
    scene.keep()
    wrote = scene.bench.engine._api.execute(scene.name, ["sh", "-c", "echo kept >/kept/x"])
    assert wrote == (0, "")  # a new volume is its user's
    scene.client.api.remove_container(scene.name, force=True, v=True)
    assert scene.bench.engine.accessory_state(scene.ref).state == "missing"
    assert scene.keep()
    assert scene.bench.engine._api.execute(scene.name, ["cat", "/kept/x"]) == (0, "kept\n")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_an_engine_that_restarts_brings_it_back_at_its_address(
    number: signal.Signals, elsewhere: RemoteEngine
) -> None:
    """One that ended is started by Docker; after a kill it may be left to the keeper, which does what this does."""

    def back() -> bool:
        engine.keep_accessory(spec, Deadline(SystemClock(), 60))
        return not engine.accessory_unready(spec)

    name, index = elsewhere.name()
    config = Accessory(
        image=elsewhere.remote,
        health=AccessoryHealth(run=("wget", "-qO-", "http://127.0.0.1:8080/healthz")),
        memory=128 << 20,
        stop=1.0,
    )
    ref = AccessoryRef(f"{name}-db", "live", elsewhere.key)
    spec = AccessorySpec(ref, config, (Attachment(name, index, ("db",), 29),))
    engine, api = elsewhere.engine, elsewhere.client.api
    engine.keep_accessory(spec, Deadline(SystemClock(), 60))
    until(lambda: not engine.accessory_unready(spec))
    before = api.inspect_container(accessory_name(elsewhere.settings, ref))
    elsewhere.daemon.restart(number)
    until(back, 60)
    after = api.inspect_container(before["Id"])
    [old], [new] = (one["NetworkSettings"]["Networks"].values() for one in (before, after))
    assert (old["IPAddress"], "db" in new["Aliases"]) == (new["IPAddress"], True)
    assert not engine.keep_accessory(spec, Deadline(SystemClock(), 60))


def test_a_database_whose_engine_is_killed_has_what_it_had_committed(
    docker_client: docker.DockerClient, elsewhere: RemoteEngine
) -> None:
    subprocess.run([ROOT / "scripts" / "images", "databases"], check=True, capture_output=True)
    elsewhere.client.images.load(b"".join(docker_client.images.get("postgres:15").save(named=True)))
    config = Accessory(
        image="postgres:15",
        volume="/var/lib/postgresql/data",
        health=AccessoryHealth(run=("pg_isready", "-h", "127.0.0.1", "-U", "postgres")),
    )
    name, index = elsewhere.name()
    ref = AccessoryRef(f"{name}-db", "live", elsewhere.key)
    password = {"POSTGRES_PASSWORD": Secret(secrets.token_hex(8))}
    attached = (Attachment(name, index, ("db",), 29),)
    spec = AccessorySpec(ref, config, attached, {"POSTGRES_PASSWORD": 1}, lambda: password)
    container, api = accessory_name(elsewhere.settings, ref), elsewhere.engine._api

    def sql(text: str) -> str:
        code, output = api.execute(container, ["psql", "-U", "postgres", "-qtAc", text])
        assert code == 0, output
        return output.strip()

    def back() -> bool:
        elsewhere.engine.keep_accessory(spec, Deadline(SystemClock(), 60))
        return not elsewhere.engine.accessory_unready(spec)

    until(back, 60)
    sql("create table visits (n int); insert into visits select generate_series(1, 1000)")
    elsewhere.daemon.restart(signal.SIGKILL)
    until(back, 120)
    assert sql("select count(*) from visits") == "1000"
    sql("insert into visits values (1001)")


@pytest.mark.parametrize("image", ["127.0.0.1:1/nobody/db:1", "nothing.invalid/db:1"])
def test_an_image_that_cannot_be_had_is_named_with_its_key(
    image: str, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "RETRY_FOR", 1.0)
    with pytest.raises(EngineFailed, match=f"{scene.ref.id} has no image: Pulling {image}") as refused:
        scene.keep(scene.spec(image=image))
    assert f"accessories.{scene.ref.name}" in refused.value.advice
    assert f"`docker pull {image}`" in refused.value.advice
