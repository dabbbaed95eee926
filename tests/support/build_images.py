"""A base image from busybox, a builder with an instance of its own, and a relay that can cut the Engine off."""

from __future__ import annotations

import contextlib
import io
import socket
import tarfile
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

from pipeline.adapters.buildkit.builder import DockerBuilder
from pipeline.adapters.buildkit.unneeded import bases
from pipeline.adapters.docker_api.api import DockerApi
from pipeline.adapters.docker_api.client import client
from pipeline.config.models import Build
from pipeline.ports.builder import BuildRequest
from pipeline.ports.clock import Deadline, SystemClock

CLOCK = SystemClock()
APPLETS = ("sh", "cat", "echo", "sleep", "ls", "dd", "yes", "head", "seq", "test", "grep", "mkdir")


def tar(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o755
            archive.addfile(member, io.BytesIO(content))
    return out.getvalue()


def busybox(mark: str) -> bytes:
    """The tar of a root file system: busybox and a unique mark, so that no build from it is cached."""
    raw = io.BytesIO(tar({"bin/busybox": Path("/bin/busybox").read_bytes(), "mark": mark.encode()}))
    with tarfile.open(fileobj=raw, mode="a") as archive:
        for name in APPLETS:
            link = tarfile.TarInfo(f"bin/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            archive.addfile(link)
    return raw.getvalue()


class Workshop:
    """A builder with labels of its own. ``close`` removes all that it built."""

    def __init__(self) -> None:
        self.name = f"pushlive-test-{uuid.uuid4().hex[:8]}"
        self.base = f"{self.name}-base:1"
        self.client = client()
        self.api = DockerApi(lambda: self.client)
        root = busybox(self.name)
        self.client.api.import_image_from_data(root, repository=self.base.split(":")[0], tag="1")
        self.builder = DockerBuilder(client, CLOCK, instance=self.name)
        self.events = []

    def request(
        self, content: str, *, ignore: str = "", rebuild: bool = False, key: str = "", **build: object
    ):
        text = content.replace("BASE", self.base)
        return BuildRequest("hello", "c" * 40, key or uuid.uuid4().hex, Build(**build), text, ignore, rebuild)

    def build(
        self, request: BuildRequest, files: dict[str, bytes] | None = None, *, builder=None, watch=None
    ):
        self.events.clear()
        given = {request.build.dockerfile: request.dockerfile.encode(), **(files or {})}

        @contextlib.contextmanager
        def context() -> Iterator[io.BytesIO]:
            yield io.BytesIO(tar(given))

        watch = watch or Deadline(CLOCK, 60, "The build")
        return (builder or self.builder).build(request, context, self.events.append, watch)

    def texts(self, kind: str) -> list[str]:
        return [event.text for event in self.events if event.kind == kind]

    def close(self) -> None:
        mine = {"label": f"pushlive.instance={self.name}"}
        for image in self.client.api.images(filters=mine):
            self.client.api.remove_image(image["Id"], force=True)
        for image in self.client.api.images(name=bases(self.name)):
            self.client.api.remove_image(image["Id"], force=True)
        self.client.api.remove_image(self.base, force=True)
        self.client.close()


class Relay:
    """A Unix socket in front of the Engine's; ``cut`` breaks all of its connections."""

    def __init__(self, path: Path, target: str = "/var/run/docker.sock") -> None:
        self.url = f"unix://{path}"
        self._target = target
        self._pairs: list[socket.socket] = []
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(path))
        self._server.listen()
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._server.accept()
            except OSError:
                return
            far = socket.socket(socket.AF_UNIX)
            far.connect(self._target)
            self._pairs += [near, far]
            for one, other in ((near, far), (far, near)):
                self._threads.append(threading.Thread(target=self._pump, args=(one, other), daemon=True))
                self._threads[-1].start()

    @staticmethod
    def _pump(one: socket.socket, other: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := one.recv(1 << 16):
                other.sendall(data)
        for end in (one, other):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def cut(self) -> None:
        for end in self._pairs:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self.cut()
        for thread in self._threads:
            thread.join(5)
        for end in self._pairs:
            end.close()
