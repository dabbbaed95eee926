"""What the store, the Docker Engines and the clusters have to be like: docs/operations.md lists all of it.

``pushlive doctor`` examines it when a person asks, the keeper when it starts and then from time to time.
"""

from __future__ import annotations

import fcntl
import re
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from pipeline.config.engines import DOCKER, KUBERNETES, REMOTE_DOCKER, kind_of, where_of
from pipeline.errors import PushliveError
from pipeline.lib.units import show_size
from pipeline.maintenance.doctor.check import Check, check, tried
from pipeline.maintenance.job import Job
from pipeline.ports.inspection import ClusterInfo, DockerInfo, Inspection
from pipeline.store import Store

OLDEST_DOCKER = (20, 10)
# Earlier ones can lock up for good when containers end at the same time: moby issue 46661, fixed in 20.10.27.
LOCKS_UP_BEFORE = (20, 10, 27)
OLDEST_KUBERNETES = (1, 30)
EVERY = 600.0  # seconds between two looks of the keeper
_STORE = "See 'What it needs' in docs/operations.md. What is live keeps serving meanwhile."
_LOCKS_UP = (
    "If it accepts requests and answers none: `systemctl restart docker`. A newer Docker does not lock up."
)
_LIVE_RESTORE = 'Set `"live-restore": true` in /etc/docker/daemon.json, then run `systemctl reload docker`.'


def examine(store: Store, data: Path, engines: frozenset[str], inspection: Inspection) -> Iterator[Check]:
    """``data``: the data folder; ``engines``: the keys of those in use."""
    yield of_store(store)
    yield tried("data folder", lambda: _locks(data))
    yield from of_docker(DOCKER in engines, inspection)
    for key in sorted(engines):
        if of_kind := _REMOTE.get(kind_of(key)):
            yield from of_kind(key, inspection)


def of_store(store: Store) -> Check:
    if not store.healthy():
        return check("store", False, "does not accept writes", "See <data>/store/valkey.log.")
    if not store.origin.known():
        error = store.origin.beside().error()
        return check("store", False, error.message, error.advice)
    try:
        found = store.shortcomings()
    except PushliveError as error:
        return check("store", False, error.message, error.advice)
    return check(
        "store", not found, "; ".join(found) or "accepts writes, and keeps what it acknowledged", _STORE
    )


def _locks(data: Path) -> str:
    """Raises PushliveError if a lock that one process holds there is not seen by another."""
    try:
        with tempfile.TemporaryFile(dir=data) as first:
            fcntl.flock(first, fcntl.LOCK_EX)
            with Path(f"/proc/self/fd/{first.fileno()}").open("rb") as second:
                try:
                    fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    return f"{data} can be written, and its locks hold"
    except OSError as error:
        raise PushliveError(f"{data} cannot be used: {error.strerror}.", advice=_DATA) from error
    raise PushliveError(f"{data} is on a file system whose locks (flock) do not hold.", advice=_DATA)


_DATA = "It must be a folder that the service's user can write, on a file system with `flock`, such as NFS 4."


# ── Docker ───────────────────────────────────────────────────────────────────


def of_docker(needed: bool, inspection: Inspection) -> Iterator[Check]:
    """This machine's Engine. ``needed``: environments run there; otherwise it only builds images."""
    name = "engine" if needed else "builder"
    try:
        info = inspection.docker()
    except PushliveError as error:
        found = check(name, False, error.message, error.advice)
        if not needed:
            text = f"{found['text']} Nothing can be built. What is live keeps serving, and a revert needs no builder."
            found = {**found, "ok": True, "text": text}
        yield found
        return
    yield _docker(name, info)
    if needed:
        yield _live_restore("live-restore", info)


def _remote_docker(key: str, inspection: Inspection) -> Iterator[Check]:
    """Another machine's Engine."""
    try:
        info = inspection.docker(where_of(key).docker or "")
    except PushliveError as error:
        yield check(key, False, error.message, error.advice)
        return
    yield _docker(key, info)
    yield _live_restore(f"live-restore of {key}", info)


def _docker(name: str, info: DockerInfo) -> Check:
    text = f"Docker Engine {info.version}, {info.cores} cores, {show_size(info.memory)}"
    if _older(info.version, OLDEST_DOCKER):
        return check(
            name, False, f"{text}: 20.10 is the oldest that works", "Upgrade Docker on that machine."
        )
    if _older(info.version, LOCKS_UP_BEFORE):
        text += "; before 20.10.27 it may lock up when many containers end at once"
        return {**check(name, True, text), "advice": _LOCKS_UP}
    return check(name, True, text)


def _live_restore(name: str, info: DockerInfo) -> Check:
    if info.live_restore:
        return check(name, True, "live-restore is on")
    text = "live-restore is off: a restart of the Docker daemon stops every container"
    return {**check(name, True, text), "advice": _LIVE_RESTORE}


# ── clusters ─────────────────────────────────────────────────────────────────


def _cluster(key: str, inspection: Inspection) -> Iterator[Check]:
    """One namespace."""
    name = key if ":" in key else "kubernetes"
    try:
        found = inspection.cluster(key)
    except PushliveError as error:
        yield check(name, False, error.message, error.advice)
        return
    where = f"Kubernetes {found.version} at {found.host}, namespace {found.namespace}"
    if problem := _cluster_problem(found):
        text, advice = problem
        yield check(name, False, f"{where}: {text}", advice)
        return
    less = "" if found.nodes else "; it may not list nodes, so only quotas are checked for free room"
    less += (
        "" if found.limits else "; it may not list LimitRanges, so pods request a tenth of their CPU limit"
    )
    if not found.volumes:
        less += "; it may not manage claims and execute in pods, which `volumes` need"
    if found.for_accessories:
        less += f"; it may not {'; '.join(found.for_accessories)}, which `accessories` and processes with `one` need"
    yield check(name, True, f"{where}: this account has every permission it needs{less}")


def _cluster_problem(found: ClusterInfo) -> tuple[str, str] | None:
    """What is wrong, and what to do."""
    space = found.namespace
    if _older(found.version, OLDEST_KUBERNETES):
        return "1.30 is the oldest version that works", "Upgrade the cluster, or use another one."
    if not found.exists:
        advice = f"`kubectl create namespace {space}`, and its Role: docs/kubernetes.md."
        return "there is no such namespace", advice
    if found.going:
        advice = f"`kubectl describe namespace {space}` says what it waits for; then create it again."
        return "the namespace is being deleted", advice
    if found.missing:
        advice = (
            "Apply docker/kubernetes/namespace to it, see docs/kubernetes.md. If everything is listed, see whether it "
            f"exists: `kubectl get namespace {space}`."
        )
        return f"this account may not {'; '.join(found.missing)}", advice
    return None


def _older(version: str, oldest: tuple[int, ...]) -> bool:
    """False for a version without numbers."""
    found = re.match(r"v?(\d+(?:\.\d+)+)", version)
    return found is not None and tuple(map(int, found[1].split("."))) < oldest


_REMOTE = {REMOTE_DOCKER: _remote_docker, KUBERNETES: _cluster}  # this machine's own comes first


# ── the keeper's look ────────────────────────────────────────────────────────


class Demands(Job):
    """``look``: the checks. They run in a thread, since an engine that does not answer must hold up no repair. What
    they found is reported by a later round, and again only once it is something else."""

    def __init__(self, look: Callable[[], Iterable[Check]]) -> None:
        self._look = look
        self._thread: threading.Thread | None = None
        self._started = float("-inf")
        self._found: list[str] = []
        self._reported: set[str] = set()

    def run(self) -> list[str]:
        if self._thread is None and time.monotonic() - self._started >= EVERY:
            self._started = time.monotonic()
            self._thread = threading.Thread(target=self._examine, name="demands", daemon=True)
            self._thread.start()
        if self._thread is None or self._thread.is_alive():
            return []
        self._thread = None
        news = [text for text in self._found if text not in self._reported]
        self._reported = set(self._found)
        return news

    def _examine(self) -> None:
        try:
            checks = [one for one in self._look() if not one["ok"]]
        except PushliveError:  # the store does not answer: every other job reports that
            return
        self._found = [f"! {one['name']}: {one['text']} {one['advice']}".rstrip() for one in checks]
