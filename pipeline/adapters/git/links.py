"""Symbolic links of a commit, followed inside the repository only: nothing of this machine's files is ever read."""

from __future__ import annotations

from pathlib import Path

from pipeline.adapters.git.process import run_git
from pipeline.adapters.git.tree import Entry, parse_entry
from pipeline.errors import RepositoryFailed

_AT_MOST = 40  # links on the way to one file, as in Linux


def entry_at(repository: Path, commit: str, path: str) -> Entry | None:
    """The tree's entry at the path, or None. ``commit``: a checked id; ``path``: not the root."""
    doing = f"Reading the repository {repository.stem}"
    out = run_git(repository, "ls-tree", "-z", "-l", "--full-tree", commit, "--", path, doing=doing)
    lines = out.split(b"\0")[:-1]
    return parse_entry(lines[0]) if lines else None


def followed(repository: Path, commit: str, path: str) -> str:
    """The path without links, "" for the root; the same one if nothing is there. Raises RepositoryFailed for links that
    lead out of the repository or around in a circle."""
    entry = entry_at(repository, commit, path) if path else None
    if not path or (entry and not entry.is_link):
        return path  # no tree has anything below a link
    todo, done, links = path.split("/"), list[str](), 0
    while todo:
        part = todo.pop(0)
        if part == ".." and not done:
            raise _refused(path, "leads out of the repository")
        if part in ("", ".", ".."):
            done = done[:-1] if part == ".." else done
            continue
        entry = entry_at(repository, commit, "/".join([*done, part]))
        if not entry or not entry.is_link:
            done.append(part)
            continue
        links += 1
        target = run_git(repository, "cat-file", "blob", entry.id, doing=f"Reading the link {part}")
        if links > _AT_MOST:
            raise _refused(path, "leads around in a circle")
        if target.startswith(b"/"):
            raise _refused(path, "leads out of the repository")
        todo = [*target.decode("utf-8", "surrogateescape").split("/"), *todo]
    return "/".join(done)


def _refused(path: str, why: str) -> RepositoryFailed:
    return RepositoryFailed(
        f"{path!r} is a symbolic link, or behind one, that {why}.", advice="Commit the file itself there."
    )
