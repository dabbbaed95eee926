"""Tar streams changed on the way: members left out or renamed. No file is ever kept in memory."""

from __future__ import annotations

import io
import posixpath
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import IO

from pipeline.errors import RequestError

Change = Callable[[tarfile.TarInfo], tarfile.TarInfo | None]

END = b"\0" * (2 * tarfile.BLOCKSIZE)  # of an archive
_CHUNK = 1 << 18
_MAGIC = slice(257, 262)  # of the first header
_COMPRESSED = (
    (b"\x1f\x8b\x08", "gzip", "gunzip FILE"),
    (b"BZh", "bzip2", "bunzip2 FILE"),
    (b"\xfd7zXZ\x00", "xz", "unxz FILE"),
    (b"\x28\xb5\x2f\xfd", "zstd", "unzstd FILE"),
)


def chunks(stream: IO[bytes]) -> Iterator[bytes]:
    """The stream in pieces of at most 256 KiB."""
    while piece := stream.read(_CHUNK):
        yield piece


def rewrite(
    stream: IO[bytes], change: Change, links: Mapping[str, bytes] | None = None, *, end: bool = True
) -> Iterator[bytes]:
    """The tar archive with each member as ``change`` returns it; None leaves it out. ``change`` must also rename the
    targets of hard links. ``links``: what to write as a file where the archive has a symbolic link of that name.
    ``end``: with the end of an archive. Raises tarfile.TarError on a broken archive."""
    with tarfile.open(fileobj=stream, mode="r|", bufsize=_CHUNK) as archive:
        for member in archive:
            archive.members = []  # type: ignore[attr-defined]  # otherwise every header would be kept in memory
            changed = change(member)
            if changed is None:
                continue
            if changed.issym() and (text := (links or {}).get(posixpath.normpath(member.name))) is not None:
                yield from _file(changed, text)
                continue
            changed.pax_headers = {}  # they have the old path; tobuf creates new ones if needed
            yield changed.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
            content = archive.extractfile(member) if member.isreg() else None
            if content:
                yield from chunks(content)
                yield b"\0" * (-member.size % tarfile.BLOCKSIZE)
    if end:
        yield END


def _file(link: tarfile.TarInfo, text: bytes) -> Iterator[bytes]:
    """In the place of a link."""
    made = tarfile.TarInfo(link.name)
    made.size, made.mode, made.mtime = len(text), 0o644, link.mtime
    yield made.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
    yield text + b"\0" * (-len(text) % tarfile.BLOCKSIZE)


def whole(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The same pieces. Raises RequestError at their end if they are not a tar archive with its end: one that was cut
    off between two files looks complete to the one that unpacks it."""
    first, last = b"", b""
    for piece in pieces:
        first = (first + piece[: _MAGIC.stop])[: _MAGIC.stop] if len(first) < _MAGIC.stop else first
        last = (last + piece)[-2 * tarfile.BLOCKSIZE :]
        if len(first) == _MAGIC.stop and first[_MAGIC] != b"ustar":
            _refuse_compressed(first)
            raise RequestError(
                "This is not a tar archive.",
                advice="Give a tar archive that is not compressed.",
            )
        yield piece
    if last != b"\0" * (2 * tarfile.BLOCKSIZE):
        if len(first) < _MAGIC.stop:
            _refuse_compressed(first)
        raise RequestError(
            "The tar archive is not complete: its end is missing.",
            advice="Give the whole file, or another backup.",
        )


def _refuse_compressed(first: bytes) -> None:
    """Only for what is no header of tar: the name of a file may begin with these bytes."""
    for magic, name, command in _COMPRESSED:
        if first.startswith(magic):
            raise RequestError(
                f"This is compressed with {name}.",
                advice=f"Unpack it first: `{command}`, then give the tar archive.",
            )


class Reader(io.RawIOBase):
    """A readable file from an iterator's pieces."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._rest = memoryview(piece)
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count
