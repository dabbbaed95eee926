"""What every engine promises of accessories: the strict fake, a local and a remote Docker Engine, and a cluster."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.adapters.fake import FakeEngine, FakeProbe
from pipeline.adapters.http.probe import HttpProbe
from pipeline.adapters.kubernetes.workload.accessory_objects import accessory_name
from pipeline.config.workload.accessory import Accessory
from pipeline.domain.accessories import AccessoryMade, AccessoryRef, AccessorySpec, Attachment
from pipeline.errors import DoesNotFit, EngineFailed, RequestError
from pipeline.lib.secret import Secret
from pipeline.ports.scheduled import Job
from pipeline.ports.terminal import Wanted
from tests.contract.test_engine_contract import Kit, on_a_cluster, on_a_remote_engine
from tests.support.clusterbench import local_volume
from tests.support.waiting import until

EVERYWHERE = pytest.mark.parametrize("kit", ["fake", "docker", "remote", "cluster"], indirect=True)
ON_A_CLUSTER_TOO = pytest.mark.parametrize("kit", ["fake", "docker", "cluster"], indirect=True)


@pytest.fixture(params=["fake", "docker"])
def kit(request: pytest.FixtureRequest) -> Iterator[Kit]:
    def unused(_spec: object) -> None:
        pass

    if request.param == "fake":
        fake = FakeEngine()
        yield Kit(fake, FakeProbe(fake), "app", 3, "sha256:1", unused)
    elif request.param == "remote":
        yield from on_a_remote_engine(request.getfixturevalue("there"))
    elif request.param == "cluster":
        yield from on_a_cluster(request)
    else:
        bench = request.getfixturevalue("bench")
        yield Kit(bench.engine, HttpProbe(), bench.name, bench.index, bench.image, unused)


@pytest.fixture
def spec(kit: Kit, tmp_path: Path) -> Iterator[AccessorySpec]:
    """The sample application as an accessory of the kit's environment."""
    image = kit.remote or kit.image
    config = Accessory(image=image, volume="/kept", port=8080, memory=32 << 20, stop=1.0)
    ref = AccessoryRef(f"{kit.name}-db", "live", kit.key)
    attached = (Attachment(kit.name, kit.index, ("db",), 29),)
    one = AccessorySpec(ref, config, attached, {"PASSWORD": 1}, lambda: {"PASSWORD": Secret("a password")})
    kit.engine.prepare(kit.ref(), ())
    with room_for_data(kit, ref, tmp_path):
        yield one
        if not isinstance(kit.engine, FakeEngine):
            end_at_once(kit, ref)
            kit.engine.remove_accessory(ref)
            kit.engine.remove_volume(ref.volume)


def end_at_once(kit: Kit, ref: AccessoryRef) -> None:
    """Without the time that it may take to end."""
    name = kit.engine.accessory_state(ref).container
    if kit.key == "kubernetes":
        kit.engine._api.delete("StatefulSet", accessory_name(kit.engine._instance, ref))
        kit.engine._api.delete("Pod", name, grace=0)
    else:
        kit.engine._api.remove(name)


def room_for_data(kit: Kit, ref: AccessoryRef, folder: Path) -> AbstractContextManager[None]:
    """The test cluster has nothing that makes volumes."""
    if kit.key != "kubernetes":
        return nullcontext()
    return local_volume(kit.engine._api.namespace, kit.engine.volume_name(ref.volume), folder)


def ready(kit: Kit, spec: AccessorySpec) -> None:
    # A cluster looks every 15 s for a volume that it has not seen at once.
    until(lambda: not kit.engine.accessory_unready(spec), 40 if kit.key == "kubernetes" else 10)


@EVERYWHERE
def test_one_is_made_once_and_keeps_running(kit: Kit, spec: AccessorySpec) -> None:
    engine = kit.engine
    assert engine.accessory_state(spec.ref).state == "missing"
    assert engine.accessory_unready(spec)
    assert engine.accessory_output(spec.ref, 5) == ()
    assert engine.keep_accessory(spec, kit.watch())
    ready(kit, spec)
    assert not engine.keep_accessory(spec, kit.watch())
    found = engine.accessory_state(spec.ref)
    assert (found.state, found.spec) == ("running", engine.accessory_hash(spec))
    assert spec.ref in list(engine.accessories())
    assert spec.ref.volume in [one.ref for one in engine.volumes()]


@ON_A_CLUSTER_TOO
def test_one_that_was_halted_stays_so_until_it_is_kept(kit: Kit, spec: AccessorySpec) -> None:
    engine = kit.engine
    engine.keep_accessory(spec, kit.watch())
    engine.halt_accessory(spec.ref)
    engine.halt_accessory(spec.ref)
    assert engine.accessory_state(spec.ref).state == "exited"
    assert engine.accessory_unready(spec)
    assert engine.keep_accessory(spec, kit.watch())
    ready(kit, spec)
    engine.restart_accessory(spec, kit.watch())
    ready(kit, spec)


@EVERYWHERE
def test_a_persons_command_runs_in_it(kit: Kit, spec: AccessorySpec) -> None:
    kit.engine.keep_accessory(spec, kit.watch())
    ready(kit, spec)
    container = kit.engine.accessory_state(spec.ref).container
    session = kit.engine.exec_session(kit.ref(), container, Wanted("5e55", ("cat",)))
    session.write(b"as it was sent")
    session.end_input()
    assert b"".join(data for _, data in session.output()) == b"as it was sent"
    assert session.exit_code() == 0
    session.close()
    kit.engine.end_session(kit.ref(), "5e55", container)


@ON_A_CLUSTER_TOO
def test_only_replacing_takes_another_definition(kit: Kit, spec: AccessorySpec) -> None:
    engine = kit.engine
    other = replace(spec, config=spec.config.model_copy(update={"env": {"GREETING": "hi"}}))
    newer = replace(spec, secrets={"PASSWORD": 2})
    assert len({engine.accessory_hash(one) for one in (spec, other, newer)}) == 3
    engine.keep_accessory(spec, kit.watch())
    engine.keep_accessory(other, kit.watch())
    assert engine.accessory_state(spec.ref).spec == engine.accessory_hash(spec)
    engine.replace_accessory(other, kit.watch())
    assert engine.accessory_state(spec.ref).spec == engine.accessory_hash(other)
    ready(kit, other)
    assert spec.ref.volume in [one.ref for one in engine.volumes()]


@ON_A_CLUSTER_TOO
def test_removing_the_environment_leaves_it(kit: Kit, spec: AccessorySpec) -> None:
    engine = kit.engine
    engine.keep_accessory(spec, kit.watch())
    ready(kit, spec)
    assert engine.remove(kit.ref()) == ""
    assert engine.accessory_state(spec.ref).state == "running"
    assert kit.name not in [one.pipeline for one in engine.environments()]
    engine.prepare(kit.ref(), ())
    engine.keep_accessory(spec, kit.watch())
    ready(kit, spec)


@EVERYWHERE
def test_a_store_that_knows_nothing_finds_it_with_its_values(kit: Kit, spec: AccessorySpec) -> None:
    kit.engine.keep_accessory(spec, kit.watch())
    [found] = [one for one in kit.engine.accessories_found() if one.ref == spec.ref]
    assert (found.spec, found.attached) == (kit.engine.accessory_hash(spec), spec.attached)
    assert found.made == AccessoryMade(spec.config, spec.secrets)
    assert found.env["PASSWORD"].reveal() == "a password"


def test_what_one_may_use_counts_for_everything_else(kit: Kit, spec: AccessorySpec) -> None:
    engine = kit.engine
    total = engine.memory if isinstance(engine, FakeEngine) else engine._api.memory()
    big = replace(spec, config=spec.config.model_copy(update={"memory": total * 6 // 10}))
    engine.keep_accessory(big, kit.watch())
    elsewhere = replace(big, ref=replace(big.ref, environment="dev"))
    # On Docker without its network, which would have the addresses of the first one's.
    make = engine.keep_accessory if isinstance(engine, FakeEngine) else engine._provide
    service, job = kit.spec(memory=big.config.memory, replicas=1), Job("mail", 1_800_000_000)
    for act in (
        lambda: make(elsewhere, kit.watch()),
        lambda: engine.fits(service),
        lambda: engine.run_session(service, Wanted("a1", ("true",)), kit.watch()),
        lambda: engine.start_job(service, job, ("true",), kit.watch()),
    ):
        with pytest.raises(DoesNotFit):
            act()
    assert engine.accessory_state(elsewhere.ref).state == "missing"
    engine.replace_accessory(replace(big, secrets={"PASSWORD": 2}), kit.watch())  # in its own place


@ON_A_CLUSTER_TOO
def test_removing_it_leaves_its_volume(kit: Kit, spec: AccessorySpec) -> None:
    engine = kit.engine
    engine.keep_accessory(spec, kit.watch())
    with pytest.raises(RequestError, match="is in use by"):
        engine.remove_volume(spec.ref.volume)
    engine.remove_accessory(spec.ref)
    engine.remove_accessory(spec.ref)
    assert engine.accessory_state(spec.ref).state == "missing"
    assert spec.ref.volume in [one.ref for one in engine.volumes()]
    engine.remove_volume(spec.ref.volume)
    assert spec.ref.volume not in [one.ref for one in engine.volumes()]


@ON_A_CLUSTER_TOO
def test_the_address_of_one_that_was_detached_is_free(kit: Kit, spec: AccessorySpec) -> None:
    engine = kit.engine
    engine.keep_accessory(spec, kit.watch())
    ready(kit, spec)
    for _ in range(2):
        engine.detach_accessory(spec.ref, spec.attached[0])
    [found] = [one for one in engine.accessories_found() if one.ref == spec.ref]
    assert (found.attached, engine.accessory_state(spec.ref).state) == ((), "running")
    assert engine.accessory_unready(replace(spec, attached=())) == ""
    assert engine.keep_accessory(spec, kit.watch())
    ready(kit, spec)


@EVERYWHERE
def test_its_data_come_out_and_in_whole_or_not_at_all(kit: Kit, spec: AccessorySpec) -> None:
    engine, data = kit.engine, bytes(range(256)) * 2000
    load = ("sh", "-c", "cat >/tmp/new && mv /tmp/new /tmp/data")
    with pytest.raises(EngineFailed, match="does not run"):
        b"".join(engine.dump_accessory(spec.ref, ("cat", "/tmp/data"), kit.watch()))
    engine.keep_accessory(spec, kit.watch())
    ready(kit, spec)
    engine.load_accessory(spec.ref, load, iter([data[:1000], data[1000:]]), len(data), kit.watch())

    def contents() -> bytes:
        return b"".join(engine.dump_accessory(spec.ref, ("cat", "/tmp/data"), kit.watch()))

    assert contents() == data
    with pytest.raises(EngineFailed, match="false exited with 1"):
        b"".join(engine.dump_accessory(spec.ref, ("false",), kit.watch()))
    with pytest.raises(EngineFailed, match="false exited with 1"):
        engine.load_accessory(spec.ref, ("false",), [b"other"], 5, kit.watch())

    def breaks_off() -> Iterator[bytes]:
        yield b"half"
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        engine.load_accessory(spec.ref, load, breaks_off(), 8, kit.watch())
    with closing(engine.dump_accessory(spec.ref, ("cat", "/tmp/data"), kit.watch())) as pieces:
        assert next(pieces)
    assert contents() == data
