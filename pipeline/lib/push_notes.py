"""The notes that the built-in git server keeps of pushes: a file for each, in a folder of the repository. git's
pre-receive hook writes it before a ref moves (``webhooks/git/pre_receive.py``), and it is removed once the push is
recorded.

A file's first line is the pusher, its second one the role and the address, and each of the others is one update as git
reports it: the commit before, the one after, and the ref. A line ``option NAME`` is an option of the push.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

FOLDER = "pushes"
_OPTION = "option "


@dataclass(frozen=True)
class Update:
    before: str  # a commit, or zeros for a new ref
    after: str  # a commit, or zeros for a deleted ref
    ref: str

    @property
    def deletes(self) -> bool:
        return not self.after.strip("0")


@dataclass(frozen=True)
class Note:
    push: str  # its name: "git:<push>" is the delivery id
    pusher: str
    role: str
    address: str
    updates: tuple[Update, ...]
    option: str = ""  # that asks not to deploy it


def file_of(repository: Path, push: str) -> Path:
    return repository / FOLDER / push


def updates(lines: Iterable[str]) -> tuple[Update, ...]:
    """Out of git's lines for its hooks; what is no update is left out."""
    return tuple(Update(*line.split(" ", 2)) for line in lines if line.count(" ") >= 2)


def parsed(push: str, raw: bytes) -> Note:
    """What a note says; one that was cut off or is damaged has fewer updates."""
    # Not splitlines(): a ref may contain characters that it treats as line ends.
    pusher, who, *lines = [*raw.decode("utf-8", "replace").split("\n"), "", ""]
    role, _, address = who.partition(" ")
    option = next((line.removeprefix(_OPTION) for line in lines if line.startswith(_OPTION)), "")
    return Note(push, pusher, role, address, updates(lines), option)


def written(note: Note) -> bytes:
    lines = (f"{one.before} {one.after} {one.ref}" for one in note.updates)
    option = (f"{_OPTION}{note.option}",) if note.option else ()
    return "\n".join((note.pusher, f"{note.role} {note.address}", *option, *lines, "")).encode()
