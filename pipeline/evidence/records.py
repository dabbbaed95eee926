"""The records on disk: a folder for each, with ``record.json`` and the log, written once and never changed.

``<data>/evidence/<pipeline>/<kind>-<run>-r<release>-<time>/``, with ``r0`` for a run without a release, and the
milliseconds at which the run was accepted: after a store was lost, runs have the numbers of earlier ones again.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from secrets import token_hex
from typing import IO, Any, NamedTuple, cast

from pipeline.domain.run import Run
from pipeline.errors import EngineFailed, NotFound
from pipeline.evidence.upkeep import RUN, size_of
from pipeline.lib.key_file import sync_folder

FOLDER = "evidence"
RECORD, LOG = "record.json", "log.txt.gz"
_NAME = re.compile(
    r"(?P<kind>[a-z][a-z0-9-]{0,60}?)-(?P<run>[1-9][0-9]{0,8})-r(?P<release>[0-9]{1,9})-(?P<at>[0-9]{1,16})"
)
_PIECE = 1 << 20
DRAFT_KEPT = 600.0  # seconds, far longer than a record is written


class Kept(NamedTuple):
    """One record. ``at``: when its run was accepted, in milliseconds since the epoch."""

    folder: Path
    kind: str
    run: int
    release: int  # 0: none
    at: int

    @property
    def name(self) -> str:
        """``run-42``: unique among the records of one store."""
        return f"{self.kind}-{self.run}"

    def text(self) -> bytes:
        """record.json as it was written. Raises EngineFailed."""
        return read_record(self.folder / RECORD)[0]

    def record(self) -> dict[str, Any]:
        """Raises EngineFailed."""
        return read_record(self.folder / RECORD)[1]

    def log(self) -> IO[bytes] | None:
        """The run's log as it was at its end; None if it had none. Close it."""
        try:
            return cast(IO[bytes], gzip.open(self.folder / LOG, "rb"))
        except FileNotFoundError:
            return None

    def size(self) -> int:
        try:
            return size_of(self.folder.iterdir())
        except OSError:
            return 0

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


class Records:
    """``data``: the data folder."""

    def __init__(self, data: Path) -> None:
        self._folder = data / FOLDER

    def of_run(self, run: Run, kind: str = RUN) -> Kept | None:
        wanted = (kind, run.number, _at(run))
        return next((one for one in self.of(run.pipeline) if (one.kind, one.run, one.at) == wanted), None)

    def of(self, pipeline: str) -> tuple[Kept, ...]:
        """All of a pipeline, oldest first."""
        return tuple(sorted(_kept(self._folder / pipeline), key=_order))

    def all(self) -> Iterator[tuple[str, Kept]]:
        """Each with its pipeline."""
        for pipeline in self.pipelines():
            yield from ((pipeline, one) for one in self.of(pipeline))

    def pipelines(self) -> tuple[str, ...]:
        with suppress(FileNotFoundError):
            folders = (path for path in self._folder.iterdir() if path.is_dir())
            return tuple(sorted(path.name for path in folders if path.name[0] not in "._"))
        return ()

    def write(self, run: Run, record: dict[str, Any], log: Path | None, kind: str = RUN) -> None:
        """Writes the record once, whole or not at all, with what is in that log (None: it has none). Idempotent: one
        that is there stays as it is. Raises EngineFailed."""
        folder = self._folder / run.pipeline
        draft = folder / f".{token_hex(6)}"
        final = folder / f"{kind}-{run.number}-r{run.release or 0}-{_at(run)}"
        if final.exists():
            return
        try:
            remove_drafts(folder)
            draft.mkdir(parents=True, mode=0o700)
            record = {**record, "log": _copied(log, draft / LOG)} if log else record
            text = json.dumps(record, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
            with new_file(draft / RECORD) as opened:
                opened.write(text.encode("utf-8", "replace"))
                sync(opened)
            sync_folder(draft)
            with suppress(
                FileExistsError
            ):  # another process was first; a folder that has files is not replaced
                _moved(draft, final)
            sync_folder(folder)
        except OSError as error:
            raise EngineFailed(
                f"the record of {run.id} cannot be written to {folder}: {error.strerror or error}.",
                advice="Check the folder and the free space on its disk; the service tries again.",
            ) from error
        finally:
            shutil.rmtree(draft, ignore_errors=True)


def _order(one: Kept) -> tuple[int, int, bool, str]:
    return one.at, one.run, one.kind != RUN, one.kind


def _at(run: Run) -> int:
    return int(run.accepted * 1000)


def _kept(folder: Path) -> Iterator[Kept]:
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return
    for name in names:
        if match := _NAME.fullmatch(name):
            yield Kept(
                folder / name, match["kind"], int(match["run"]), int(match["release"]), int(match["at"])
            )


def _copied(log: Path, target: Path) -> dict[str, Any] | None:
    """Its hash and size, None if there is no log."""
    digest, size = hashlib.sha256(), 0
    try:
        with log.open("rb") as source, new_file(target) as opened:
            with gzip.GzipFile("", "wb", 6, opened, mtime=0) as packed:
                while piece := source.read(_PIECE):
                    digest.update(piece)
                    size += len(piece)
                    packed.write(piece)
            sync(opened)
    except FileNotFoundError:
        return None
    return {"sha256": digest.hexdigest(), "size": size}


def new_file(path: Path) -> IO[bytes]:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")


def sync(opened: IO[bytes]) -> None:
    opened.flush()
    os.fsync(opened.fileno())


def _moved(draft: Path, final: Path) -> None:
    """Raises FileExistsError if there is one."""
    try:
        draft.rename(final)
    except OSError as error:
        if final.exists():
            raise FileExistsError from error
        raise


def remove_drafts(folder: Path) -> None:
    """What processes that were killed have left."""
    for draft in folder.glob(".*"):
        with suppress(FileNotFoundError):
            if time.time() - draft.stat().st_mtime <= DRAFT_KEPT:
                continue
            if draft.is_dir():
                shutil.rmtree(draft, ignore_errors=True)
            else:
                draft.unlink()


def read_record(file: Path) -> tuple[bytes, dict[str, Any]]:
    """As it was written, and what it says. Raises EngineFailed."""
    try:
        text = file.read_bytes()
        found = json.loads(text)
    except OSError as error:
        raise _unreadable(file, error.strerror or str(error)) from error
    except (ValueError, RecursionError) as error:
        raise _unreadable(file, "it is not JSON") from error
    if not isinstance(found, dict):
        raise _unreadable(file, "it is not a record")
    return text, found


def _unreadable(file: Path, why: str) -> EngineFailed:
    return EngineFailed(f"{file} cannot be read: {why}.", advice="Restore it from a backup.")


def missing(what: str) -> NotFound:
    return NotFound(
        f"nothing is recorded of {what}.", advice="`pushlive runs` lists the runs that have ended."
    )
