"""A commit's whole tree, read as git lists it, with a limit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from pipeline.adapters.git.process import end_git, refusal, start_git
from pipeline.errors import RepositoryFailed
from pipeline.lib.units import show_size

FILES_AT_MOST = 250_000
_PIECE = 1 << 16  # bytes


@dataclass(frozen=True)
class Entry:
    mode: str
    id: str
    size: int  # in bytes, -1 if it is not a file
    path: bytes

    @property
    def is_file(self) -> bool:
        return self.mode.startswith("100")

    @property
    def name(self) -> bytes:
        return self.path.rpartition(b"/")[2]

    @property
    def is_link(self) -> bool:
        return self.mode == "120000"


def parse_entry(line: bytes) -> Entry:
    """One line of ``git ls-tree -l``."""
    head, _, name = line.partition(b"\t")
    mode, _, id_, size = head.decode().split()
    return Entry(mode, id_, int(size) if size != "-" else -1, name)


def walk_tree(repository: Path, commit: str, size_limit: int) -> Iterator[Entry]:
    """Every file of the commit. A small tree can contain itself many times and so list more files than any disk has:
    git is ended, and RequestError raised, beyond ``FILES_AT_MOST`` of them or ``size_limit`` bytes.

    ``commit``: a checked commit id."""
    process = start_git(repository, ["ls-tree", "-z", "-l", "-r", "--full-tree", commit])
    count, size, rest = 0, 0, b""
    try:
        while piece := cast(IO[bytes], process.stdout).read(_PIECE):
            *lines, rest = (rest + piece).split(b"\0")
            for one in map(parse_entry, lines):
                count, size = count + 1, size + max(0, one.size)
                _bounded(commit, count, size, size_limit)
                yield one
        process.wait(10.0)
        if process.returncode:
            said = process.stderr.read() if process.stderr else b""
            raise refusal(f"Reading the repository {repository.stem}", process.returncode, said)
    finally:
        end_git(process)


def _bounded(commit: str, count: int, size: int, size_limit: int) -> None:
    if count > FILES_AT_MOST:
        raise RepositoryFailed(
            f"Commit {commit[:7]} has more than {FILES_AT_MOST:,} files, so it is not built.",
            advice="Remove files that the build does not need, or put them into an archive.",
        )
    if size > size_limit:
        raise RepositoryFailed(
            f"The files of commit {commit[:7]} are larger than {show_size(size_limit)} in all, so it is not built.",
            advice="Remove large files from the repository, or raise PUSHLIVE_PUSH_LIMIT.",
        )
