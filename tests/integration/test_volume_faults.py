"""A restore on the real Docker Engine, killed between its steps or without space: no file is lost or mixed."""

from __future__ import annotations

import io
import tarfile
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest

import docker
from pipeline.adapters.docker.accessories import accessory_name
from pipeline.adapters.docker.volumes import docker_volumes
from pipeline.adapters.docker.volumes.bodies import volume_body, volume_name
from pipeline.adapters.docker_api import labels
from pipeline.adapters.volume_scripts import _BASICS, RESTORED
from pipeline.config.settings import Settings
from pipeline.config.workload.accessory import Accessory
from pipeline.domain.accessories import AccessoryRef, AccessorySpec, Attachment
from pipeline.errors import EngineFailed
from tests.conftest import Bench
from tests.support.waiting import until

OLD = {"a": "old", "b": "old"}
NEW = {"b": "new", "c": "new"}
STOPS = "touch /tmp/there; sleep 100"
# The steps of a swap, up to where it is killed; and what the next start has.
KILLED = {
    "while the old ones go": (f"{_BASICS}mkdir $old; mv ./a $old/; {STOPS}", OLD),
    "while the new ones come": (
        f"{_BASICS}mkdir $old; each . $old; mv $new $ready; mv $ready/b .; {STOPS}",
        NEW,
    ),
}


def packed(files: dict[str, str]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(f"./{name}")
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
    return out.getvalue()


@pytest.fixture
def spec(bench: Bench) -> Iterator[AccessorySpec]:
    command = ("sh", "-c", "trap exit TERM; sleep 100 & wait")
    config = Accessory(image=bench.image, command=command, volume="/kept", memory=32 << 20, stop=5.0)
    ref, attached = (
        AccessoryRef(f"{bench.name}-db", "live"),
        (Attachment(bench.name, bench.index, ("db",), 29),),
    )
    yield AccessorySpec(ref, config, attached)
    bench.engine._forget_helpers(volume_name(bench.engine._settings, ref.volume))
    bench.engine.remove_accessory(ref)
    bench.engine.remove_volume(ref.volume)


def swapping(client: docker.DockerClient, settings: Settings) -> list[docker.models.containers.Container]:
    own = [labels.SWAP, f"{labels.INSTANCE}={settings.instance}"]
    return client.containers.list(filters={"label": own})


def seen(bench: Bench, spec: AccessorySpec) -> dict[str, str]:
    """The files as the accessory has them, without those of a restore."""
    said = bench.engine._api.execute(
        accessory_name(bench.engine._settings, spec.ref), ["sh", "-c", "cd /kept; ls -A; grep -r . . || true"]
    )[1]
    assert ".pushlive" not in said, said
    lines = [line.removeprefix("./").partition(":") for line in said.splitlines() if ":" in line]
    return {name: text for name, _, text in lines}


@pytest.mark.parametrize("when", KILLED)
def test_fault_59_the_next_start_finishes_or_undoes_a_swap_that_was_killed(
    bench: Bench,
    spec: AccessorySpec,
    docker_client: docker.DockerClient,
    monkeypatch: pytest.MonkeyPatch,
    when: str,
) -> None:
    engine, (script, wanted) = bench.engine, KILLED[when]
    engine.import_volume(spec.ref.volume, [packed(OLD)], bench.watch())
    engine.keep_accessory(spec, bench.watch())
    monkeypatch.setattr(docker_volumes, "SWAP", script)

    def restore() -> None:
        with suppress(EngineFailed):
            end = lambda: engine.halt_accessory(spec.ref)  # noqa: E731
            engine.import_volume(spec.ref.volume, [packed(NEW)], bench.watch(), end)

    thread = threading.Thread(target=restore)
    thread.start()
    settings = engine._settings
    until(
        lambda: any(
            one.exec_run(["test", "-e", "/tmp/there"])[0] == 0 for one in swapping(docker_client, settings)
        )
    )
    for one in swapping(docker_client, settings):
        one.kill()
    thread.join(20)
    engine.keep_accessory(spec, bench.watch())
    assert seen(bench, spec) == wanted
    assert not engine._helpers(volume_name(settings, spec.ref.volume))


def test_fault_59_a_start_waits_for_a_swap_whose_service_was_killed(
    bench: Bench, spec: AccessorySpec
) -> None:
    engine, ref = bench.engine, spec.ref.volume
    engine.import_volume(ref, [packed(OLD)], bench.watch())
    with engine._helper(ref, docker_volumes.BEGIN) as helper:
        engine._run(helper, bench.watch())
        engine._api.upload(helper, f"{docker_volumes.FOLDER}/{RESTORED}", iter([packed(NEW)]), bench.watch())
    engine._api.start(engine._create_helper(ref, f"sleep 1; {docker_volumes.SWAP}", more={labels.SWAP: "1"}))
    engine.keep_accessory(spec, bench.watch())
    assert seen(bench, spec) == NEW


def test_fault_60_a_volume_without_space_keeps_its_files_and_says_so(
    bench: Bench, spec: AccessorySpec, docker_client: docker.DockerClient
) -> None:
    engine, name = bench.engine, volume_name(bench.engine._settings, spec.ref.volume)
    body = volume_body(bench.engine._settings, spec.ref.volume)
    options = {"type": "tmpfs", "device": "tmpfs", "o": "size=1m"}
    docker_client.volumes.create(name, driver="local", driver_opts=options, labels=body["Labels"])
    engine.keep_accessory(spec, bench.watch())  # a tmpfs keeps its files as long as something has it
    engine._api.upload(
        accessory_name(engine._settings, spec.ref), "/kept", iter([packed(OLD)]), bench.watch()
    )
    halted: list[str] = []
    with pytest.raises(EngineFailed, match="no space left on device") as raised:
        engine.import_volume(
            spec.ref.volume, [packed({"b": "new" * (1 << 20)})], bench.watch(), lambda: halted.append("now")
        )
    assert str(spec.ref.volume) in raised.value.message
    assert "has what it had before" in raised.value.message
    assert halted == []  # it was not even stopped
    assert seen(bench, spec) == OLD
