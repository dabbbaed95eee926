"""A bundle: records with their logs, a page and a list of their hashes, signed, as a ``.tar.gz``.

The same records and acts make the same bundle, whenever it is made.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from pipeline.evidence import layout, page, statements
from pipeline.evidence.acts import KeptAct
from pipeline.evidence.layout import BUNDLE, INDEX, PROVENANCE, SCHEMA, STATEMENT, SUMS, text_of
from pipeline.evidence.records import Kept
from pipeline.evidence.signing import SigningKey
from pipeline.evidence.upkeep import ACT

FORM = 1
SCHEMA_FILE = Path(__file__).with_name("schema.json")
_PIECE = 1 << 20


@dataclass(frozen=True)
class Contents:
    """What goes into it. ``name``: "hello r17" or "hello#42"; ``environment``: "" for all of them; ``records``: oldest
    first; ``acts``: entries of the audit log, ``of_acts``: the records of those that have one; ``built``: the record of
    the run that built the image, if there is one, which may be another."""

    pipeline: str
    name: str
    environment: str
    installation: str
    records: Sequence[Kept]
    acts: Sequence[dict[str, Any]]
    built: dict[str, Any] | None = None
    of_acts: Sequence[KeptAct] = ()


def write(contents: Contents, key: SigningKey, out: IO[bytes], made: Callable[[str], None]) -> None:
    """``made`` is called with the SHA-256 of the list of hashes before the last byte is written. Raises EngineFailed
    if a record cannot be read, and what ``made`` raises."""
    with (
        gzip.GzipFile("", "wb", 6, out, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as archive,
    ):
        writer = _Writer(archive, max((one.at // 1000 for one in contents.records), default=0))
        records = [_with_files(one, writer) for one in contents.records]
        about = _about(contents, records, dict(_of_act(one, writer) for one in contents.of_acts))
        writer.add(BUNDLE, text_of(about).encode())
        writer.add(SCHEMA, SCHEMA_FILE.read_bytes())
        writer.add(INDEX, page.html(about, [one for _, one in records]).encode())
        if contents.built and (provenance := statements.provenance(contents.built)):
            writer.add(PROVENANCE, key.sign(provenance).encode())
        sums = layout.sums_of(writer.hashes)
        made(hashlib.sha256(sums.encode()).hexdigest())
        writer.add(SUMS, sums.encode())
        writer.add(STATEMENT, key.sign(statements.of_bundle(contents.name, sums)).encode())


def _with_files(kept: Kept, writer: _Writer) -> tuple[dict[str, str], dict[str, Any]]:
    """The record's files, and the record. Its bytes are in the bundle as they were written."""
    record = kept.record()
    files = {"record": f"records/{kept.name}.json"}
    writer.add(files["record"], kept.text())
    log = kept.log()
    if record.get("log") and log is not None:
        files["log"] = f"logs/{kept.name}.txt"
        with closing(log):
            writer.copy(files["log"], log, int(record["log"]["size"]))
    return files, record


def _of_act(kept: KeptAct, writer: _Writer) -> tuple[str, str]:
    """The hash of the entry in the audit log, and the file of its record."""
    file = f"records/{kept.name}.json"
    writer.add(file, kept.text())
    return str(kept.record()[ACT]["hash"]), file


def _about(
    contents: Contents, records: Sequence[tuple[dict[str, str], dict[str, Any]]], of_acts: Mapping[str, str]
) -> dict[str, Any]:
    """``of_acts``: the file of each act that has one, by its entry's hash."""
    released = [record["release"] for _, record in records if record["release"]]
    listed = [
        {"id": record["id"], "kind": record["kind"], "outcome": outcome_of(record), **files}
        for files, record in records
    ]
    return {
        "form": FORM,
        "name": contents.name,
        "pipeline": contents.pipeline,
        "environment": contents.environment,
        "installation": contents.installation,
        "release": released[0]["name"] if released else "",
        "image": released[0]["image"] if released else "",
        "records": listed,
        "approvals": [
            {"run": record["id"], **one} for _, record in records for one in record.get("approvals", ())
        ],
        "acts": [act | {"record": of_acts.get(act["hash"], "")} for act in contents.acts],
    }


def outcome_of(record: Mapping[str, Any]) -> str:
    """Of a run, or of what else was recorded: a part has the name of the record's kind."""
    return str(record[record["kind"]]["outcome"])


class _Writer:
    """Adds files to the archive, and remembers their hashes. ``at``: their time, in seconds since the epoch."""

    def __init__(self, archive: tarfile.TarFile, at: int) -> None:
        self._archive, self._at = archive, at
        self.hashes: dict[str, str] = {}

    def add(self, name: str, content: bytes) -> None:
        self.copy(name, io.BytesIO(content), len(content))

    def copy(self, name: str, source: IO[bytes], size: int) -> None:
        """Raises OSError if the source has less than that."""
        member = tarfile.TarInfo(name)
        member.size, member.mtime, member.mode = size, self._at, 0o644
        reader = _Hashing(source)
        self._archive.addfile(member, reader)
        self.hashes[name] = reader.digest.hexdigest()


class _Hashing(io.RawIOBase):
    def __init__(self, source: IO[bytes]) -> None:
        self._source, self.digest = source, hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        piece = self._source.read(size)
        self.digest.update(piece)
        return piece
