"""A remote Engine over ssh: a real ssh server on this machine, in front of this machine's Engine."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.adapters.copies import CommandCopies
from pipeline.adapters.docker.remote import pair, proxy
from pipeline.adapters.docker_api.api import DockerApi
from pipeline.adapters.docker_api.client import client
from pipeline.adapters.docker_api.ssh_forward import close_all, forward_to
from pipeline.config.models import Where
from pipeline.config.workload.backup import Destination
from pipeline.domain.engine_types import SlotRef
from pipeline.domain.volumes import VolumeRef
from pipeline.errors import EngineFailed, TimedOut, TryAgain
from pipeline.ports.clock import Deadline, SystemClock
from tests.support.installation import own_settings
from tests.support.paths import ROOT
from tests.support.ports import free_ports
from tests.support.remote_engine import RemoteEngine
from tests.support.service import get
from tests.support.specs import SAMPLE, slot_spec
from tests.support.waiting import until

REF = VolumeRef("hello", "live", "data")

SERVER = """\
Port PORT
ListenAddress 127.0.0.1
HostKey FOLDER/host
AuthorizedKeysFile FOLDER/allowed
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
"""
CLIENT = """\
Host *
    IdentityFile FOLDER/key
    IdentitiesOnly yes
    UserKnownHostsFile FOLDER/known
"""
SSH = '#!/bin/sh\nexec /usr/bin/ssh -F FOLDER/client "$@"\n'


class Server:
    """``sshd`` on a loopback port. The key logs in as the user of these tests."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_ports(1)
        user = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout.strip()
        self.host = f"ssh://{user}@127.0.0.1:{self.port}"
        for name in ("host", "key", "other"):
            command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name]
            subprocess.run(command, check=True)
        shutil.copy(folder / "key.pub", folder / "allowed")
        public = (folder / "host.pub").read_text()
        (folder / "known").write_text(f"[127.0.0.1]:{self.port} {public}")
        for name, text in (("server", SERVER), ("client", CLIENT), ("ssh", SSH)):
            (folder / name).write_text(text.replace("FOLDER", str(folder)).replace("PORT", str(self.port)))
        (folder / "ssh").chmod(0o755)
        Path("/run/sshd").mkdir(exist_ok=True)
        with (folder / "log").open("wb") as log:
            command = ["/usr/sbin/sshd", "-D", "-e", "-f", folder / "server"]
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(10)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    folder = Path(tempfile.mkdtemp(prefix="ssh-"))
    one = Server(folder)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    until(lambda: b"Server listening" in (folder / "log").read_bytes())
    yield one
    close_all()
    one.close()
    shutil.rmtree(folder)


def test_a_broken_forward_is_started_again(server: Server) -> None:
    api = DockerApi(lambda: client(host=server.host))
    assert api.memory() > 0
    forward = forward_to(server.host)
    first = forward._process
    assert first
    assert forward.socket.stat().st_mode & 0o077 == 0
    first.kill()
    first.wait(10)
    until(lambda: works(api))
    assert forward._process is not first
    close_all()
    assert not forward.socket.exists()


def test_a_copy_of_a_backup_arrives_whole_or_not_at_all(server: Server, tmp_path: Path) -> None:
    file, there = tmp_path / "hello-live-data-20260131T020000Z.tar", tmp_path / "there" / "hello"
    file.write_bytes(os.urandom(300_000))
    to, watch = Destination.model_validate(f"{server.host}{there}"), Deadline(SystemClock(), 30, "the copy")
    copies = CommandCopies()
    for _ in range(2):
        copies.send(to, REF, file, watch)
    assert [one.name for one in there.iterdir()] == [file.name]
    assert (there / file.name).read_bytes() == file.read_bytes()
    assert (there / file.name).stat().st_mode & 0o077 == 0
    (there / "taken").touch()
    with pytest.raises(EngineFailed, match="was not copied to ssh://"):
        copies.send(Destination.model_validate(f"{server.host}{there}/taken"), REF, file, watch)
    by_command = Destination.model_validate(["sh", "-c", f'cat >"{there}/$PUSHLIVE_BACKUP.2"'])
    copies.send(by_command, REF, file, watch)
    assert (there / f"{file.name}.2").read_bytes() == file.read_bytes()
    with pytest.raises(EngineFailed, match="exited with 3: no room"):
        copies.send(Destination.model_validate(["sh", "-c", "echo no room; exit 3"]), REF, file, watch)
    hanging = Deadline(SystemClock(), 0.3, "the copy")
    with pytest.raises(TimedOut):
        copies.send(Destination.model_validate(["sleep", "100"]), REF, file, hanging)


def works(api: DockerApi) -> bool:
    try:
        return api.memory() > 0
    except TryAgain:  # a kept connection that is broken now
        return False


def test_many_clients_of_one_process_share_one_forward(server: Server) -> None:
    made = [client(host=server.host + "/var/run/docker.sock") for _ in range(3)]
    assert len({one.api.forward._process.pid for one in made}) == 1
    for one in made:
        one.close()


def test_a_release_runs_and_is_checked_there(server: Server, there: RemoteEngine) -> None:
    where = Where(docker=server.host + there.daemon.host.removeprefix("unix://"))
    clock, instance = SystemClock(), f"{there.settings.instance}s"
    settings = own_settings(server.folder, instance, subnets=there.more_subnets)
    engine, probe = pair(where, settings, clock)
    ref = SlotRef("app", "live", 0, "blue", where.key)
    spec = slot_spec(ref, remote=there.remote, hosts=("app.example",), **SAMPLE)
    try:
        engine.prepare(ref, spec.config.hosts)
        engine.start(spec, Deadline(clock, 60))
        engine.ready(spec, lambda event: None, Deadline(clock, 60))
        engine.expose(spec)
        assert probe.get(engine.preview(spec), "/healthz", 5).status == 200
        engine.switch(spec)
        assert get(f"http://{settings.proxy_http}/healthz", Host="app.example")[0] == 200
        result = engine.command(spec, "look", ("echo", "hello"), {}, lambda event: None, Deadline(clock, 60))
        assert (result.exit_code, result.output) == (0, "hello\n")
        assert engine.logs(ref, 5) == ()
        engine.remove(ref)
    finally:
        proxy(where, settings, clock).stop()


def test_a_refused_login_says_what_the_server_said(server: Server) -> None:
    shutil.copy(server.folder / "other.pub", server.folder / "allowed")
    with pytest.raises(EngineFailed, match="Permission denied") as raised:
        client(host=server.host)
    assert "a key without passphrase" in raised.value.advice
    (server.folder / "known").write_text("")
    with pytest.raises(EngineFailed, match="Host key verification failed"):
        client(host=server.host)


def test_a_machine_that_cannot_be_reached_is_worth_a_retry(server: Server) -> None:
    with pytest.raises(TryAgain, match="Connection refused"):
        client(host=f"ssh://127.0.0.1:{free_ports(1)}")


def test_no_ssh_outlives_the_process_that_started_it(server: Server) -> None:
    text = f"from pipeline.adapters.docker_api import ssh_forward as s; f = s.forward_to({server.host!r}); f.ensure()"
    text += "; print(f._process.pid, flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", text], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT
    ) as process:
        assert process.stdout
        pid = int(process.stdout.readline())
        assert Path(f"/proc/{pid}").exists()
        process.send_signal(signal.SIGKILL)
    until(lambda: not alive(pid))


def alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
