"""Which of a container's changed files are named."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator

from pipeline.adapters.docker.written import written
from pipeline.domain.engine_types import Written

CREATED = 1_700_000_000


class Engine:
    """What the Engine answers of one container."""

    def __init__(self, *changes: tuple[int, str], volume: dict[str, int] | None = None) -> None:
        self._changes, self._volume = list(changes), volume or {}

    def changes(self, name: str) -> list[tuple[int, str]]:
        return self._changes

    def size_of(self, name: str, path: str) -> int:
        return 7

    def archive(self, name: str, path: str) -> Iterator[bytes]:
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w") as tar:
            for member, mtime in self._volume.items():
                info = tarfile.TarInfo(f"data/{member}")
                info.mtime = mtime
                tar.addfile(info)
        yield out.getvalue()


def found(engine: Engine) -> tuple[str, ...]:
    mounts = [{"Type": "volume", "Destination": "/srv/data"}, {"Type": "tmpfs", "Destination": "/x"}]
    container = {"Id": "c", "Created": "2023-11-14T22:13:20.123456789Z", "Mounts": mounts}
    return tuple(one.path for one in written(engine, container))


def test_sizes_are_known_and_a_volume_of_the_configuration_is_left_out() -> None:
    engine = Engine((1, "/a"), volume={"row": CREATED})
    mounts = [{"Type": "volume", "Destination": "/srv/data"}]
    container = {"Id": "c", "Created": "2023-11-14T22:13:20.123456789Z", "Mounts": mounts}
    assert written(engine, container) == (Written("/a", 7), Written("/srv/data/row", 0, "/srv/data"))
    kept = {**container, "HostConfig": {"Mounts": [{"Target": "/srv/data"}]}}
    assert written(engine, kept) == (Written("/a", 7),)


def test_folders_of_other_paths_and_what_was_deleted_are_left_out() -> None:
    changes = [(0, "/a"), (1, "/a/b"), (1, "/a-b"), (0, "/etc"), (2, "/etc/old"), (0, "/etc/new")]
    assert found(Engine(*changes)) == ("/a/b", "/a-b", "/etc/new")
    assert found(Engine()) == ()


def test_what_every_start_makes_again_is_left_out() -> None:
    passing = [
        "/tmp/x",
        "/run/a.pid",
        "/var/cache/nginx/proxy",
        "/app/__pycache__/x",
        "/app/x.pyc",
        "/root/.cache/pip",
    ]
    assert found(Engine(*((1, path) for path in [*passing, "/sbin/docker-init", "/tmpx"]))) == ("/tmpx",)


def test_of_a_volume_the_first_file_that_is_younger_than_the_container_is_named() -> None:
    files = {"shipped": CREATED - 1, "row": CREATED, "more": CREATED + 1}
    assert found(Engine((1, "/srv"), (1, "/srv/data"), volume=files)) == ("/srv/data/row",)
    assert found(Engine(volume={"shipped": CREATED - 1})) == ()
