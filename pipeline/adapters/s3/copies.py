"""Copies of backups in a bucket: ``folder/<owner>/<environment>/<name>/<file>``, as in the data folder.

An upload of several parts appears under its name only once all are there. What a killed process has begun is given up
by the next upload of the same volume or accessory: under the lease of its backups, one runs at a time.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from pipeline.adapters.s3.client import client, endpoint
from pipeline.adapters.s3.errors import DENIED, MISSING, translated
from pipeline.config.settings import Settings
from pipeline.config.workload.backup import Destination
from pipeline.domain.volumes import KeptBackup, VolumeRef, folder_of, time_of
from pipeline.errors import EngineFailed, NotFound
from pipeline.ports.clock import Watch

if TYPE_CHECKING:
    from minio import Minio

PART = 16 << 20  # bytes of an upload that are in memory at once
_PARTS = 10_000  # S3 takes no more for one object
_PIECE = 1 << 18
_OF = "x-amz-meta-pushlive-of"  # what a copy is of: only what carries it is ever removed


class S3Copies:
    """See ``ports.volumes.Copies``; for places with ``Destination.s3``."""

    def __init__(self, settings: Settings) -> None:
        self._settings, self._endpoint = settings, endpoint(settings)

    def send(self, to: Destination, ref: VolumeRef, file: Path, watch: Watch) -> None:
        bucket, folder = _place(to, ref)
        size, name = file.stat().st_size, f"{folder}{file.name}"
        with translated(f"{file.name} was not copied to {to}", self._endpoint), file.open("rb") as source:
            store = client(self._settings)
            _give_up_half(store, bucket, folder)
            sent = store.put_object(
                bucket,
                name,
                _Watched(source, watch),  # type: ignore[arg-type]
                size,
                metadata={_OF: self._mark(ref)},
                part_size=max(PART, -(-size // _PARTS)),
                num_parallel_uploads=1,
            )
            found = store.stat_object(bucket, name)
            if (found.size, found.etag) == (size, sent.etag):
                return
            store.remove_object(bucket, name)
        raise EngineFailed(
            f"{file.name} was not copied to {to}: the store has {found.size} bytes of it instead of {size}.",
            advice="The backup itself is kept here; sending it is tried again.",
        )

    def kept(self, to: Destination, ref: VolumeRef) -> tuple[KeptBackup, ...]:
        bucket, folder = _place(to, ref)
        with translated(f"The backups in {to} cannot be listed", self._endpoint):
            return _kept(client(self._settings), bucket, folder)

    def read(self, to: Destination, ref: VolumeRef, file: str, watch: Watch) -> Generator[bytes]:
        from minio.error import S3Error

        bucket, folder = _place(to, ref)
        what, count = f"{file[:120]} was not read from {to}", 0
        missing = NotFound(
            f"There is no backup {file[:120]!r} of {ref} in {to}.",
            advice=f"`pushlive backups {ref.owner}` lists them.",
        )
        if time_of(file) is None:
            raise missing
        with translated(what, self._endpoint):
            store = client(self._settings)
            try:
                size = store.stat_object(bucket, f"{folder}{file}").size
                answer = store.get_object(bucket, f"{folder}{file}")
            except S3Error as error:
                if error.code not in MISSING:
                    raise
                raise missing from error
            with closing(answer):
                for piece in answer.stream(_PIECE):
                    watch.check()
                    count += len(piece)
                    yield piece
        if count != size:
            raise EngineFailed(f"{what}: {count} bytes came instead of {size}.", advice="Try again.")

    def prune(self, to: Destination, ref: VolumeRef, keep: int) -> None:
        from minio.error import S3Error

        bucket, folder = _place(to, ref)
        with translated(f"Older backups in {to} were not removed", self._endpoint):
            store = client(self._settings)
            for one in _kept(store, bucket, folder)[keep:]:
                try:
                    if self._is_ours(store, bucket, f"{folder}{one.file}", ref):
                        store.remove_object(bucket, f"{folder}{one.file}")
                except S3Error as error:
                    if error.code not in DENIED | MISSING:
                        raise  # a key that may only add is a choice: no one who has it can remove backups

    def _is_ours(self, store: Minio, bucket: str, name: str, ref: VolumeRef) -> bool:
        metadata: Any = store.stat_object(bucket, name).metadata
        return bool(metadata) and metadata.get(_OF) == self._mark(ref)

    def _mark(self, ref: VolumeRef) -> str:
        return f"{self._settings.instance}/{folder_of(ref)}"


class _Watched:
    """A file that stops being read once the watch says so."""

    def __init__(self, file: IO[bytes], watch: Watch) -> None:
        self._file, self._watch = file, watch

    def read(self, size: int = -1) -> bytes:
        self._watch.check()
        return self._file.read(size)


def _place(to: Destination, ref: VolumeRef) -> tuple[str, str]:
    """The bucket, and the folder of the backups of ``ref`` with a slash at its end."""
    found = to.s3
    if found is None:
        raise ValueError(str(to))
    bucket, folder = found
    return bucket, f"{folder}/{folder_of(ref)}/".lstrip("/")


def _kept(store: Minio, bucket: str, folder: str) -> tuple[KeptBackup, ...]:
    found = []
    for one in store.list_objects(bucket, prefix=folder):
        file = (one.object_name or "").removeprefix(folder)
        at = time_of(file)
        if at is not None:
            found.append(KeptBackup(file, at, one.size or 0))
    return tuple(sorted(found, key=lambda one: one.order, reverse=True))


def _give_up_half(store: Minio, bucket: str, folder: str) -> None:
    """Uploads that a killed process has begun: the store would keep, and bill, their parts for ever."""
    from minio.error import S3Error

    try:
        for one in store._list_multipart_uploads(bucket, prefix=folder).uploads:
            if one.upload_id and time_of((one.object_name or "").removeprefix(folder)) is not None:
                store._abort_multipart_upload(bucket, one.object_name or "", one.upload_id)
    except S3Error as error:
        if error.code not in DENIED | MISSING:
            raise
