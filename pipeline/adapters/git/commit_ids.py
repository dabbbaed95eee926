"""Ids of commits, as people write them. A name is never meant: git itself would first look for a branch or a tag with
the digits as its name."""

from __future__ import annotations

from pathlib import Path

from pipeline.adapters.git.process import GitRefused, run_git
from pipeline.domain import naming
from pipeline.errors import NotFound, RequestError

SHOWN = 5  # ids in one message
_READING = "Reading the ids of commits"


def resolved(repository: Path, digits: str) -> str:
    """The whole id of the one commit whose id begins so. Raises NotFound, or RequestError if several begin so."""
    objects = _beginning_with(repository, _checked(digits))
    form = "--batch-check=%(objecttype) %(objectname)"
    lines = run_git(repository, "cat-file", form, doing=_READING, given=objects).decode().splitlines()
    found = sorted(line.removeprefix("commit ") for line in lines if line.startswith("commit "))
    if len(found) == 1:
        return found[0]
    if found:
        shown = ", ".join(found[:SHOWN]) + (", …" if len(found) > SHOWN else "")
        raise RequestError(
            f"{len(found)} commits in the repository {repository.stem} have ids that begin with {digits}: {shown}.",
            advice="Give more digits.",
        )
    raise NotFound(
        f"The commit {digits} is not in the repository {repository.stem}.{_namesake(repository, digits)}",
        advice="Push it first, or check its id.",
    )


def whole(commit: str) -> str:
    """An id as ``resolved`` returns it: git takes a shorter one for a branch of that name. Raises NotFound."""
    if len(_checked(commit)) not in (40, 64):
        raise NotFound(f"{commit!r} is not a whole commit id.", advice="Use all of its digits.")
    return commit


def _checked(digits: str) -> str:
    if not naming.is_commit_id(digits):
        raise NotFound(
            f"{digits[:80]!r} is not a commit id.", advice="Use its hexadecimal digits, at least seven."
        )
    return digits


def _beginning_with(repository: Path, digits: str) -> bytes:
    """The ids of all objects, one on each line."""
    try:
        return run_git(repository, "rev-parse", f"--disambiguate={digits}", doing=_READING)
    except GitRefused:  # more digits than an id has in this repository
        return b""


def _namesake(repository: Path, text: str) -> str:
    """What has that text as its name, as a sentence; "" if nothing does."""
    for kind, folder in (("branch", "refs/heads/"), ("tag", "refs/tags/")):
        form = "--format=%(objectname)"
        at = run_git(repository, "for-each-ref", form, folder + text, doing=_READING).decode().strip()
        if at:
            return f" There is a {kind} of that name, at {at[:12]}; names are not looked up here."
    return ""
