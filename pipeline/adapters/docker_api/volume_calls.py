"""Volumes: one method for each call, and streams of any length into and out of containers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing

import requests
import urllib3
from docker.errors import DockerException

from pipeline.adapters.docker_api.connection import Connection
from pipeline.adapters.docker_api.container_calls import Found
from pipeline.adapters.docker_api.errors import as_error, translate
from pipeline.adapters.docker_api.labels import Body
from pipeline.errors import TryAgain
from pipeline.lib.sockets import Interruptible
from pipeline.lib.streams import Silence, pump
from pipeline.ports.clock import Watch

SILENCE = 60.0  # seconds without a piece after which a stream is given up
_PIECE = 1 << 18  # bytes


class VolumeCalls(Connection):
    """Errors are translated (``errors.translate``)."""

    def volume(self, name: str) -> Found | None:
        """One volume, None if there is none."""
        found: Found | None = self.unless_gone(
            f"Inspecting the volume {name}", lambda: self.sdk.inspect_volume(name)
        )
        return found

    def volumes(self, label: str) -> list[Found]:
        """Volumes that carry this label (``name`` or ``name=value``)."""
        with translate("Listing volumes"):
            found: list[Found] | None = self.sdk.volumes(filters={"label": label})["Volumes"]
        return found or []

    def counted_volumes(self) -> list[Found]:
        """Every volume of the Engine, with its size in ``UsageData``: it counts the files of all, which takes long if
        there are many. Engines before 23.0 count their images as well; they know no ``type``."""
        return self.disk_usage("volume", "Asking for the sizes of volumes")["Volumes"] or []

    def users_of_volumes(self) -> dict[str, list[Found]]:
        """The containers that have each volume, running or not, by its name."""
        with translate("Asking which containers have volumes"):
            found: list[Found] = self.sdk.containers(all=True)
        users: dict[str, list[Found]] = defaultdict(list)
        for one in found:
            for name in {mount["Name"] for mount in one.get("Mounts") or () if mount.get("Type") == "volume"}:
                users[name].append(one)
        return users

    def create_volume(self, body: Body) -> None:
        """Creates a volume. Idempotent: one of that name stays as it is, also if its labels differ."""
        with translate(f"Creating the volume {body['Name']}"):
            self.sdk.create_volume(body["Name"], labels=body["Labels"])

    def remove_volume(self, name: str) -> None:
        """Removes a volume. Idempotent. Raises DockerRefused: 409 if a container has it."""
        self.unless_gone(f"Removing the volume {name}", lambda: self.sdk.remove_volume(name))

    def containers_with(self, volume: str) -> list[Found]:
        """The containers that have that volume, running or not."""
        with translate(f"Asking which containers have the volume {volume}"):
            found: list[Found] = self.sdk.containers(all=True, filters={"volume": volume})
        return found

    def download(self, container: str, path: str, watch: Watch) -> Generator[bytes]:
        """A folder of a container as a tar stream of any length. Raises TryAgain if the Engine sends nothing for
        SILENCE seconds, and what the watch raises. Close it."""
        doing, waits = f"Reading {path} of {container[:80]}", Interruptible()

        def pieces() -> Iterator[bytes]:
            with closing(self.get(f"/containers/{container}/archive", params={"path": path})) as answer:
                yield from answer.raw.stream(_PIECE, decode_content=True)

        return _streamed(doing, pieces, waits, watch)

    def upload(self, container: str, path: str, tar: Iterable[bytes], watch: Watch) -> None:
        """Unpacks a tar stream of any length into a folder of a container, with the owners that it names. Raises
        DockerRefused if the Engine cannot unpack it, and what ``tar`` and the watch raise."""
        doing, waits = f"Unpacking into {path} of {container[:80]}", Interruptible()

        def send() -> Iterator[bytes]:
            self.put(f"/containers/{container}/archive", params={"path": path}, data=iter(tar)).close()
            yield from ()

        for _ in _streamed(doing, send, waits, watch, silent=True):
            pass


def _streamed(
    doing: str,
    source: Callable[[], Iterator[bytes]],
    waits: Interruptible,
    watch: Watch,
    *,
    silent: bool = False,
) -> Generator[bytes]:
    def run() -> Iterator[bytes]:
        """In the pump's thread."""
        try:
            with waits:
                yield from source()
        except (DockerException, requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            raise as_error(doing, error) from error

    try:
        options = {} if silent else {"silence": SILENCE}
        yield from pump(run(), watch.check, waits.end, name=doing, **options)
    except Silence:
        raise TryAgain(f"{doing}: Docker has sent nothing for {SILENCE:g} s.") from None
