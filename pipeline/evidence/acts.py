"""The records of what people did outside of runs: a file for each such entry of the audit log, written once.

``<data>/evidence/_acts/<pipeline>/<number>-r<release>-<time>-<hash>.json``, with ``_`` for an act that is about no
pipeline, ``r0`` for one about no release, the milliseconds since the epoch, and the beginning of the entry's hash:
after a store was lost, entries have the numbers of earlier ones again.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from secrets import token_hex
from typing import Any, NamedTuple

from pipeline.deploy.services import Services
from pipeline.domain.audit_chain import Entry
from pipeline.errors import EngineFailed
from pipeline.evidence import record
from pipeline.evidence.layout import text_of
from pipeline.evidence.records import FOLDER, Records, new_file, read_record, remove_drafts, sync
from pipeline.evidence.upkeep import ACT, Stored, size_of
from pipeline.lib.key_file import sync_folder

ACTS = "_acts"  # no pipeline's name begins so
_NO_PIPELINE = "_"
_NAME = re.compile(
    r"(?P<number>[1-9][0-9]{0,15})-r(?P<release>[0-9]{1,9})-(?P<at>[0-9]{1,16})-(?P<hash>[0-9a-f]{8})\.json"
)
_PIPELINE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")

RUNS_BEGIN = frozenset({"push", "deploy", "retry", "revert"})
"""The record of the run has them."""
NOT_KEPT = RUNS_BEGIN | {
    "evidence",
    "log-in",
    "log-in failed",
    "audit log begins again",
    "audit.head was missing",
}
"""Acts without a record of their own: an export would change the next one, and who only looks changes nothing."""


class KeptAct(NamedTuple):
    """One record. ``number``: of the entry in the audit log; ``at``: milliseconds since the epoch; ``release``: 0 for
    none; ``hash``: how that of the entry begins."""

    file: Path
    number: int
    release: int
    at: int
    hash: str

    @property
    def name(self) -> str:
        """``act-57-0badcafe``"""
        return f"{ACT}-{self.number}-{self.hash}"

    @property
    def kind(self) -> str:
        return ACT

    def size(self) -> int:
        return size_of((self.file,))

    def remove(self) -> None:
        self.file.unlink(missing_ok=True)

    def text(self) -> bytes:
        """As it was written. Raises EngineFailed."""
        return read_record(self.file)[0]

    def record(self) -> dict[str, Any]:
        """Raises EngineFailed."""
        return read_record(self.file)[1]


def is_kept(entry: Mapping[str, Any]) -> bool:
    """Whether the entry of the audit log is of an act that gets a record."""
    return (
        entry.get("act") not in NOT_KEPT
        and type(entry.get("number")) is int
        and _at(entry) > 0
        and bool(_begin(entry))
    )


class Acts:
    """``data``: the data folder."""

    def __init__(self, data: Path) -> None:
        self._folder = data / FOLDER / ACTS

    def of(self, pipeline: str) -> tuple[KeptAct, ...]:
        """Those about that pipeline, "" for those about none; oldest first."""
        return tuple(sorted(_kept(self._of(pipeline)), key=lambda one: (one.at, one.number)))

    def all(self) -> Iterator[tuple[str, KeptAct]]:
        """Each with its pipeline, "" for none."""
        for pipeline in self._pipelines():
            yield from ((pipeline, one) for one in self.of(pipeline))

    def path(self, entry: Entry) -> Path:
        number, release, at = entry["number"], _release(entry), _at(entry)
        return self._of(str(entry.get("pipeline", ""))) / f"{number}-r{release}-{at}-{_begin(entry)}.json"

    def write(self, entry: Entry, services: Services, now: float, version: str) -> bool:
        """The record of that act, whole or not at all. False if it has one: that stays as it is. Raises EngineFailed
        and StoreUnavailable."""
        final = self.path(entry)
        if final.exists():
            return False
        text = text_of(made(entry, services, now, version)).encode("utf-8", "replace")
        draft = final.parent / f".{token_hex(6)}"
        try:
            final.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            remove_drafts(final.parent)
            with new_file(draft) as opened:
                opened.write(text)
                sync(opened)
            with suppress(FileExistsError):  # another process was first; a link replaces nothing
                os.link(draft, final)
            sync_folder(final.parent)
        except OSError as error:
            raise EngineFailed(
                f"the record of entry {entry['number']} of the audit log cannot be written to {final.parent}: "
                f"{error.strerror or error}.",
                advice="Check the folder and the free space on its disk; the service tries again.",
            ) from error
        finally:
            draft.unlink(missing_ok=True)
        return True

    def _pipelines(self) -> Iterator[str]:
        with suppress(FileNotFoundError):
            for path in sorted(self._folder.iterdir()):
                if path.is_dir():
                    yield "" if path.name == _NO_PIPELINE else path.name

    def _of(self, pipeline: str) -> Path:
        return self._folder / (pipeline if _PIPELINE.fullmatch(pipeline) else _NO_PIPELINE)


def everything(data: Path) -> Iterator[tuple[str, Stored]]:
    """The records of all kinds, each with its pipeline, "" for none."""
    yield from Records(data).all()
    yield from Acts(data).all()


def made(entry: Entry, services: Services, now: float, version: str) -> dict[str, Any]:
    """The record. Raises StoreUnavailable."""
    pipeline, environment = str(entry.get("pipeline", "")), str(entry.get("environment", ""))
    known = {key: entry.get(key, "") for key in (*record.ACT_KEYS, "pipeline", "previous")}
    parts = {"environment": environment, ACT: known}
    return record.framed(services, pipeline, ACT, f"entry {entry['number']}", now, version, parts)


def _kept(folder: Path) -> Iterator[KeptAct]:
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return
    for name in names:
        if match := _NAME.fullmatch(name):
            number, release, at = (int(match[key]) for key in ("number", "release", "at"))
            yield KeptAct(folder / name, number, release, at, match["hash"])


def _release(entry: Mapping[str, Any]) -> int:
    match = re.fullmatch(r"r([0-9]{1,9})", str(entry.get("release", "")))
    return int(match[1]) if match else 0


def _begin(entry: Mapping[str, Any]) -> str:
    """How its hash begins; "" if it has none."""
    match = re.match(r"[0-9a-f]{8}", str(entry.get("hash", "")))
    return match[0] if match else ""


def _at(entry: Mapping[str, Any]) -> int:
    """Its time in milliseconds since the epoch, 0 if it has none."""
    return record.milliseconds(str(entry.get("time", "")))
