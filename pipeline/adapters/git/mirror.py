"""A bare mirror of one remote repository, updated one branch at a time."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from pipeline.adapters.git.process import GitRefused, finish_git, run_git, start_git
from pipeline.adapters.git.urls import Remote, safe_tag
from pipeline.errors import EngineFailed, PushliveError, RepositoryFailed
from pipeline.lib.git_settings import ignoring
from pipeline.lib.retry import poll
from pipeline.lib.units import show_size
from pipeline.ports.clock import Clock, Watch

_NO_EXPORT_RULES = "# A build gets what a checkout would contain.\n* -export-ignore -export-subst -filter\n"

# What git and ssh print, what it means, and what to do about it. The first match counts.
_REASONS: tuple[tuple[str, str, str], ...] = (
    (
        r"could not read Username|Authentication failed|Permission denied|prompts disabled|error: 40[13]",
        "it requires a login, or refuses the one that is configured",
        "Add a line https://user:token@host to <data>/git-credentials, or give the service's SSH key read access.",
    ),
    (
        r"Host key verification failed",
        "its SSH host key is not in known_hosts",
        "Add the host to the known_hosts file of the service's user.",
    ),
    (
        r"error: 30\d|unable to update url base from redirection",
        "it redirects, and redirects are not followed",
        "Set `url` under `source` to the address that it redirects to.",
    ),
    (
        r"[Rr]epository .*not found|does not appear to be a git repository|error: 404|does not exist",
        "there is no repository at this address",
        "Check `url` under `source`.",
    ),
    (
        r"[Oo]peration too slow|[Tt]imed out|Connection refused|Could not resolve host|Could not connect"
        r"|Connection reset|No route to host|Network is unreachable|early EOF|hung up|Connection closed",
        "it does not answer, or is too slow",
        "Check that it can be reached from this machine.",
    ),
    (r"No space left on device", "the disk is full", "Free disk space."),
    (
        r"protocol|transport .* not allowed",
        "git does not allow this kind of address",
        "Use https:// or ssh://.",
    ),
)
_FINDING = re.compile(r"object [0-9a-f]+: (\w+): ")  # of fsck, in what git prints


def local_ref(branch: str) -> str:
    """The mirror's ref for the branch. A flat name, because refs `a` and `a/b` exclude each other."""
    return f"refs/mirrored/{safe_tag(branch)}"


def make(repository: Path, *, branch: str = "main") -> None:
    """Creates an empty bare repository without templates and hooks, whose archives equal a checkout. Idempotent."""
    try:
        repository.mkdir(parents=True, exist_ok=True)
        run_git(
            repository, "init", "--quiet", "--bare", "--template=", f"--initial-branch={branch}",
            doing=f"Creating the repository {repository.name}",
        )  # fmt: skip
        for folder in ("info", "hooks"):
            (repository / folder).mkdir(exist_ok=True)
        fresh = repository / "info" / f"attributes.{os.getpid()}"
        fresh.write_text(_NO_EXPORT_RULES)
        fresh.replace(repository / "info" / "attributes")
    except OSError as error:
        raise EngineFailed(f"The repository {repository} cannot be created: {error}.") from error


def fetch(
    repository: Path, remote: Remote, branch: str, size_limit: int, clock: Clock, watch: Watch,
    ignored: Iterable[str] = (),
) -> None:  # fmt: skip
    """Fetches the branch's head into the mirror. Idempotent. Raises RepositoryFailed (no such branch, too large,
    refused by git), EngineFailed (unreachable, asks for a login) and what the watch raises; git is ended then.
    ``ignored``: findings of fsck."""
    with _locked(repository, clock, watch) as lock:
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
        public |= ignoring(ignored)
        process = start_git(repository, arguments, settings=public, secret=secret, pass_fds=(lock,))
        try:
            finish_git(
                process, watch, doing="fetch", each=lambda: _check_size(repository, remote, size_limit)
            )
            _check_size(repository, remote, size_limit)
        except GitRefused as error:
            raise fetch_failed(remote, branch, error) from error


def fetch_failed(remote: Remote, branch: str, error: GitRefused) -> PushliveError:
    """Our error for what git said. git's texts are read here alone."""
    if "couldn't find remote ref" in error.stderr.lower():
        return RepositoryFailed(
            f"{remote.url} has no branch {branch!r}.", advice="Push it, or set another one under `source`."
        )
    if finding := _FINDING.search(error.stderr):
        return RepositoryFailed(
            f"{remote.url} cannot be fetched: git refuses an object of its history ({_last(error)}).",
            advice=f"If it does no harm, a maintainer can set PUSHLIVE_GIT_FSCK_IGNORE={finding[1]}.",
            again=True,
        )
    for pattern, meaning, advice in _REASONS:
        if re.search(pattern, error.stderr):
            return EngineFailed(
                f"{remote.url} cannot be fetched: {meaning} ({_last(error)}).", advice=advice, again=True
            )
    return EngineFailed(f"{remote.url} cannot be fetched: {_last(error)}.", advice="Fix that.", again=True)


def _last(error: GitRefused) -> str:
    lines = [line.strip() for line in error.stderr.splitlines() if line.strip()]
    told = [line for line in lines if re.match(r"(fatal|error|ssh|remote):", line)] or lines
    return (told[0] if told else f"git exited with status {error.status}")[:300].rstrip(".")


def _settings(remote: Remote) -> tuple[dict[str, str], dict[str, str]]:
    """git's configuration for this remote, public and secret: only its own protocol, and only the checked addresses."""
    settings = {f"protocol.{remote.scheme}.allow": "always"}
    if remote.scheme in ("http", "https") and remote.addresses:
        host = f"[{remote.host}]" if ":" in remote.host else remote.host
        shown = ",".join(f"[{a}]" if ":" in a else a for a in remote.addresses)
        settings["http.curloptResolve"] = f"{host}:{remote.port}:{shown}"
    secret = {"http.extraHeader": f"Authorization: {remote.authorization}"} if remote.authorization else {}
    return settings, secret


def forget(repository: Path, clock: Clock, watch: Watch) -> None:
    """Removes it. Its lock stays: another process may be waiting for it."""
    with _locked(repository, clock, watch):
        shutil.rmtree(repository, ignore_errors=True)


@contextmanager
def _locked(repository: Path, clock: Clock, watch: Watch) -> Iterator[int]:
    """Locks the mirror. git inherits the lock: even if its worker is killed, it keeps others out until it ends."""
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
    """Removes what a killed git left behind. Needs the lock, so that no git is running here."""
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
        raise RepositoryFailed(
            f"{remote.url} is larger than the limit of {show_size(limit)} ({show_size(size)} so far).",
            advice="Raise PUSHLIVE_PUSH_LIMIT, or remove large files from the repository's history.",
        )
