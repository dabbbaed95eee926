"""Whether the code that the service runs was replaced since it started: by an update, or by `git pull` in its checkout.

A process goes on with what it has imported (``preload`` imports everything); nothing but a restart brings the new code.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

PACKAGES = ("pipeline", "webhooks", "workers")
ARGUMENT = "--code="  # of `pushlive up` to its children: the digest of what it runs itself
EVERY = 2.0  # seconds between two looks at the files
RESTART = (
    "It goes on with the code that it has loaded, and so do its runs. Restart it: Ctrl-C and `pushlive up`, or "
    "`systemctl restart pushlive`. What is live keeps serving."
)
_SHOWN = 3  # names of libraries in one sentence
_DISTRIBUTION = re.compile(r"(.+)-([^-]+)\.dist-info")

Stats = dict[str, tuple[int, int]]  # size in bytes and time of the last change in ns, by path
Versions = dict[str, str]  # by normalised name


class RunningCode:
    """``folders``: of the packages. ``started``: the digest of the code that the service was started with; "": that of
    this process. ``versions``: of what is installed."""

    def __init__(
        self,
        folders: Sequence[Path],
        started: str = "",
        versions: Callable[[], Versions] = dict,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folders, self._find, self._clock = folders, versions, clock
        self._versions, self._stats = versions(), _stats(folders)
        self.digest = _digest(self._stats, self._versions)
        self._started = started or self.digest
        self._looked, self._seen, self._now = clock(), (self._stats, self._versions), self.digest

    def replaced(self) -> str:
        """What was replaced and what to do, for people; "" if nothing was. Files that were only touched, or that were
        put back as they were, do not count."""
        if self._clock() - self._looked >= EVERY:
            self._looked = self._clock()
            seen = (_stats(self._folders), self._find())
            if seen != self._seen:  # reading them all is for when they seem to have changed
                self._now, self._seen = _digest(*seen), seen
        return "" if self._now == self._started else f"{self._what(self._seen[1])} {RESTART}"

    def _what(self, versions: Versions) -> str:
        changed = [name for name, old in self._versions.items() if versions.get(name, old) != old]
        changed.sort(key=lambda name: name != "pushlive")
        if changed[:1] == ["pushlive"]:
            old, new = self._versions["pushlive"], versions["pushlive"]
            return f"Pushlive was updated from {old} to {new} while it runs."
        if changed:
            texts = [f"{name} from {self._versions[name]} to {versions[name]}" for name in changed[:_SHOWN]]
            more = f" and {len(changed) - _SHOWN} more" if len(changed) > _SHOWN else ""
            return f"Libraries of Pushlive were updated while it runs: {', '.join(texts)}{more}."
        return f"Pushlive's files in {self._folders[0].parent} were replaced while it runs."


@cache
def running_code() -> RunningCode:
    """That of this process. The first call is at the start."""
    top = Path(__file__).parents[2]
    started = next((one.removeprefix(ARGUMENT) for one in sys.argv if one.startswith(ARGUMENT)), "")
    return RunningCode([top / name for name in PACKAGES], started, _versions)


def _stats(folders: Sequence[Path]) -> Stats:
    return {path: found for folder in folders for path, found in _files(str(folder))}


def _files(folder: str) -> Iterator[tuple[str, tuple[int, int]]]:
    """Those that are there: an update may be removing them just now."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        return
    for entry in entries:
        if entry.name.startswith((".", "__pycache__")) or entry.name.endswith(("~", ".pyc")):
            continue
        try:
            if entry.is_dir(follow_symlinks=False):
                yield from _files(entry.path)
            else:
                found = entry.stat()
                yield entry.path, (found.st_size, found.st_mtime_ns)
        except OSError:
            continue


def _digest(stats: Stats, versions: Versions) -> str:
    """Of what the files say, not of when they were written."""
    found = hashlib.blake2b(digest_size=16)
    for path in stats:
        try:
            text = Path(path).read_bytes()
        except OSError:
            continue
        found.update(f"{path}\0{len(text)}\0".encode("utf-8", "surrogateescape") + text)
    for name, version in sorted(versions.items()):
        found.update(f"{name}\0{version}\0".encode())
    return found.hexdigest()


def _versions() -> Versions:
    """Of Pushlive and of the libraries that it names, as the folders of the search path say."""
    wanted, found = _names(), Versions()
    for place in dict.fromkeys(sys.path):
        try:
            listed = os.listdir(place or ".")
        except OSError:
            continue
        for entry in sorted(listed):
            matched = _DISTRIBUTION.fullmatch(entry)
            if matched and _normal(matched[1]) in wanted:
                found.setdefault(_normal(matched[1]), matched[2])
    return found


@cache
def _names() -> frozenset[str]:
    try:
        lines = requires("pushlive") or []
    except PackageNotFoundError:
        return frozenset()
    names = (
        re.split(r"[^A-Za-z0-9._-]", line, maxsplit=1)[0] for line in lines if 'extra == "dev"' not in line
    )
    return frozenset({"pushlive", *map(_normal, names)})


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
