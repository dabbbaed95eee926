"""A repository as one file, and back: a bundle holds every ref and all that they need, as of one moment."""

from __future__ import annotations

from pathlib import Path

from pipeline.adapters.git import process as process_module
from pipeline.adapters.git.source import init_repository
from pipeline.errors import EngineFailed
from pipeline.ports.clock import Deadline, SystemClock

PATIENCE = 3600.0  # seconds for one repository, however large


def save(repository: Path, file: Path) -> bool:
    """Writes the bundle; False, and no file, for a repository without refs. Raises EngineFailed."""
    doing = f"Copying the repository {repository.stem}"
    if not process_module.run(repository, "for-each-ref", "--count=1", doing=doing):
        return False
    arguments = ["bundle", "create", "--quiet", "--end-of-options", str(file), "--all"]
    process_module.finish(process_module.start(repository, arguments), _patience(), doing=doing)
    return True


def load(file: Path, repository: Path, *, push_limit: int) -> None:
    """A fresh repository with the bundle's refs; its objects are checked. Raises EngineFailed."""
    init_repository(repository, push_limit=push_limit)
    arguments = ["fetch", "--quiet", "--no-tags", "--no-recurse-submodules", "--no-write-fetch-head"]
    process = process_module.start(
        repository,
        [*arguments, "--", str(file), "+refs/*:refs/*"],
        settings={"protocol.file.allow": "always"},
    )
    doing = f"Restoring the repository {repository.stem}"
    process_module.finish(process, _patience(), doing=doing)
    if not process_module.run(repository, "for-each-ref", "--count=1", doing=doing):
        raise EngineFailed(f"{doing}: the bundle holds no ref.", advice="Take another backup.")


def _patience() -> Deadline:
    return Deadline(SystemClock(), PATIENCE, "git")
