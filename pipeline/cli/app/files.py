"""``pushlive cp``: files out of a container that serves."""

from __future__ import annotations

import io
import os
import posixpath
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path

from pipeline.cli.app import session
from pipeline.cli.command import argument, command
from pipeline.cli.context import DONE, Context, UsageError
from pipeline.errors import RequestError
from pipeline.lib.text import one_line

_SOURCE = re.compile(r"([a-z][a-z0-9-]*):(/.*)", re.DOTALL)


@command(
    "copy a file or folder out of a container that serves, volumes included",
    argument("pipeline", metavar="PIPELINE"),
    argument("source", metavar="ENV:PATH", help="live:/data/file"),
    argument("target", metavar="TARGET", help="a new file or folder here"),
    argument("--process", default="", metavar="NAME", help="out of that process instead of the web one"),
)
def cp(context: Context) -> int:
    found = _SOURCE.fullmatch(context.args.source)
    if not found and _SOURCE.fullmatch(context.args.target):
        raise UsageError(
            "nothing is copied into a container: a file there ends with its release.",
            advice="Put the file into the image, or replace all files of a volume: "
            "`pushlive volume restore VOLUME --from FILE --stop`. "
            f"Out of a container: `pushlive cp {context.args.pipeline} {context.args.target} ./FILE`.",
        )
    if not found:
        raise UsageError(
            f"{context.args.source!r} is not ENV:PATH.",
            advice="For example: `pushlive cp hello live:/data/file ./file`.",
        )
    environment, path = found[1], posixpath.normpath(found[2])
    target = Path(context.args.target)
    name = path.rpartition("/")[2]
    if target.is_dir():
        target = target / name
    if not target.parent.is_dir():
        raise RequestError(
            f"{target.parent} is not a folder here.", advice="Make it first, or name another one."
        )
    if target.exists():
        raise RequestError(f"{target} exists.", advice="Give another name, or remove it first.")
    body = {"environment": environment, "path": path}
    if context.args.process:
        body["process"] = context.args.process
    pieces = _told(
        session.output(context.client, f"/api/pipelines/{context.args.pipeline}/copy", body),
        environment,
        path,
    )
    left = _unpack(pieces, name, target)
    context.terminal.say(f"{one_line(str(target))}")
    if left:
        shown = ", ".join(one_line(one) for one in left[:5]) + (", …" if len(left) > 5 else "")
        what = "1 link, which leads" if len(left) == 1 else f"{len(left)} links, which lead"
        context.terminal.complain(f"Without {what} out of what was copied: {shown}")
    return DONE


def _told(pieces: Iterator[bytes], environment: str, path: str) -> Iterator[bytes]:
    """The same; what fails is told of the path and not as the program that reads it puts it."""
    try:
        yield from pieces
    except session.CommandFailed as error:
        raise RequestError(
            f"{one_line(path)} was not copied from {environment}: it may not exist there, or the container's user may "
            "not read it.",
            advice=f"There it was said: {error.message}",
        ) from error


def _unpack(pieces: Iterator[bytes], name: str, target: Path) -> list[str]:
    """The archive's one file or folder as ``target``. Nothing in it can be outside of that: an application's archive is
    not trusted. Returns the links in a folder that lead out of it, and are left out."""
    left: list[str] = []

    def inside(entry: tarfile.TarInfo, folder: str) -> tarfile.TarInfo | None:
        try:
            return tarfile.data_filter(entry, folder)
        except (tarfile.AbsoluteLinkError, tarfile.LinkOutsideDestinationError):
            if entry.name.rstrip("/") == name:
                raise
            left.append(entry.name)
            return None

    partial = target.with_name(f".{target.name}.partial")
    try:
        with tarfile.open(fileobj=io.BufferedReader(_Pieces(pieces)), mode="r|") as archive:
            archive.extractall(partial, filter=inside)  # noqa: S202 - every entry passes the filter `data`
        for _ in pieces:  # so that a failure after the archive's end is heard
            pass
        if not os.path.lexists(partial / name):
            raise RequestError(f"{one_line(name)} was not copied: the archive that came does not have it.")
        (partial / name).rename(target)
        return left
    except tarfile.TarError as error:
        for _ in pieces:  # the command's own words are better
            pass
        raise RequestError(f"{one_line(name)} was not copied: {one_line(str(error)).rstrip('.')}.") from error
    finally:
        _remove(partial)


def _remove(folder: Path) -> None:
    import shutil

    shutil.rmtree(folder, ignore_errors=True)


class _Pieces(io.RawIOBase):
    """Pieces as a file."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces, self._rest = pieces, b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._rest = piece
        count = min(len(buffer), len(self._rest))
        buffer[:count], self._rest = self._rest[:count], self._rest[count:]
        return count
