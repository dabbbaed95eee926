"""Everything that Pushlive keeps in one file, and back: ``pushlive backup FILE`` and ``pushlive restore FILE``.

The file is a compressed tar, readable by its owner alone. It holds the store as lines of JSON
(``store.jsonl``), each repository as a bundle (``git/<name>.bundle``), ``pipelines.yaml``, and the rest of the
data folder under ``data/``; last ``manifest.json`` with the SHA-256 and the size of each of them.

The store is copied before git: a head that the store does not know is found by the keeper, a record of a commit
that git does not have is found by nobody. What is made anew at each start, and mirrors, are left out.
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
PATIENCE = 60.0  # seconds for one answer of the store
# What each start makes anew, what can be fetched again, and what has a form of its own in the backup.
LEFT_OUT = ("store", "git", "mirrors", "proxy", "hooks", "up.lock", "up.pid", RESTORING)
ROUTES = "proxy/state.json"  # of that folder, what the proxy serves: it comes up with it at once
_PIECE = 1 << 20


@dataclass(frozen=True)
class Told:
    """What a backup or a restore has found; ``files`` counts those of the archive."""

    file: Path
    files: int
    size: int  # bytes
    made: float  # when the backup was made, seconds since the epoch
    notes: tuple[str, ...] = ()


# ── making one ───────────────────────────────────────────────────────────────


def backup(settings: Settings, file: Path) -> Told:
    """Writes ``file``, whole or not at all, also while the service runs. Raises RequestError (it is there
    already, there is nothing to keep), EngineFailed (cannot be written), StoreUnavailable."""
    if file.exists():
        raise RequestError(f"{file} is there already and was not touched.", advice="Give another name.")
    if not (settings.data / "store").is_dir() and not settings.redis_url:
        raise RequestError(f"there is nothing in {settings.data} to keep.", advice="Look at PUSHLIVE_DATA.")
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
            f"{file} cannot be written: {error}.", advice="Look at the disk and the folder."
        ) from error
    finally:
        part.unlink(missing_ok=True)
    return Told(file, count, file.stat().st_size, time.time())


def _write(settings: Settings, opened: IO[bytes], folder: Path) -> int:
    files: dict[str, dict[str, Any]] = {}
    with tarfile.open(fileobj=opened, mode="w:gz", compresslevel=3) as archive:
        for name, source in _sources(settings, folder):
            with suppress(FileNotFoundError):  # it went away in between
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
    """Names in the archive and files, in the order in which they have to be read."""
    head = folder / HEAD
    # Before the store: the entry that it remembers has to be in the store's copy.
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
        place = path.relative_to(settings.data)
        ours = _kept(place) and str(place) != HEAD and path != settings.config.absolute()
        if ours and path.is_file() and not path.is_symlink():
            yield f"data/{place}", path


def _add(archive: tarfile.TarFile, name: str, source: Path) -> dict[str, Any]:
    """Its size and hash. A log that grows meanwhile is kept as long as it was."""
    with source.open("rb") as opened:
        member = tarfile.TarInfo(name)
        member.size, member.mode = os.fstat(opened.fileno()).st_size, 0o600
        member.mtime = int(os.fstat(opened.fileno()).st_mtime)
        reader = _Hashing(opened)
        archive.addfile(member, reader)
    return {"sha256": reader.digest.hexdigest(), "size": member.size}


class _Hashing:
    """Reads, and hashes what was read."""

    def __init__(self, opened: IO[bytes]) -> None:
        self._opened = opened
        self.digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        piece = self._opened.read(size)
        self.digest.update(piece)
        return piece


@contextmanager
def _store(settings: Settings) -> Iterator[Store]:
    """The store, started for this where the service does not run."""
    embedded = None if settings.redis_url else EmbeddedStore(settings.data)
    if embedded:
        embedded.start()
    try:
        store = Store(bootstrap.redis_url(settings), settings.instance, timeout=PATIENCE)
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


# ── taking one up ────────────────────────────────────────────────────────────


def restore(settings: Settings, file: Path) -> Told:
    """Fills an empty data folder (and store) with what ``file`` holds. The whole archive is read and checked
    first. Raises RequestError, with nothing written, if it is damaged or not a backup, or the service runs."""
    if lock.held(settings.data):
        raise RequestError(
            f"the service is running with the data folder {settings.data}.",
            advice="Stop it with `pushlive down` first.",
        )
    manifest = _examine(file)
    if manifest["instance"] != settings.instance:
        raise RequestError(
            f"{file} is a backup of the instance {str(manifest['instance'])[:40]!r}, this is {settings.instance!r}.",
            advice="Set PUSHLIVE_INSTANCE to the former: containers, images and addresses carry that name.",
        )
    before = _refuse_filled(settings)
    settings.data.mkdir(parents=True, exist_ok=True, mode=0o700)
    mark = settings.data / RESTORING
    mark.touch(0o600)  # `up` refuses a folder with this in it
    try:
        notes = _take_up(settings, file, manifest["files"])
    except BaseException:
        _empty(settings, before)
        raise
    mark.unlink()
    size = sum(entry["size"] for entry in manifest["files"].values())
    return Told(file, len(manifest["files"]), size, float(manifest["made"]), notes)


def _refuse_filled(settings: Settings) -> set[str]:
    """What is in the data folder already and may be: a store without records, the maintainers' file."""
    there = {path.name for path in settings.data.iterdir()} if settings.data.exists() else set()
    harmless = {"store", "up.lock", "up.pid"}
    if settings.config.absolute().parent == settings.data.absolute():
        harmless.add(settings.config.name)
    if there - harmless:
        names = ", ".join(sorted(there - harmless)[:3])
        raise RequestError(
            f"the data folder {settings.data} is not empty ({names} …); nothing was restored.",
            advice="Move it away, or set PUSHLIVE_DATA to another one.",
        )
    if "store" in there or settings.redis_url:
        with _store(settings) as store:
            snapshot.refuse_filled(store)
    return there


def _examine(file: Path) -> dict[str, Any]:
    """The manifest of an archive in which everything is as the manifest says. Nothing is written."""
    seen: dict[str, dict[str, Any]] = {}
    manifest: dict[str, Any] | None = None
    with _readable(file):
        for member, content in _members(file):
            if manifest is not None or member.name in seen or len(seen) > FILES_AT_MOST:
                raise _foreign(file, f"{member.name[:80]!r} is more than the manifest lists")
            if member.name == MANIFEST:
                manifest = _manifest(file, content.read(MANIFEST_LIMIT))
                continue
            reader = _Hashing(content)
            while reader.read(_PIECE):
                pass
            seen[member.name] = {"sha256": reader.digest.hexdigest(), "size": member.size}
    if manifest is None:
        raise _foreign(file, "it has no manifest; it was cut off, or is something else")
    wrong = sorted(
        name for name in {*seen, *manifest["files"]} if seen.get(name) != manifest["files"].get(name)
    )
    if wrong:
        raise _foreign(file, f"{wrong[0][:80]!r} is missing or is not what was saved ({len(wrong)} in all)")
    if STORE not in seen:
        raise _foreign(file, "it holds no store")
    return manifest


def _members(file: Path) -> Iterator[tuple[tarfile.TarInfo, IO[bytes]]]:
    """Every member, in order; each has to be a plain file at a place that a backup has. Raises RequestError."""
    with _readable(file), tarfile.open(file, "r|gz") as archive:
        for member in archive:
            archive.members = []  # type: ignore[attr-defined]  # or every header would be kept
            if not member.isreg() or not _expected(member.name):
                raise _foreign(file, f"{member.name[:80]!r} has no place in a backup")
            content = archive.extractfile(member)
            if content is not None:
                yield member, content


@contextmanager
def _readable(file: Path) -> Iterator[None]:
    """What reading a broken archive raises becomes RequestError."""
    try:
        yield
    except FileNotFoundError as error:
        raise RequestError(f"there is no file {file}.", advice="Look at its name.") from error
    except (OSError, EOFError, tarfile.TarError, ValueError) as error:
        raise _foreign(file, f"it cannot be read ({error})") from error


def _expected(name: str) -> bool:
    """True for the places that ``backup`` writes; never one that leads out or that we would execute."""
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


def _kept(place: PurePath) -> bool:
    """Whether that path below the data folder goes into a backup as it is."""
    return place.parts[0] not in LEFT_OUT or place.as_posix() == ROUTES


def _manifest(file: Path, text: bytes) -> dict[str, Any]:
    try:
        found = json.loads(text)
        good = isinstance(found["files"], dict) and isinstance(found["made"], (int, float))
        good = good and all(type(entry["size"]) is int for entry in found["files"].values())
        number, _ = found["pushlive"], found["instance"]
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        good, number = False, 0
    if not good:
        raise _foreign(file, "its manifest is none of Pushlive's")
    if number != FORMAT:
        raise RequestError(
            f"{file} has the form {str(number)[:20]}, this version reads {FORMAT}.",
            advice="Restore it with the version of Pushlive that wrote it.",
        )
    return dict(found)


def _foreign(file: Path, why: str) -> RequestError:
    return RequestError(
        f"{file} is damaged or is no backup of Pushlive: {why}.",
        advice="Nothing was restored; take another one.",
    )


def _take_up(settings: Settings, file: Path, files: dict[str, dict[str, Any]]) -> tuple[str, ...]:
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
    below = member.name.startswith("data/")
    path = settings.data / member.name.removeprefix("data/") if below else folder / member.name
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    reader = _Hashing(content)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as opened:
        while piece := reader.read(_PIECE):
            opened.write(piece)
    if reader.digest.hexdigest() != entry["sha256"]:
        raise RequestError(f"{member.name[:80]!r} changed while it was read.", advice="Nothing was restored.")


def _configuration(settings: Settings, kept: Path) -> tuple[str, ...]:
    """pipelines.yaml, where none is there; one that is there is the maintainers' and stays."""
    if not kept.exists():
        return ()
    if not settings.config.exists():
        shutil.copyfile(kept, settings.config)
        return (f"{settings.config} was restored, too",)
    if settings.config.read_bytes() == kept.read_bytes():
        return ()
    aside = settings.data / "pipelines.yaml.restored"
    shutil.copyfile(kept, aside)
    return (f"{settings.config} is another one than in the backup and stays; that one is {aside}",)


def _empty(settings: Settings, before: set[str]) -> None:
    """Takes away what a restore that failed has made; a store that was there before had no records."""
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
