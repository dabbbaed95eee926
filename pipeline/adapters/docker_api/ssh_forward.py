"""A Docker Engine over ssh: an ``ssh`` process forwards a socket on this machine to the Engine's on the other one."""

from __future__ import annotations

import atexit
import os
import re
import select
import stat
import subprocess
import tempfile
import threading
import time
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import docker
from pipeline.adapters.docker_api.session import POOL, DeadlineApi
from pipeline.errors import EngineFailed, TryAgain

TIMEOUT = 20.0  # seconds until the forward must work
LONGEST = 1000  # bytes of a line that is waited for
OPTIONS = (
    "BatchMode=yes",
    "ConnectTimeout=15",
    "ControlMaster=no",
    "ControlPath=none",
    "ExitOnForwardFailure=yes",
    "ForwardAgent=no",
    "LogLevel=ERROR",
    "ServerAliveInterval=15",
    "ServerAliveCountMax=2",
    "StreamLocalBindUnlink=yes",
    "StreamLocalBindMask=0177",
)
# Reports once that the forward works, then lives as long as our end of its input: it never outlives this process.
READY = "stands"
SCRIPT = f"echo {READY}; exec cat >/dev/null"
# What ssh says if a retry cannot help.
_REFUSED = re.compile(r"Permission denied|Host key verification failed|authenticity of host", re.I)


class Forward:
    """One ``ssh`` process. ``host``: ``ssh://user@host:port/path/of/the.sock``; only the host is required."""

    def __init__(self, host: str) -> None:
        self.host = host
        parts = urlsplit(host)
        self._remote = parts.path if len(parts.path) > 1 else "/var/run/docker.sock"
        port = ["-p", str(parts.port)] if parts.port else []
        name = f"{parts.username}@{parts.hostname}" if parts.username else str(parts.hostname)
        self._login = [*port, "--", name]
        self.socket = _folder() / f"{os.getpid()}-{sha256(host.encode()).hexdigest()[:12]}.sock"
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def ensure(self) -> None:
        """Starts the forward unless it works. Raises TryAgain (the machine does not answer) or EngineFailed (it refuses
        the login)."""
        with self._lock:
            if self._process is None or self._process.poll() is not None:
                self._close()
                self._open()

    def close(self) -> None:
        """Ends the forward, also one that another thread is still starting. Idempotent."""
        if process := self._process:
            process.kill()  # the thread that waits for its first line has the lock
        with self._lock:
            self._close()

    def _open(self) -> None:
        options = [word for option in OPTIONS for word in ("-o", option)]
        command = ["ssh", "-T", *options, "-L", f"{self.socket}:{self._remote}", *self._login, SCRIPT]
        with tempfile.TemporaryFile() as said:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said, start_new_session=True
            )
            if _first_line(self._process.stdout) == READY.encode():
                return
            self._close()
            said.seek(0)
            raise self._failed(" ".join(said.read().decode(errors="replace").split()))

    def _failed(self, said: str) -> EngineFailed | TryAgain:
        text = f"ssh to {self.host}: {said or f'no answer within {TIMEOUT:.0f} s'}."
        if _REFUSED.search(said):
            return EngineFailed(
                text,
                advice="The service's user needs a key without passphrase, and the host in its known_hosts: "
                "`ssh -o BatchMode=yes` must succeed.",
            )
        return TryAgain(text, advice="Check that the machine runs and that `ssh` reaches it.")

    def _close(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        for pipe in (process.stdin, process.stdout):
            if pipe:
                pipe.close()
        process.wait()
        self.socket.unlink(missing_ok=True)


def _first_line(output: Any) -> bytes:
    """What comes until the end of the line, of the output, or of the time; unbuffered, so that nothing more is read."""
    line, end = b"", time.monotonic() + TIMEOUT
    while not line.endswith(b"\n") and select.select([output], [], [], max(0.0, end - time.monotonic()))[0]:
        piece = os.read(output.fileno(), 1)
        if not piece or len(line) > LONGEST:
            break
        line += piece
    return line.strip()


_FORWARDS: dict[tuple[int, str], Forward] = {}
_CREATING = threading.Lock()


def forward_to(host: str) -> Forward:
    """This process's only forward to that host; it lasts as long as the process, or until ``close_all``."""
    with _CREATING:
        return _FORWARDS.setdefault((os.getpid(), host), Forward(host))


def close_all() -> None:
    """Ends this process's forwards; the next request starts them again. Idempotent."""
    for (owner, _), forward in tuple(_FORWARDS.items()):
        if owner == os.getpid():
            forward.close()


atexit.register(close_all)


class SshClient(docker.DockerClient):
    """A client that makes sure of the forward before every request."""

    def __init__(self, host: str, timeout: int) -> None:
        self.api: Any = _Api(forward_to(host), timeout)


class _Api(DeadlineApi):
    def __init__(self, forward: Forward, timeout: int) -> None:
        self.forward = forward
        forward.ensure()  # here, because the SDK would wrap the error in one of its own
        super().__init__(f"unix://{forward.socket}", timeout=timeout, max_pool_size=POOL)

    def request(self, *arguments: Any, **more: Any) -> Any:
        """See ``requests.Session.request``."""
        self.forward.ensure()
        return super().request(*arguments, **more)


def _folder() -> Path:
    """The sockets' folder, this user's own; sockets of processes that have ended are removed from it."""
    folder = Path(tempfile.gettempdir()) / f"pushlive-ssh-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise EngineFailed(
            f"{folder} is not this user's own folder.", advice="Another user created it: remove it."
        )
    for path in folder.glob("*-*.sock"):
        if not Path("/proc", path.name.partition("-")[0]).exists():
            with suppress(FileNotFoundError):
                path.unlink()
    return folder
