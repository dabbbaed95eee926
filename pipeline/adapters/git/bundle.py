"""A repository as one file, and back. A bundle has every ref with all its objects, as of one moment."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from pipeline.adapters.git.process import finish_git, run_git, start_git
from pipeline.adapters.git.source import init_repository
from pipeline.errors import EngineFailed
from pipeline.lib.git_settings import ignoring
from pipeline.ports.clock import Deadline, SystemClock

LIMIT = 3600.0  # seconds for one repository


def save_bundle(repository: Path, file: Path) -> bool:
    """Writes the bundle; False, and no file, for a repository without refs. Raises EngineFailed."""
    doing = f"Copying the repository {repository.stem}"
    if not run_git(repository, "for-each-ref", "--count=1", doing=doing):
        return False
    arguments = ["bundle", "create", "--quiet", "--end-of-options", str(file), "--all"]
    finish_git(start_git(repository, arguments), _deadline(), doing=doing)
    return True


def load_bundle(file: Path, repository: Path, *, push_limit: int, ignored: Iterable[str] = ()) -> None:
    """Creates the repository with the bundle's refs, and checks its objects, except for the findings of fsck
    that are ``ignored``. Raises EngineFailed."""
    init_repository(repository, push_limit=push_limit)
    arguments = ["fetch", "--quiet", "--no-tags", "--no-recurse-submodules", "--no-write-fetch-head"]
    process = start_git(
        repository,
        [*arguments, "--", str(file), "+refs/*:refs/*"],
        settings={"protocol.file.allow": "always"} | ignoring(ignored),
    )
    doing = f"Restoring the repository {repository.stem}"
    finish_git(process, _deadline(), doing=doing)
    if not run_git(repository, "for-each-ref", "--count=1", doing=doing):
        raise EngineFailed(f"{doing}: the bundle has no refs.", advice="Use another backup.")


def _deadline() -> Deadline:
    return Deadline(SystemClock(), LIMIT, "git")
