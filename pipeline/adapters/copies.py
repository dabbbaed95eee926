"""Copies of backups: through a command of the maintainer's, the system's ssh, or a bucket."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import tempfile
from collections.abc import Generator
from contextlib import suppress
from pathlib import Path

from pipeline.config.workload.backup import Destination
from pipeline.domain.volumes import KeptBackup, VolumeRef
from pipeline.errors import EngineFailed
from pipeline.lib.text import one_line
from pipeline.ports.clock import Watch
from pipeline.ports.volumes import Copies, NoCopies

_LAST = 16 << 10  # bytes of its output that are read
_SSH = ("ssh", "-T", "-o", "BatchMode=yes", "-o", "ConnectTimeout=20", "-o", "ServerAliveInterval=15")


class AnyCopies:
    """See ``ports.volumes.Copies``: a bucket, or what a program sends."""

    def __init__(self, programs: Copies, buckets: Copies) -> None:
        self._programs, self._buckets = programs, buckets

    def _of(self, to: Destination) -> Copies:
        return self._buckets if to.s3 else self._programs

    def send(self, to: Destination, ref: VolumeRef, file: Path, watch: Watch) -> None:
        self._of(to).send(to, ref, file, watch)

    def kept(self, to: Destination, ref: VolumeRef) -> tuple[KeptBackup, ...]:
        return self._of(to).kept(to, ref)

    def read(self, to: Destination, ref: VolumeRef, file: str, watch: Watch) -> Generator[bytes]:
        return self._of(to).read(to, ref, file, watch)

    def prune(self, to: Destination, ref: VolumeRef, keep: int) -> None:
        self._of(to).prune(to, ref, keep)


class CommandCopies(NoCopies):
    """See ``ports.volumes.Copies``: sends, and cannot list what is there."""

    def send(self, to: Destination, ref: VolumeRef, file: Path, watch: Watch) -> None:  # noqa: ARG002
        argv = to.command or _over_ssh(to, file)
        own = {key: text for key, text in os.environ.items() if not key.startswith("PUSHLIVE_")}
        with file.open("rb") as source, tempfile.TemporaryFile() as output:
            try:
                process = subprocess.Popen(
                    argv,
                    stdin=source,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env={**own, "PUSHLIVE_BACKUP": file.name},
                    start_new_session=True,
                )
            except OSError as error:
                raise EngineFailed(
                    f"{argv[0][:100]}, to which {file.name} is sent, cannot be started: {error.strerror or error}.",
                    advice="`backup.to` in pipelines.yaml names it; it runs on the machine of the service.",
                ) from error
            try:
                while process.poll() is None:
                    watch.wait(0.05)
            finally:
                if process.poll() is None:
                    with suppress(ProcessLookupError):
                        os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
            if process.returncode:
                raise _failed(argv[0], process.returncode, to, file, _last(output))


def _over_ssh(to: Destination, file: Path) -> tuple[str, ...]:
    """The size is compared at the other end: there, a connection that broke looks like the end of the file."""
    host, port, folder = to.ssh
    target = shlex.quote(f"{folder}/{file.name}" if folder != "/" else f"/{file.name}")
    part = shlex.quote(f"{folder}/.{file.name}.part")
    size = file.stat().st_size
    script = (
        f"umask 077 && mkdir -p {shlex.quote(folder)} && cat >{part} && "
        f'test "$(wc -c <{part})" -eq {size} && mv {part} {target}'
    )
    return (*_SSH, *(("-p", port) if port else ()), "--", host, script)


def _last(output: object) -> tuple[str, ...]:
    file: tempfile._TemporaryFileWrapper[bytes] = output  # type: ignore[assignment]
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _LAST))
    return tuple(file.read().decode(errors="replace").splitlines()[-20:])


def _failed(program: str, code: int, to: Destination, file: Path, said: tuple[str, ...]) -> EngineFailed:
    last = one_line(said[-1])[:300] if said else "it said nothing"
    where = to.url or program[:100]
    how = f"exited with {code}" if code > 0 else f"was ended by signal {-code}"
    return EngineFailed(
        f"{file.name} was not copied to {where}: {program[:100]} {how}: {last}.",
        advice="The backup itself is kept here; sending it is tried again.",
        evidence=said,
    )
