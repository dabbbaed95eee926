"""Running git: one fixed set of arguments and environment, and one way to end git with everything it started.

``GitPython`` starts the processes.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from git import Git
from git.exc import GitError

from pipeline.errors import EngineFailed, TimedOut
from pipeline.lib.git_settings import ENVIRONMENT, SETTINGS, in_environment
from pipeline.ports.clock import Watch

Popen = subprocess.Popen[bytes]

_POLL = 0.2  # seconds between two checks of the watch
_LOCAL_LIMIT = 120.0  # seconds for a command that uses no network
_SETTINGS = SETTINGS | {
    "fetch.unpackLimit": "1",
    "gc.autoDetach": "false",
    "http.followRedirects": "false",
    "http.lowSpeedLimit": "1000",
    "http.lowSpeedTime": "30",
    "protocol.allow": "never",
}
_ENVIRONMENT = ENVIRONMENT | {
    "GIT_SSH_COMMAND": "ssh -oBatchMode=yes -oConnectTimeout=15 -oServerAliveInterval=15 -oForwardAgent=no",
}


class GitRefused(EngineFailed):
    """git exited with an error. ``status``: its exit status; ``stderr`` and ``stdout``: its outputs."""

    def __init__(self, message: str, status: int, stderr: str, stdout: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.stderr = stderr
        self.stdout = stdout


def start_git(
    repository: Path,
    arguments: list[str],
    *,
    settings: Mapping[str, str] | None = None,
    secret: Mapping[str, str] | None = None,
    stdin: int | None = None,
    pass_fds: tuple[int, ...] = (),
    quarantine: Path | None = None,
) -> Popen:
    """Starts git on a bare repository, as the leader of its own process group, with pipes for both outputs.

    ``settings`` are added to the fixed ones, and so are ``secret`` ones, but through the environment, so that no
    process list shows them. ``pass_fds``: file descriptors that git keeps open, such as a lock's. ``quarantine``: where
    the objects of a push are that its hooks have not let in yet; they are read as well.
    """
    fixed = [part for item in {**_SETTINGS, **(settings or {})}.items() for part in ("-c", "=".join(item))]
    environment = _ENVIRONMENT | in_environment((secret or {}).items())
    if quarantine:
        environment |= {
            "GIT_OBJECT_DIRECTORY": str(quarantine),
            "GIT_ALTERNATE_OBJECT_DIRECTORIES": str(repository / "objects"),
        }
    inherited = [n for n in os.environ if n.startswith(("GIT_", "SSH_ASKPASS")) and n not in environment]
    strip = ["env", *(part for name in inherited for part in ("-u", name))] if inherited else []
    command = [*strip, "git", f"--git-dir={repository}", *fixed, *arguments]
    kwargs = {"start_new_session": True, "pass_fds": pass_fds, "env": environment, "istream": stdin}
    try:
        process = Git("/").execute(command, as_process=True, **kwargs)  # type: ignore[call-overload]
    except (GitError, OSError) as error:
        raise EngineFailed(
            f"git cannot be started: {error}.", advice="Install git on this machine."
        ) from error
    popen: Popen = process.proc
    process.proc = None  # its finalizer would end one process only; ``end_git`` ends the group
    return popen


def end_git(process: Popen) -> None:
    """Ends git and everything it started, reaps it and closes its pipes. Idempotent."""
    for number in (signal.SIGTERM, signal.SIGKILL):  # on SIGTERM git removes its lock files
        if process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(1.0)
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe:
            with contextlib.suppress(BrokenPipeError):
                pipe.close()


def finish_git(
    process: Popen,
    watch: Watch | None = None,
    *,
    doing: str,
    given: bytes | None = None,
    each: Callable[[], None] | None = None,
) -> bytes:
    """Waits for git; returns its whole output.

    ``each`` is called with every check of the watch and may raise. Raises GitRefused for an exit status other than 0,
    and what the watch and ``each`` raise; git is ended in any case.
    """
    deadline = time.monotonic() + _LOCAL_LIMIT
    try:
        while True:
            try:
                out, err = process.communicate(given, timeout=_POLL)
                break
            except subprocess.TimeoutExpired:
                given = None
                if watch:
                    watch.check()
                elif time.monotonic() > deadline:
                    raise TimedOut(f"{doing}: git took more than {_LOCAL_LIMIT:.0f} seconds.") from None
                if each:
                    each()
    finally:
        end_git(process)
    if process.returncode:
        raise refusal(doing, process.returncode, err, out)
    return out


def run_git(
    repository: Path, *arguments: str, doing: str, given: bytes | None = None, quarantine: Path | None = None
) -> bytes:
    """The output of a short command that uses no network. Raises GitRefused."""
    stdin = subprocess.PIPE if given is not None else None
    process = start_git(repository, list(arguments), stdin=stdin, quarantine=quarantine)
    return finish_git(process, doing=doing, given=given)


def refusal(doing: str, status: int, stderr: bytes, stdout: bytes = b"") -> GitRefused:
    said = stderr.decode("utf-8", "replace").strip()
    last = "; ".join(line for line in said.splitlines() if line.strip())[-600:]
    message = f"{doing}: git exited with status {status}: {last or 'no error output'}."
    return GitRefused(message, status, said, stdout.decode("utf-8", "replace").strip())
