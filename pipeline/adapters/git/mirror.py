"""A bare mirror of one repository elsewhere: made, and brought up to date by one branch at a time."""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from pipeline.adapters.git.process import GitRefused, finish_git, run_git, start_git
from pipeline.adapters.git.urls import Remote, safe_tag
from pipeline.errors import EngineFailed, PushliveError, RequestError
from pipeline.lib.retry import poll
from pipeline.lib.units import show_size
from pipeline.ports.clock import Clock, Watch

_NO_EXPORT_RULES = "# A build gets what a checkout would hold.\n* -export-ignore -export-subst -filter\n"

# What git and ssh print → what it means and what to do. The first that fits counts.
_REASONS: tuple[tuple[str, str, str], ...] = (
    (
        r"could not read Username|Authentication failed|Permission denied|prompts disabled|error: 40[13]",
        "it asks for a login, or refuses ours",
        "Put https://user:token@host into <data>/git-credentials, or give this service's SSH key read access.",
    ),
    (
        r"Host key verification failed",
        "its SSH host key is not known here",
        "Add the host to the known_hosts file of the account that runs this service.",
    ),
    (
        r"error: 30\d|unable to update url base from redirection",
        "it answers with a redirect, and those are not followed",
        "Write the address it redirects to.",
    ),
    (
        r"[Rr]epository .*not found|does not appear to be a git repository|error: 404|does not exist",
        "there is no repository at this address",
        "Look at `url` under `source`.",
    ),
    (
        r"[Oo]peration too slow|[Tt]imed out|Connection refused|Could not resolve host|Could not connect"
        r"|Connection reset|No route to host|Network is unreachable|early EOF|hung up|Connection closed",
        "it does not answer, or too slowly",
        "Look whether it can be reached from this machine, then retry.",
    ),
    (r"No space left on device", "the disk is full", "Free disk space, then retry."),
    (r"protocol|transport .* not allowed", "git refuses this kind of address", "Use https:// or ssh://."),
)


def local_ref(branch: str) -> str:
    """Where the mirror keeps the branch: a flat name, for refs `a` and `a/b` exclude each other."""
    return f"refs/mirrored/{safe_tag(branch)}"


def make(repository: Path, *, branch: str = "main") -> None:
    """An empty bare repository without templates and hooks, whose archives equal a checkout. Twice."""
    try:
        repository.mkdir(parents=True, exist_ok=True)
        run_git(
            repository, "init", "--quiet", "--bare", "--template=", f"--initial-branch={branch}",
            doing=f"Making the repository {repository.name}",
        )  # fmt: skip
        for folder in ("info", "hooks"):
            (repository / folder).mkdir(exist_ok=True)
        fresh = repository / "info" / f"attributes.{os.getpid()}"
        fresh.write_text(_NO_EXPORT_RULES)
        fresh.replace(repository / "info" / "attributes")
    except OSError as error:
        raise EngineFailed(f"The repository {repository} cannot be made: {error}.") from error


def fetch(repository: Path, remote: Remote, branch: str, size_limit: int, clock: Clock, watch: Watch) -> None:
    """Brings the branch's head into the mirror. Twice. Raises RequestError (no such branch), EngineFailed
    (unreachable, refused, too large) and what the watch raises; git is ended then."""
    with _alone(repository, clock, watch) as lock:
        if not (repository / "info" / "attributes").exists():
            make(repository)
        _sweep(repository)
        arguments = [
            "fetch",
            "--quiet",
            "--force",
            "--no-tags",
            "--no-recurse-submodules",
            "--no-write-fetch-head",
        ]
        arguments += ["--", remote.url, f"+refs/heads/{branch}:{local_ref(branch)}"]
        public, secret = _settings(remote)
        process = start_git(repository, arguments, settings=public, secret=secret, hold=(lock,))
        try:
            finish_git(
                process, watch, doing="fetch", each=lambda: _check_size(repository, remote, size_limit)
            )
            _check_size(repository, remote, size_limit)
        except GitRefused as error:
            raise fetch_failed(remote, branch, error) from error


def fetch_failed(remote: Remote, branch: str, error: GitRefused) -> PushliveError:
    """What git said, as one of ours. The only place where git's texts are read."""
    if "couldn't find remote ref" in error.stderr.lower():
        return RequestError(
            f"{remote.url} has no branch {branch!r}.", advice="Push it, or name another one under `source`."
        )
    for pattern, meaning, advice in _REASONS:
        if re.search(pattern, error.stderr):
            return EngineFailed(f"{remote.url} cannot be fetched: {meaning} ({_last(error)}).", advice=advice)
    return EngineFailed(f"{remote.url} cannot be fetched: {_last(error)}.", advice="Mend it, then retry.")


def _last(error: GitRefused) -> str:
    lines = [line.strip() for line in error.stderr.splitlines() if line.strip()]
    told = [line for line in lines if re.match(r"(fatal|error|ssh|remote):", line)] or lines
    return (told[0] if told else f"git ended with status {error.status}")[:300].rstrip(".")


def _settings(remote: Remote) -> tuple[dict[str, str], dict[str, str]]:
    """The configuration for this remote: only its own protocol, only the addresses that were checked."""
    settings = {f"protocol.{remote.scheme}.allow": "always"}
    if remote.scheme in ("http", "https") and remote.addresses:
        host = f"[{remote.host}]" if ":" in remote.host else remote.host
        shown = ",".join(f"[{a}]" if ":" in a else a for a in remote.addresses)
        settings["http.curloptResolve"] = f"{host}:{remote.port}:{shown}"
    secret = {"http.extraHeader": f"Authorization: {remote.authorization}"} if remote.authorization else {}
    return settings, secret


@contextmanager
def _alone(repository: Path, clock: Clock, watch: Watch) -> Iterator[int]:
    """Holds the mirror's lock. git inherits it: even one whose worker was killed keeps others out."""
    repository.parent.mkdir(parents=True, exist_ok=True)
    lock = os.open(repository.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        poll(partial(_taken, lock, watch), 0.05, clock)
        yield lock
    finally:
        os.close(lock)


def _taken(lock: int, watch: Watch) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        watch.check()
        return False
    return True


def _sweep(repository: Path) -> None:
    """Removes what a killed git left behind. Only under the lock: no git is at work here then."""
    left = [*repository.glob("*.lock"), *repository.glob("refs/mirrored/*.lock")]
    left += [*repository.glob("objects/pack/tmp_*"), *repository.glob("objects/pack/.tmp-*")]
    for path in left:
        path.unlink(missing_ok=True)


def _check_size(repository: Path, remote: Remote, limit: int) -> None:
    size = 0
    for entry in os.scandir(repository / "objects" / "pack"):
        with suppress(FileNotFoundError):
            size += entry.stat().st_size
    if size > limit:
        raise EngineFailed(
            f"{remote.url} is larger than the limit of {show_size(limit)} ({show_size(size)} so far).",
            advice="Raise PUSHLIVE_PUSH_LIMIT, or take large files out of the repository's history.",
        )
