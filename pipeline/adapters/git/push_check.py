"""Would a repository on the built-in server take a push? Everything is done up to the point where refs would move."""

from __future__ import annotations

import shlex
import stat
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

from pipeline.adapters.git.process import GitRefused, finish_git, run_git, start_git
from pipeline.errors import EngineFailed
from pipeline.lib.git_settings import ENVIRONMENT, SETTINGS, VISIBLE, ignoring, in_environment

_REF = "refs/heads/pushlive-doctor"
_DECLINED = "(pre-receive hook declined)"  # git's words for what our hook does


def check_push(repository: Path, ignored: Iterable[str] = ()) -> str:
    """Pushes the newest commit into the repository itself, where a hook declines it once git has checked everything.
    Changes nothing. ``ignored``: findings of fsck that a push may have. Returns a sentence; raises EngineFailed with
    git's reason."""
    try:
        return _try(repository, ignored)
    except GitRefused as error:
        raise EngineFailed(
            f"The repository {repository.stem} refuses every push: {error.stderr or error.stdout}",
            advice=f"`git -C {shlex.quote(str(repository))} fsck` names what is damaged.",
        ) from error


def _try(repository: Path, ignored: Iterable[str]) -> str:
    """Raises GitRefused."""
    doing = f"Checking the repository {repository.stem}"
    arguments = [
        "for-each-ref",
        "--count=1",
        "--sort=-committerdate",
        "--format=%(objectname)",
        "refs/heads/",
    ]
    head = run_git(repository, *arguments, doing=doing).decode().strip()
    if not head:
        return "nothing was pushed to it yet"
    with TemporaryDirectory(prefix=".doctor-", dir=repository.parent) as folder:
        hook = Path(folder, "pre-receive")
        hook.write_text("#!/bin/sh\nexit 1\n")
        hook.chmod(stat.S_IRWXU)
        arguments = [
            "push",
            "--porcelain",
            f"--receive-pack={_receive_pack(folder, ignored)}",
            "--",
            str(repository),
            f"{head}:{_REF}",
        ]
        process = start_git(repository, arguments, settings={"protocol.file.allow": "always"})
        try:
            finish_git(process, doing=doing)
        except GitRefused as error:
            if _DECLINED not in error.stdout:
                raise
        else:  # the hook did not run
            run_git(repository, "update-ref", "-d", "--", _REF, head, doing=doing)
    return "takes pushes"


def _receive_pack(hooks: str, ignored: Iterable[str]) -> str:
    """The command with what every push is served with: git hands none of it down to the other side of a push."""
    settings = SETTINGS | ignoring(ignored) | {"core.hooksPath": hooks}
    variables = ENVIRONMENT | in_environment([*settings.items(), *VISIBLE])
    return shlex.join(
        ["env", *(f"{name}={value}" for name, value in variables.items()), "git", "receive-pack"]
    )
