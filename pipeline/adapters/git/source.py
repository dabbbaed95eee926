"""``ports.Source``: repositories on the built-in git server, and bare mirrors of remote ones."""

from __future__ import annotations

import io
import posixpath
import re
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import IO, cast

from pipeline.adapters.git import commit_ids, mirror
from pipeline.adapters.git.links import entry_at, followed
from pipeline.adapters.git.process import GitRefused, end_git, refusal, run_git, start_git
from pipeline.adapters.git.tree import Entry, walk_tree
from pipeline.adapters.git.urls import check_ref, check_url, with_login
from pipeline.adapters.tar_stream import Change, Reader, rewrite
from pipeline.config.models import Source as SourceConfig
from pipeline.config.models import safe_path
from pipeline.errors import EngineFailed, NotFound, RepositoryFailed, RequestError
from pipeline.lib import skipping
from pipeline.lib.text import summary
from pipeline.lib.units import show_size
from pipeline.ports.clock import Clock, Deadline, Watch
from pipeline.ports.source import CHANGED, Commit, Ignored, nothing

_READ_LIMIT = 1 << 20  # bytes of one file
_MESSAGE_LIMIT = 200  # characters
_FORGET = 2.0  # seconds that a fetch which is at work may take
_HISTORY = 10_000  # commits that are looked through
_REST = 1 << 16  # bytes: more than the padding at the end of a tar stream
_POINTER_LIMIT = 1024  # bytes: a Git LFS pointer is smaller
_RULES_LIMIT = 64 << 10  # bytes of a .gitattributes that is read
_POINTER = b"version https://git-lfs.github.com/spec/"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_SERVER_SETTINGS = {
    "http.receivepack": "true",
    "receive.advertisePushOptions": "true",
    "receive.denyDeleteCurrent": "ignore",  # our own hook answers deletions
    "receive.fsckObjects": "true",
}


def init_repository(path: Path, *, push_limit: int = 2 << 30) -> None:
    """Creates a bare repository for the built-in git server, with ``main`` as its HEAD. Idempotent.

    ``push_limit``: bytes that one push may bring. Raises EngineFailed.
    """
    mirror.make(path)
    for name, value in {**_SERVER_SETTINGS, "receive.maxInputSize": str(push_limit)}.items():
        run_git(path, "config", name, value, doing=f"Setting up the repository {path.name}")


def heads(path: Path) -> dict[str, str]:
    """The repository's branches: name → commit id. Raises EngineFailed."""
    out = run_git(
        path, "for-each-ref", "--format=%(objectname) %(refname)", "refs/heads/", doing=f"Reading {path.name}"
    )
    pairs = (line.split(" ", 1) for line in out.decode("utf-8", "replace").splitlines())
    return {ref.removeprefix("refs/heads/"): commit for commit, ref in pairs}


class GitSource:
    """``repositories``: the folder of the built-in server's ``<name>.git``; ``mirrors``: the folder of the mirrors,
    one for each key; a file ``git-credentials`` beside it may contain logins, ``https://user:token@host`` in each line;
    ``allow``: see ``urls.check_url``; ``size_limit``: bytes of a mirror's packs; ``ignored``: findings of fsck that a
    fetch may have.
    """

    def __init__(
        self, repositories: Path, mirrors: Path, clock: Clock, allow: tuple[str, ...] = (),
        size_limit: int = 2 << 30, ignored: tuple[str, ...] = (),
    ) -> None:  # fmt: skip
        self._repositories = repositories
        self._mirrors = mirrors
        self._clock = clock
        self._allow = allow
        self._size_limit = size_limit
        self._ignored = ignored

    def fetch(self, key: str, source: SourceConfig, watch: Watch) -> str:
        """See ``ports.Source``."""
        ref, path = check_ref(source.branch), self._path(key, source)
        if source.url:
            remote = with_login(check_url(source.url, self._allow), self._logins())
            mirror.fetch(path, remote, source.branch, self._size_limit, self._clock, watch, self._ignored)
            ref = mirror.local_ref(source.branch)
        watch.check()
        try:
            return self._git(
                path, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}"
            )
        except GitRefused as error:
            raise RepositoryFailed(
                f"The repository {path.stem} has no branch {source.branch!r}.",
                advice=f"Push it: git push <address> {source.branch}",
            ) from error

    def commit(self, key: str, source: SourceConfig, commit: str) -> Commit:
        """See ``ports.Source``."""
        path = self._path(key, source)
        id_, form = commit_ids.resolved(path, commit), "--format=%an%n%B"
        author, message = [
            *self._git(path, "log", "-1", form, "--end-of-options", id_, "--").split("\n", 1),
            "",
        ][:2]
        subject = message.lstrip("\n").partition("\n")[0]
        skip = skipping.by_message(message)
        return Commit(id_, summary(subject, _MESSAGE_LIMIT), summary(author, _MESSAGE_LIMIT), skip)

    def newest_of(self, key: str, source: SourceConfig, head: str, commits: frozenset[str]) -> str:
        """See ``ports.Source``."""
        path = self._path(key, source)
        listed = self._git(
            path,
            "rev-list",
            "--topo-order",
            f"--max-count={_HISTORY}",
            "--end-of-options",
            commit_ids.whole(head),
            "--",
        ).split()
        return next((commit for commit in listed if commit in commits), "")

    def contains(self, key: str, source: SourceConfig, commit: str, other: str) -> bool:
        """See ``ports.Source``."""
        ids = [commit_ids.whole(one) for one in (other, commit)]
        try:
            self._bytes(self._path(key, source), "merge-base", "--is-ancestor", "--end-of-options", *ids)
        except GitRefused:  # 1: it is not; 128: one of them is not there
            return False
        return True

    def history(
        self, key: str, source: SourceConfig, commit: str, since: str, limit: int
    ) -> tuple[Commit, ...]:
        """See ``ports.Source``."""
        ids = [commit_ids.whole(commit), f"^{commit_ids.whole(since)}"]
        form = "--format=%H%x00%an%x00%s"
        found = self._git(
            self._path(key, source), "log", f"--max-count={limit}", form, "--end-of-options", *ids, "--"
        )
        lines = (line.split("\0") for line in found.split("\n") if line.count("\0") == 2)
        return tuple(
            Commit(id_, summary(subject, _MESSAGE_LIMIT), summary(author, _MESSAGE_LIMIT))
            for id_, author, subject in lines
        )

    def changed(self, key: str, source: SourceConfig, commit: str, since: str, path: str) -> tuple[str, ...]:
        """See ``ports.Source``."""
        repository, ids = self._path(key, source), [commit_ids.whole(one) for one in (since, commit)]
        folder = followed(repository, ids[1], _inside(path))
        within = (f":(literal){folder}",) if folder else ()
        found = self._bytes(
            repository, "diff-tree", "-r", "-z", "--name-only", "--no-renames", "--end-of-options", *ids, "--", *within
        )  # fmt: skip
        start = len(f"{folder}/") if folder else 0
        return tuple(one[start:] for one in found.decode("utf-8", "replace").split("\0") if one)[:CHANGED]

    def changed_by(self, key: str, source: SourceConfig, commit: str, since: str, path: str) -> Commit | None:
        """See ``ports.Source``."""
        ids = [commit_ids.whole(commit), f"^{commit_ids.whole(since)}"]
        repository, within = self._path(key, source), f":(literal){_inside(path)}"
        found = self._git(
            repository, "log", "--max-count=1", "--format=%H", "--end-of-options", *ids, "--", within
        )
        return self.commit(key, source, found) if found else None

    def keep(self, key: str, source: SourceConfig, commit: str, name: str) -> None:
        """See ``ports.Source``."""
        path = self._path(key, source)
        ref = check_ref(name).replace("refs/heads/", "refs/pushlive/", 1)
        try:
            self._git(path, "update-ref", "--no-deref", ref, commit_ids.whole(commit))
        except GitRefused as error:
            if self._git(path, "for-each-ref", "--format=%(objectname)", ref) != commit:
                raise NotFound(f"The commit {commit[:40]} cannot be kept: {error.message}") from error

    def tree(self, key: str, source: SourceConfig, commit: str, path: str) -> str:
        """See ``ports.Source``."""
        repository = self._path(key, source)
        folder = followed(repository, commit_ids.whole(commit), _inside(path))
        if not folder:
            return self._git(
                repository, "rev-parse", "--verify", "--quiet", f"{commit_ids.whole(commit)}^{{tree}}"
            )
        entry = entry_at(repository, commit, folder)
        if entry and entry.mode == "040000":
            return entry.id
        raise RequestError(
            f"The folder {path!r} is not in commit {commit[:7]}.",
            advice="Check `context` under `build`: it is relative to the repository's root.",
        )

    def read(self, key: str, source: SourceConfig, commit: str, path: str) -> bytes | None:
        """See ``ports.Source``. Raises RequestError for a link that leads out of the repository, and a large file."""
        repository = self._path(key, source)
        file = followed(repository, commit_ids.whole(commit), _inside(path))
        entry = entry_at(repository, commit, file) if file else None
        if not entry or not entry.is_file:
            return None
        if entry.size > _READ_LIMIT:
            raise RepositoryFailed(
                f"{file!r} is too large ({show_size(entry.size)}): at most {show_size(_READ_LIMIT)} is read."
            )
        return self._bytes(repository, "cat-file", "blob", entry.id)

    def follow(self, key: str, source: SourceConfig, commit: str, path: str) -> str:
        """See ``ports.Source``."""
        return followed(self._path(key, source), commit_ids.whole(commit), _inside(path)) or "."

    def unsupported(
        self, key: str, source: SourceConfig, commit: str, path: str, ignored: Ignored = nothing
    ) -> str:
        """See ``ports.Source``. Raises RequestError if there are too many files or bytes to build."""
        repository = self._path(key, source)
        folder = followed(repository, commit_ids.whole(commit), _inside(path))
        within = f"{folder}/".encode("utf-8", "surrogateescape") if folder else b""

        def left_out(entry: Entry) -> bool:
            return ignored(entry.path[len(within) :].decode("utf-8", "surrogateescape"))

        rules, small = [], []
        for entry in walk_tree(repository, commit, self._size_limit):
            inside = entry.path.startswith(within)
            if entry.mode == "160000" and inside and not left_out(entry):
                where = entry.path.decode("utf-8", "replace")
                return (
                    f"The build's context has a submodule in it ({where!r}), which is not supported yet. "
                    "Commit the files to this repository, or fetch them in the Dockerfile."
                )
            if entry.is_file and entry.size < _RULES_LIMIT and entry.name == b".gitattributes":
                rules.append(entry.id)
            if entry.is_file and inside and 0 < entry.size < _POINTER_LIMIT:
                small.append(entry)
        if not any(b"filter=lfs" in content for content in self._contents(repository, rules)):
            return ""
        return self._pointer(repository, [entry for entry in small if not left_out(entry)])

    def archive(
        self, key: str, source: SourceConfig, commit: str, path: str
    ) -> AbstractContextManager[IO[bytes]]:
        """See ``ports.Source``. Raises RequestError if the folder is missing. On exit raises EngineFailed if git itself
        failed, since the stream was then cut off."""
        repository = self._path(key, source)
        folder = followed(repository, commit_ids.whole(commit), _inside(path))
        if folder:
            self.tree(key, source, commit, folder)
        return self._archive(repository, commit_ids.whole(commit), folder)

    @contextmanager
    def _archive(self, repository: Path, commit: str, folder: str) -> Iterator[IO[bytes]]:
        """The folder is cut out here, because git would ignore the attributes set above it."""
        arguments = ["archive", "--format=tar", commit, *(["--", f":(literal){folder}"] if folder else [])]
        process = start_git(repository, arguments)
        stream = cast(IO[bytes], process.stdout)
        whole = False
        try:
            yield io.BufferedReader(Reader(rewrite(stream, _below(folder)))) if folder else stream
            whole = len(stream.read(_REST)) < _REST
        finally:
            if whole:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(5.0)
            status = process.poll()
            said = process.stderr.read() if status and process.stderr else b""
            end_git(process)
            if status:
                raise refusal(f"Reading commit {commit[:7]} of {repository.stem}", status, said)

    def _logins(self) -> list[str]:
        """The lines of ``git-credentials`` beside the mirrors: ``https://user:token@host``."""
        try:
            return (self._mirrors.parent / "git-credentials").read_text().split()
        except FileNotFoundError:
            return []
        except (OSError, UnicodeDecodeError) as error:
            raise EngineFailed(
                f"The file git-credentials cannot be read: {error}.", advice="Check its permissions."
            ) from error

    def _pointer(self, repository: Path, small: list[Entry]) -> str:
        for entry, content in zip(small, self._contents(repository, [e.id for e in small]), strict=True):
            if content.startswith(_POINTER):
                where = entry.path.decode("utf-8", "replace")
                return (
                    f"{where!r} is in Git LFS, which is not supported yet. "
                    "Commit the file itself, or fetch it in the Dockerfile."
                )
        return ""

    def _contents(self, repository: Path, ids: list[str]) -> Iterator[bytes]:
        if not ids:
            return
        given = "".join(f"{id_}\n" for id_ in ids).encode()
        out = io.BytesIO(run_git(repository, "cat-file", "--batch", doing="Reading files", given=given))
        for _ in ids:
            size = int(out.readline().split()[2])
            yield out.read(size + 1)[:-1]

    def _path(self, key: str, source: SourceConfig) -> Path:
        name = _checked(key if source.url else source.repository or key)
        path = (self._mirrors if source.url else self._repositories) / f"{name}.git"
        if not source.url and not path.is_dir():
            raise NotFound(
                f"There is no repository {name!r} on the built-in git server.", advice="Push to it first."
            )
        return path

    def forget(self, key: str) -> None:
        """See ``ports.Source``."""
        path = self._mirrors / f"{_checked(key)}.git"
        if path.is_dir():
            mirror.forget(
                path, self._clock, Deadline(self._clock, _FORGET, f"removing the mirror {path.name}")
            )

    def _git(self, repository: Path, *arguments: str) -> str:
        return self._bytes(repository, *arguments).decode("utf-8", "replace").rstrip("\n")

    def _bytes(self, repository: Path, *arguments: str) -> bytes:
        return run_git(repository, *arguments, doing=f"Reading the repository {repository.stem}")


def _checked(name: str) -> str:
    """The name of a repository. Raises RequestError if it is none."""
    if not _NAME.fullmatch(name) or ".." in name:
        raise RequestError(
            f"{name[:80]!r} is not a valid repository name.", advice="Use letters, digits, - and _."
        )
    return name


def _inside(path: str) -> str:
    """The path in git's form, "" for the root. Raises RequestError if it leads out of the repository."""
    if not safe_path(path):
        raise RequestError(
            f"The path {path[:200]!r} leads out of the repository.", advice="Write it relative to the root."
        )
    normal = posixpath.normpath(path)
    return "" if normal == "." else normal


def _below(folder: str) -> Change:
    prefix = f"{folder}/"

    def change(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
        if not member.name.startswith(prefix):
            return None
        return member.replace(name=member.name.removeprefix(prefix), deep=False)

    return change
