"""Everything that Pushlive keeps, in one file and back: ``pushlive backup FILE`` and ``pushlive restore FILE``.

The file is a compressed tar that only its owner can read. It contains the store as lines of JSON
(``store.jsonl``), each repository as a bundle (``git/<name>.bundle``), ``pipelines.yaml``, the rest of the
data folder under ``data/``, and last ``manifest.json`` with the SHA-256 and size of each.

The store is copied before git: the keeper finds a head that the store does not know, but nothing can find a commit
that git does not have. Mirrors, and what each start creates again, are left out.
"""

from __future__ import annotations

import json
import os
import shutil
import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any

from pipeline.adapters.git.bundle import load_bundle, save_bundle
from pipeline.config.settings import Settings
from pipeline.deploy.data.kept import FOLDER
from pipeline.errors import EngineFailed, RequestError, StoreUnavailable
from pipeline.lib.processes import RESTORING
from pipeline.runtime import bootstrap, lock, volume_backups
from pipeline.runtime.archive import (
    CONFIG,
    FORMAT,
    HEAD,
    MANIFEST,
    PIECE,
    STORE,
    Hashing,
    add,
    examine,
    is_kept,
    members,
)
from pipeline.runtime.embedded_store import EmbeddedStore
from pipeline.store import Store, snapshot

STORE_TIMEOUT = 60.0  # seconds for one answer of the store


@dataclass(frozen=True)
class Summary:
    """The result of a backup or restore. ``files``: in the archive; ``notes``: for a person."""

    file: Path
    files: int
    size: int  # bytes
    made: float  # when the backup was made, seconds since the epoch
    notes: tuple[str, ...] = ()


# ── backup ───────────────────────────────────────────────────────────────


def backup(settings: Settings, file: Path, *, volumes: bool = False) -> Summary:
    """Writes ``file`` completely or not at all; the service may run. ``volumes``: with the data of volumes and
    accessories. Raises RequestError (the file exists, or there is nothing to back up), EngineFailed (cannot be written)
    or StoreUnavailable."""
    if file.exists():
        raise RequestError(f"{file} already exists and was not changed.", advice="Choose another name.")
    if not (settings.data / "store").is_dir() and not settings.redis_url:
        raise RequestError(f"there is nothing to back up in {settings.data}.", advice="Check PUSHLIVE_DATA.")
    part = file.with_name(file.name + ".part")
    data, notes = list[tuple[str, Path]](), tuple[str, ...]()
    if volumes:
        with _store(settings):
            data, notes = volume_backups.make_all(settings)
    try:
        with TemporaryDirectory(dir=file.parent, prefix=".pushlive-") as name:
            descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "wb") as opened:
                os.fchmod(opened.fileno(), 0o600)
                count = _write(settings, opened, Path(name), data)
                opened.flush()
                os.fsync(opened.fileno())
        part.rename(file)
    except (OSError, tarfile.TarError) as error:
        raise EngineFailed(
            f"cannot write {file}: {error}.", advice="Check the folder and the free space on its disk."
        ) from error
    finally:
        part.unlink(missing_ok=True)
    return Summary(file, count, file.stat().st_size, time.time(), notes)


def _write(settings: Settings, opened: IO[bytes], folder: Path, data: list[tuple[str, Path]]) -> int:
    files: dict[str, dict[str, Any]] = {}
    with tarfile.open(fileobj=opened, mode="w:gz", compresslevel=3) as archive:
        for name, source in chain(_sources(settings, folder), data):
            with suppress(FileNotFoundError):  # removed meanwhile
                files[name] = add(archive, name, source)
        about = {
            "pushlive": FORMAT,
            "version": _version(),
            "instance": settings.instance,
            "made": time.time(),
        }
        text = json.dumps({**about, "files": files}, indent=1, sort_keys=True)
        (folder / MANIFEST).write_text(text)
        add(archive, MANIFEST, folder / MANIFEST)
    return len(files)


def _sources(settings: Settings, folder: Path) -> Iterator[tuple[str, Path]]:
    """Names in the archive and the files, in the order in which they must be read."""
    head = folder / HEAD
    # Before the store, so that the audit entry it names is in the copy of the store.
    with suppress(FileNotFoundError):
        shutil.copyfile(settings.data / HEAD, head)
        yield f"data/{HEAD}", head
    with _store(settings) as store, (folder / STORE).open("w", encoding="utf-8") as out:
        out.writelines(f"{line}\n" for line in snapshot.dump(store))
    yield STORE, folder / STORE
    for repository in sorted(bootstrap.repositories(settings).glob("*.git")):
        bundle = folder / f"{repository.stem}.bundle"
        if save_bundle(repository, bundle):
            yield f"git/{bundle.name}", bundle
            bundle.unlink()
    config = _file(settings)
    if config and config.is_file():
        yield CONFIG, config
    for path in sorted(settings.data.rglob("*")):
        name = path.relative_to(settings.data)
        wanted = is_kept(name) and str(name) != HEAD and path != (config and config.absolute())
        if wanted and path.is_file() and not path.is_symlink():
            yield f"data/{name}", path


@contextmanager
def _store(settings: Settings) -> Iterator[Store]:
    """The store; if it does not run, it is started for as long as it is used here."""
    embedded = None if settings.redis_url else EmbeddedStore(settings.data)
    if embedded:
        embedded.start()
    try:
        store = Store(bootstrap.redis_url(settings), settings.instance, timeout=STORE_TIMEOUT)
        yield store
        store.client.close()
    finally:
        if embedded and embedded.ours:
            embedded.stop()


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("pushlive")
    except PackageNotFoundError:
        return ""


# ── restore ────────────────────────────────────────────────────────────


def restore(settings: Settings, file: Path) -> Summary:
    """Fills an empty data folder (and store) from ``file``. The whole archive is read and checked first. Raises
    RequestError, with nothing written, if it is damaged or not a backup, or if the service runs."""
    if lock.held(settings.data):
        raise RequestError(
            f"the service is running with the data folder {settings.data}.",
            advice="Stop it with `pushlive down` first.",
        )
    manifest = examine(file)
    if manifest["instance"] != settings.instance:
        raise RequestError(
            f"{file} is a backup of instance {str(manifest['instance'])[:40]!r}, but this is {settings.instance!r}.",
            advice="Set PUSHLIVE_INSTANCE to the backup's instance: containers and images are named after it.",
        )
    before = _refuse_filled(settings)
    settings.data.mkdir(parents=True, exist_ok=True, mode=0o700)
    mark = settings.data / RESTORING
    mark.touch(0o600)  # `up` refuses a folder with this in it
    try:
        notes = _load(settings, file, manifest["files"])
    except BaseException:
        _empty(settings, before)
        raise
    mark.unlink()
    if (settings.data / FOLDER).is_dir():
        with _store(settings):
            notes += volume_backups.restore_all(settings)
    size = sum(entry["size"] for entry in manifest["files"].values())
    return Summary(file, len(manifest["files"]), size, float(manifest["made"]), notes)


def _refuse_filled(settings: Settings) -> set[str]:
    """The names in the data folder that may be there: an empty store, and pipelines.yaml. Raises RequestError."""
    present = {path.name for path in settings.data.iterdir()} if settings.data.exists() else set()
    harmless = {"store", "up.lock", "up.pid"}
    config = _file(settings)
    if config and config.absolute().parent == settings.data.absolute():
        harmless.add(config.name)
    if present - harmless:
        names = ", ".join(sorted(present - harmless)[:3])
        raise RequestError(
            f"the data folder {settings.data} is not empty ({names} …); nothing was restored.",
            advice="Move it away, or set PUSHLIVE_DATA to another folder.",
        )
    if "store" in present or settings.redis_url:
        with _store(settings) as store:
            snapshot.refuse_filled(store)
    return present


def _load(settings: Settings, file: Path, files: dict[str, dict[str, Any]]) -> tuple[str, ...]:
    with TemporaryDirectory(dir=settings.data, prefix="restore-") as name:
        folder = Path(name)
        for member, content in members(file):
            if member.name in files:
                _extract(settings, folder, member, content, files[member.name])
        for bundle in sorted((folder / "git").glob("*.bundle")):
            repository = bootstrap.repositories(settings) / f"{bundle.stem}.git"
            ignored = settings.git_fsck_ignore
            load_bundle(bundle, repository, push_limit=settings.push_limit, ignored=ignored)
        with _store(settings) as store, (folder / STORE).open(encoding="utf-8") as lines:
            snapshot.load(store, lines)
            store.origin.mark()  # a person has said that this is the right one
        return _configuration(settings, folder / CONFIG)


def _extract(
    settings: Settings, folder: Path, member: tarfile.TarInfo, content: IO[bytes], entry: dict[str, Any]
) -> None:
    in_data = member.name.startswith("data/")
    path = settings.data / member.name.removeprefix("data/") if in_data else folder / member.name
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    reader = Hashing(content)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as opened:
        while piece := reader.read(PIECE):
            opened.write(piece)
    if reader.digest.hexdigest() != entry["sha256"]:
        raise RequestError(
            f"the backup's {member.name[:80]!r} changed while it was read.", advice="Nothing was restored."
        )


def _configuration(settings: Settings, kept: Path) -> tuple[str, ...]:
    """Restores pipelines.yaml if there is none; an existing one stays. What there is to say about it."""
    if not kept.exists():
        return ()
    config = _file(settings)
    if config and not config.exists():
        shutil.copyfile(kept, config)
        return (f"Restored {config} as well",)
    if config and config.read_bytes() == kept.read_bytes():
        return ()
    aside = settings.data / "pipelines.yaml.restored"
    shutil.copyfile(kept, aside)
    return (f"{settings.config} differs from the one in the backup and was kept; the other is in {aside}",)


def _file(settings: Settings) -> Path | None:
    """None for a configuration in a repository: the built-in server's are in the backup, with all others."""
    return settings.config if isinstance(settings.config, Path) else None


def _empty(settings: Settings, before: set[str]) -> None:
    """Removes what a failed restore has created; a store that was there before had no records."""
    if "store" in before or settings.redis_url:
        with suppress(StoreUnavailable), _store(settings) as store:
            snapshot.clear(store)
    for path in settings.data.iterdir():
        if path.name in before:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
