"""Everything that Pushlive keeps, in one file and back: ``pushlive backup FILE`` and ``pushlive restore FILE``.

The file is a compressed tar that only its owner can read. It contains the store as lines of JSON
(``store.jsonl``), each repository as a bundle (``git/<name>.bundle``), ``pipelines.yaml``, the rest of the
data folder under ``data/``, and last ``manifest.json`` with the SHA-256 and size of each.

The store is copied before git: the keeper finds a head that the store does not know, but nothing can find a commit
that git does not have. Mirrors, and what each start creates again, are left out.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath
from tempfile import TemporaryDirectory
from typing import IO, Any

from pipeline.adapters.git.bundle import load_bundle, save_bundle
from pipeline.config.settings import Settings
from pipeline.errors import EngineFailed, RequestError, StoreUnavailable
from pipeline.lib.processes import RESTORING
from pipeline.runtime import bootstrap, lock
from pipeline.runtime.embedded_store import EmbeddedStore
from pipeline.store import Store, snapshot

FORMAT = 1
MANIFEST, STORE, CONFIG = "manifest.json", "store.jsonl", "pipelines.yaml"
HEAD = "audit.head"
MANIFEST_LIMIT = 64 << 20  # bytes
FILES_AT_MOST = 1_000_000
STORE_TIMEOUT = 60.0  # seconds for one answer of the store
# Created again at each start, can be fetched again, or has a format of its own in the backup.
LEFT_OUT = ("store", "git", "mirrors", "proxy", "hooks", "up.lock", "up.pid", RESTORING)
ROUTES = "proxy/state.json"  # of that folder, what the proxy serves: it starts with these routes
_PIECE = 1 << 20


@dataclass(frozen=True)
class Summary:
    """The result of a backup or restore. ``files``: in the archive; ``notes``: for a person."""

    file: Path
    files: int
    size: int  # bytes
    made: float  # when the backup was made, seconds since the epoch
    notes: tuple[str, ...] = ()


# ── backup ───────────────────────────────────────────────────────────────


def backup(settings: Settings, file: Path) -> Summary:
    """Writes ``file`` completely or not at all; the service may run. Raises RequestError (the file exists, or there
    is nothing to back up), EngineFailed (cannot be written) or StoreUnavailable."""
    if file.exists():
        raise RequestError(f"{file} already exists and was not changed.", advice="Choose another name.")
    if not (settings.data / "store").is_dir() and not settings.redis_url:
        raise RequestError(f"there is nothing to back up in {settings.data}.", advice="Check PUSHLIVE_DATA.")
    part = file.with_name(file.name + ".part")
    try:
        with TemporaryDirectory(dir=file.parent, prefix=".pushlive-") as name:
            descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "wb") as opened:
                os.fchmod(opened.fileno(), 0o600)
                count = _write(settings, opened, Path(name))
                opened.flush()
                os.fsync(opened.fileno())
        part.rename(file)
    except (OSError, tarfile.TarError) as error:
        raise EngineFailed(
            f"cannot write {file}: {error}.", advice="Check the folder and the free space on its disk."
        ) from error
    finally:
        part.unlink(missing_ok=True)
    return Summary(file, count, file.stat().st_size, time.time())


def _write(settings: Settings, opened: IO[bytes], folder: Path) -> int:
    files: dict[str, dict[str, Any]] = {}
    with tarfile.open(fileobj=opened, mode="w:gz", compresslevel=3) as archive:
        for name, source in _sources(settings, folder):
            with suppress(FileNotFoundError):  # removed meanwhile
                files[name] = _add(archive, name, source)
        about = {
            "pushlive": FORMAT,
            "version": _version(),
            "instance": settings.instance,
            "made": time.time(),
        }
        text = json.dumps({**about, "files": files}, indent=1, sort_keys=True)
        (folder / MANIFEST).write_text(text)
        _add(archive, MANIFEST, folder / MANIFEST)
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
    if settings.config.is_file():
        yield CONFIG, settings.config
    for path in sorted(settings.data.rglob("*")):
        name = path.relative_to(settings.data)
        wanted = _kept(name) and str(name) != HEAD and path != settings.config.absolute()
        if wanted and path.is_file() and not path.is_symlink():
            yield f"data/{name}", path


def _add(archive: tarfile.TarFile, name: str, source: Path) -> dict[str, Any]:
    """Adds a file; its entry in the manifest. A log that grows meanwhile is cut to its size now."""
    with source.open("rb") as opened:
        member = tarfile.TarInfo(name)
        member.size, member.mode = os.fstat(opened.fileno()).st_size, 0o600
        member.mtime = int(os.fstat(opened.fileno()).st_mtime)
        reader = _Hashing(opened)
        archive.addfile(member, reader)
    return {"sha256": reader.digest.hexdigest(), "size": member.size}


class _Hashing:
    """A reader that hashes what it reads."""

    def __init__(self, opened: IO[bytes]) -> None:
        self._opened = opened
        self.digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        piece = self._opened.read(size)
        self.digest.update(piece)
        return piece


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
    manifest = _examine(file)
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
    size = sum(entry["size"] for entry in manifest["files"].values())
    return Summary(file, len(manifest["files"]), size, float(manifest["made"]), notes)


def _refuse_filled(settings: Settings) -> set[str]:
    """The names in the data folder that may be there: an empty store, and pipelines.yaml. Raises RequestError."""
    present = {path.name for path in settings.data.iterdir()} if settings.data.exists() else set()
    harmless = {"store", "up.lock", "up.pid"}
    if settings.config.absolute().parent == settings.data.absolute():
        harmless.add(settings.config.name)
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


def _examine(file: Path) -> dict[str, Any]:
    """The manifest, if everything in the archive is as it says. Writes nothing."""
    seen: dict[str, dict[str, Any]] = {}
    manifest: dict[str, Any] | None = None
    with _readable(file):
        for member, content in _members(file):
            if manifest is not None or member.name in seen or len(seen) > FILES_AT_MOST:
                raise _foreign(file, f"{member.name[:80]!r} is not in its manifest")
            if member.name == MANIFEST:
                manifest = _manifest(file, content.read(MANIFEST_LIMIT))
                continue
            reader = _Hashing(content)
            while reader.read(_PIECE):
                pass
            seen[member.name] = {"sha256": reader.digest.hexdigest(), "size": member.size}
    if manifest is None:
        raise _foreign(file, "it has no manifest, so it is incomplete or something else")
    wrong = sorted(
        name for name in {*seen, *manifest["files"]} if seen.get(name) != manifest["files"].get(name)
    )
    if wrong:
        raise _foreign(
            file, f"{wrong[0][:80]!r} is missing or differs from what was saved ({len(wrong)} in all)"
        )
    if STORE not in seen:
        raise _foreign(file, "it contains no store")
    return manifest


def _members(file: Path) -> Iterator[tuple[tarfile.TarInfo, IO[bytes]]]:
    """Every member, in order. Raises RequestError for one that is not a plain file with a name that a backup has."""
    with _readable(file), tarfile.open(file, "r|gz") as archive:
        for member in archive:
            archive.members = []  # type: ignore[attr-defined]  # else tarfile keeps every header
            if not member.isreg() or not _expected(member.name):
                raise _foreign(file, f"{member.name[:80]!r} does not belong in a backup")
            content = archive.extractfile(member)
            if content is not None:
                yield member, content


@contextmanager
def _readable(file: Path) -> Iterator[None]:
    """Turns what reading a broken archive raises into RequestError."""
    try:
        yield
    except FileNotFoundError as error:
        raise RequestError(f"there is no file {file}.", advice="Check its name.") from error
    except (OSError, EOFError, tarfile.TarError, ValueError) as error:
        raise _foreign(file, f"it cannot be read ({error})") from error


def _expected(name: str) -> bool:
    """True for the names that ``backup`` writes; never one that leaves the folder or that we would execute."""
    parts = PurePosixPath(name).parts
    if "\0" in name or "\\" in name or name != "/".join(parts) or ".." in parts or name.startswith("/"):
        return False
    if len(parts) == 1:
        return name in (MANIFEST, STORE, CONFIG)
    if parts[0] == "git":
        stem = parts[1].removesuffix(".bundle")
        return (
            len(parts) == 2 and parts[1].endswith(".bundle") and stem.strip(".") != "" and stem[0] not in "-."
        )
    return parts[0] == "data" and _kept(PurePosixPath(*parts[1:]))


def _kept(path: PurePath) -> bool:
    """Whether that path in the data folder goes into a backup as it is."""
    return path.parts[0] not in LEFT_OUT or path.as_posix() == ROUTES


def _manifest(file: Path, text: bytes) -> dict[str, Any]:
    try:
        found = json.loads(text)
        good = isinstance(found["files"], dict) and isinstance(found["made"], (int, float))
        good = good and all(type(entry["size"]) is int for entry in found["files"].values())
        number, _ = found["pushlive"], found["instance"]
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        good, number = False, 0
    if not good:
        raise _foreign(file, "its manifest is not one of Pushlive's")
    if number != FORMAT:
        raise RequestError(
            f"{file} was written by a newer version (format {str(number)[:20]}); this version reads format {FORMAT}.",
            advice="Restore it with the version of Pushlive that wrote it.",
        )
    return dict(found)


def _foreign(file: Path, why: str) -> RequestError:
    return RequestError(
        f"{file} is damaged or not a backup of Pushlive: {why}.",
        advice="Nothing was restored; use another backup.",
    )


def _load(settings: Settings, file: Path, files: dict[str, dict[str, Any]]) -> tuple[str, ...]:
    with TemporaryDirectory(dir=settings.data, prefix="restore-") as name:
        folder = Path(name)
        for member, content in _members(file):
            if member.name in files:
                _extract(settings, folder, member, content, files[member.name])
        for bundle in sorted((folder / "git").glob("*.bundle")):
            repository = bootstrap.repositories(settings) / f"{bundle.stem}.git"
            load_bundle(bundle, repository, push_limit=settings.push_limit)
        with _store(settings) as store, (folder / STORE).open(encoding="utf-8") as lines:
            snapshot.load(store, lines)
        return _configuration(settings, folder / CONFIG)


def _extract(
    settings: Settings, folder: Path, member: tarfile.TarInfo, content: IO[bytes], entry: dict[str, Any]
) -> None:
    in_data = member.name.startswith("data/")
    path = settings.data / member.name.removeprefix("data/") if in_data else folder / member.name
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    reader = _Hashing(content)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as opened:
        while piece := reader.read(_PIECE):
            opened.write(piece)
    if reader.digest.hexdigest() != entry["sha256"]:
        raise RequestError(
            f"the backup's {member.name[:80]!r} changed while it was read.", advice="Nothing was restored."
        )


def _configuration(settings: Settings, kept: Path) -> tuple[str, ...]:
    """Restores pipelines.yaml if there is none; an existing one stays. What there is to say about it."""
    if not kept.exists():
        return ()
    if not settings.config.exists():
        shutil.copyfile(kept, settings.config)
        return (f"Restored {settings.config} as well",)
    if settings.config.read_bytes() == kept.read_bytes():
        return ()
    aside = settings.data / "pipelines.yaml.restored"
    shutil.copyfile(kept, aside)
    return (f"{settings.config} differs from the one in the backup and was kept; the other is in {aside}",)


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
