"""What `service` says of a container, seen from inside it on a real Docker Engine."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

import docker
from pipeline.adapters.docker.engine import DockerEngine
from pipeline.adapters.haproxy.proxy import Proxy
from pipeline.adapters.http.probe import HttpProbe
from pipeline.config.settings import Settings
from pipeline.deploy.slot import failed_slot
from pipeline.domain.engine_types import SlotSpec
from pipeline.domain.release import FORM
from pipeline.errors import AppFailed, ConfigError
from pipeline.ports.clock import SystemClock
from tests.conftest import Bench

LOOK = """exec 2>&1
pwd; echo PORT=$PORT; id -u; id -g; ulimit -Sn; ulimit -Ss; ulimit -Hs; ulimit -c
df -m /dev/shm | tail -n 1; df -m /cache | tail -n 1; touch /cache/x && echo wrote /cache
grep db.internal /etc/hosts; test -c /dev/fuse && echo has /dev/fuse
nc host.docker.internal %d
"""


@pytest.fixture
def listener() -> Iterator[int]:
    """A port of this machine that answers each connection with "here"."""
    with socket.create_server(("0.0.0.0", 0)) as server:  # noqa: S104 - containers reach it

        def answer() -> None:
            try:
                while True:
                    one, _ = server.accept()
                    with one, suppress(OSError):
                        one.sendall(b"here\n")
            except OSError:
                return  # closed at the end of the test

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
    thread.join(5)


@pytest.fixture
def allowed(bench: Bench, settings: Settings, proxy: Proxy, docker_client: docker.DockerClient) -> Bench:
    """With a setting that allows a device."""
    own = settings.model_copy(update={"devices": ("/dev/fus*",)})
    return replace(bench, engine=DockerEngine(lambda: docker_client, proxy, own, HttpProbe(), SystemClock()))


def newest(bench: Bench, **service: object) -> SlotSpec:
    return replace(bench.spec(**service), form=FORM)


def test_a_container_and_its_commands_are_given_what_the_service_says(
    allowed: Bench, docker_client: docker.DockerClient, listener: int
) -> None:
    spec = newest(
        allowed, shm=96 << 20, working_dir="/srv/app", user="1234:1235", tmpfs={"/cache": 8 << 20},
        ulimits={"nofile": "2000", "stack": f"{4 << 20}:{8 << 20}", "core": "0"},
        extra_hosts={"db.internal": "10.9.8.7"},
        devices=("/dev/fuse",), labels={"example.com/team": "shop"},
    )  # fmt: skip
    allowed.deploy(spec)
    [replica] = allowed.engine.replicas(spec.ref)
    container = docker_client.containers.get(replica.name)
    assert container.labels["example.com/team"] == "shop"
    assert (
        allowed.engine.written(spec.ref) == ()
    )  # the folders that Docker has made are not the application's
    script = LOOK % listener
    inside = container.exec_run(["sh", "-c", script]).output.decode().splitlines()
    words = ("sh", "-c", script)
    result = allowed.engine.command(spec, "look", words, {}, allowed.events.append, allowed.watch())
    for lines in (inside, result.output.splitlines()):
        assert len(lines) == 14, lines
        there, port, user, group, files, soft, hard, core, shm, cache, wrote, host, device, answer = lines
        assert (there, port, user, group) == ("/srv/app", "PORT=8080", "1234", "1235")
        assert (files, soft, hard, core) == ("2000", "4096", "8192", "0")  # of a stack in KiB
        assert (shm.split()[1], cache.split()[1], wrote) == ("96", "8", "wrote /cache")
        assert host.split() == ["10.9.8.7", "db.internal"]
        assert (device, answer) == ("has /dev/fuse", "here")


def test_a_device_that_the_settings_do_not_allow_starts_nothing(bench: Bench) -> None:
    spec = newest(bench, devices=("/dev/fuse",))
    bench.engine.prepare(spec.ref, ())
    with pytest.raises(ConfigError, match="/dev/fuse is not among the devices") as refused:
        bench.engine.start(spec, bench.watch())
    assert "Add it to PUSHLIVE_DEVICES" in refused.value.advice
    with pytest.raises(ConfigError, match="/dev/fuse is not among the devices"):
        bench.engine.command(spec, "x", ("true",), {}, bench.events.append, bench.watch())
    assert bench.engine.replicas(spec.ref) == ()


@pytest.fixture
def shared(
    bench: Bench, settings: Settings, proxy: Proxy, docker_client: docker.DockerClient, tmp_path: Path
) -> tuple[Bench, Path]:
    """With a setting that allows the folders in that one."""
    tmp_path.chmod(0o755)
    own = settings.model_copy(update={"binds": (f"{tmp_path}/*",)})
    engine = DockerEngine(lambda: docker_client, proxy, own, HttpProbe(), SystemClock())
    return replace(bench, engine=engine), tmp_path


def test_folders_of_the_machine_are_written_or_read(shared: tuple[Bench, Path]) -> None:
    bench, folder = shared
    for name in ("photos", "import"):
        (folder / name).mkdir()
        (folder / name).chmod(0o777)
    (folder / "import" / "new").write_text("a file\n")
    spec = newest(bench, binds={"/photos": f"{folder}/photos", "/import": f"{folder}/import:ro"})
    bench.deploy(spec)
    words = "cat /import/new; touch /import/x 2>&1; echo kept >/photos/one"
    result = bench.engine.command(spec, "x", ("sh", "-c", words), {}, bench.events.append, bench.watch())
    assert result.output.splitlines()[0] == "a file"
    assert "Read-only file system" in result.output
    assert (folder / "photos" / "one").read_text() == "kept\n"
    # Docker made /photos in the container, which is no file that ends with the release.
    assert bench.engine.written(spec.ref) == ()


def test_no_folder_of_the_machine_is_given_that_is_not_allowed(shared: tuple[Bench, Path]) -> None:
    bench, folder = shared
    inside = folder / "photos" / "link"
    inside.parent.mkdir()
    inside.symlink_to("/etc")  # as what runs in the outer folder could leave it
    for source in (str(inside), "/etc", str(folder)):
        spec = newest(bench, binds={"/b": source})
        bench.engine.prepare(spec.ref, ())
        with pytest.raises(ConfigError, match=f"are not given {source} of the machine: PUSHLIVE_BINDS"):
            bench.engine.start(spec, bench.watch())
        with pytest.raises(ConfigError, match="PUSHLIVE_BINDS"):
            bench.engine.command(spec, "x", ("true",), {}, bench.events.append, bench.watch())
        assert bench.engine.replicas(spec.ref) == ()


def test_a_folder_that_the_machine_does_not_have_is_named(shared: tuple[Bench, Path]) -> None:
    bench, folder = shared
    with pytest.raises(AppFailed, match=f"the machine has no folder {folder}/none") as caught:
        bench.deploy(newest(bench, binds={"/b": f"{folder}/none"}))
    assert "`binds`" in caught.value.advice
    assert not (folder / "none").exists()


def test_strict_goes_with_a_user_that_the_service_names(bench: Bench) -> None:
    spec = newest(bench, security="strict", user="1234", tmpfs={"/tmp": 1 << 20})
    bench.deploy(spec)
    words = ("sh", "-c", "id -u; df -m /tmp | tail -n 1")
    result = bench.engine.command(spec, "look", words, {}, bench.events.append, bench.watch())
    user, tmp = result.output.splitlines()
    assert (user, tmp.split()[1]) == ("1234", "1")


def test_a_container_that_is_restored_is_given_the_same(
    bench: Bench, docker_client: docker.DockerClient
) -> None:
    spec = newest(bench, shm=96 << 20, labels={"example.com/team": "shop"}, extra_hosts={"db": "10.9.8.7"})
    bench.deploy(spec)
    [replica] = bench.engine.replicas(spec.ref)
    before = docker_client.api.inspect_container(replica.name)
    docker_client.api.remove_container(replica.name, force=True)
    assert bench.engine.restore(spec) is True
    after = docker_client.api.inspect_container(replica.name)
    assert after["Id"] != before["Id"]
    assert after["Config"]["Labels"] == before["Config"]["Labels"]
    for key in ("ShmSize", "ExtraHosts"):
        assert after["HostConfig"][key] == before["HostConfig"][key]
    assert bench.engine.missing(spec) == ()


@pytest.mark.parametrize(
    ("keys", "said", "key"),
    [
        ({"user": "nobody-of-that-name"}, "no user or group nobody-of-that-name", "`user`"),
        ({"ulimits": {"nofile": "1073741816"}}, "`ulimits` asks for more", "at most what the daemon has"),
        ({"tmpfs": {"/smoke.sh": 1 << 20}}, "/smoke.sh is to be a volume or a `tmpfs`", "Name a folder"),
        ({"working_dir": "/smoke.sh"}, "`working_dir` is /smoke.sh", "Name a folder"),
        ({"devices": ("/dev/fuse-of-another-machine",)}, "no device /dev/fuse-of-another", "`devices`"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_what_docker_cannot_start_is_the_applications_failure_and_runs_nothing(
    allowed: Bench, keys: dict[str, Any], said: str, key: str
) -> None:
    spec = newest(allowed, **keys)
    with pytest.raises(AppFailed) as caught:
        allowed.deploy(spec)
    assert said in caught.value.message
    assert key in caught.value.advice
    engine = cast("Any", SimpleNamespace(slots=allowed.engine))
    assert not failed_slot.works(engine, spec.ref)
