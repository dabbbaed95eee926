"""What a container's application has written: it ends with the container.

The Engine knows the files that differ from the image's, but not those in anonymous volumes (``VOLUME``), which are
asked for apart.
"""

from __future__ import annotations

import posixpath
import tarfile
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from datetime import datetime
from functools import partial
from typing import IO, cast

from pipeline.adapters.docker_api.api import DockerApi, Found
from pipeline.adapters.docker_api.errors import DockerRefused
from pipeline.adapters.tar_stream import Reader, rewrite
from pipeline.domain.engine_types import Written
from pipeline.errors import EngineFailed, TryAgain

DELETED = 2  # the Engine's number for that kind of change
SIZED = 40  # files of which the Engine is asked the size, about a millisecond each
MEMBERS = 1000  # files of a volume that are looked at
# What may be lost: every start makes it again.
_PASSING = ("tmp", "var/tmp", "run", "var/run", "var/cache", "var/lock", "var/log", "dev", "proc", "sys")
_PASSING_PARTS = ("__pycache__", ".cache")
_PASSING_ENDS = (".pyc", ".pid", ".sock", "/docker-init")


def written(api: DockerApi, container: Found) -> tuple[Written, ...]:
    """What an inspected container's application has added or changed, except for what is made again at every start. Of
    an anonymous volume, the first file that was written since the container was created. The first ones have sizes."""
    mounts = [one for one in container.get("Mounts") or () if one.get("Type") == "volume"]
    kept = {one["Target"] for one in (container.get("HostConfig") or {}).get("Mounts") or ()}
    volumes = [one["Destination"] for one in mounts]
    # The Engine itself makes the folder of a tmpfs or a bind, and the one that the command begins in.
    made = (
        *(one["Destination"] for one in container.get("Mounts") or () if one.get("Type") == "bind"),
        *((container.get("HostConfig") or {}).get("Tmpfs") or ()),
        (container.get("Config") or {}).get("WorkingDir") or "/",
    )
    changed = [path for kind, path in api.changes(container["Id"]) if kind != DELETED]
    leaves = _leaves(
        path for path in changed if not any(_is_in(path, one) or _is_in(one, path) for one in volumes)
    )
    paths = [path for path in leaves if not _passes(path) and path not in made]
    found = [Written(path, _size(api, container, path)) for path in paths[:SIZED]]
    found += [Written(path) for path in paths[SIZED:]]
    for volume in volumes:
        if volume in kept:  # it outlives its containers
            continue
        with suppress(DockerRefused, TryAgain, EngineFailed):  # what is known already is worth saying
            found += _in_volume(api, container, volume)
    return tuple(found)


def _size(api: DockerApi, container: Found, path: str) -> int | None:
    with suppress(DockerRefused, TryAgain, EngineFailed):
        return api.size_of(container["Id"], path)
    return None


def tar_of(api: DockerApi, container: Found, folder: str, paths: Iterable[str]) -> Iterator[bytes]:
    """Those files and folders of a container, under that folder, as members of a tar archive without its end."""
    for path in paths:
        with suppress(DockerRefused), closing(api.archive(container["Id"], path)) as pieces:
            to = f"{folder}{posixpath.dirname(path)}"
            stream = cast("IO[bytes]", Reader(iter(pieces)))  # all of it that is used
            yield from rewrite(stream, partial(_under, to), end=False)


def _under(folder: str, member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.name = posixpath.join(folder, member.name)
    if member.islnk():
        member.linkname = posixpath.join(folder, member.linkname)
    return member


def _in_volume(api: DockerApi, container: Found, volume: str) -> Iterator[Written]:
    created = datetime.fromisoformat(container["Created"][:19] + "+00:00").timestamp()
    with closing(api.archive(container["Id"], volume)) as pieces, suppress(tarfile.TarError):
        for number, member in enumerate(tarfile.open(fileobj=Reader(iter(pieces)), mode="r|")):  # noqa: SIM115 - the pieces are closed
            if number >= MEMBERS:
                return
            if member.isreg() and member.mtime >= created:  # older ones were copied out of the image
                path = posixpath.join(posixpath.dirname(volume), member.name)
                yield Written(path, member.size, volume)
                return


def _leaves(paths: Iterator[str]) -> list[str]:
    """Those that are no folder of another one: the Engine names every folder in which something changed."""
    ordered = sorted(paths, key=lambda path: path.split("/"))
    pairs = zip(ordered, [*ordered[1:], ""], strict=False)
    return [one for one, after in pairs if not after.startswith(f"{one}/")]


def _passes(path: str) -> bool:
    parts = path.split("/")
    return (
        any(_is_in(path, f"/{folder}") for folder in _PASSING)
        or any(part in parts for part in _PASSING_PARTS)
        or path.endswith(_PASSING_ENDS)
    )


def _is_in(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder.rstrip('/')}/")
