"""Would a repository take a push? With the real git, on repositories that would not."""

import shlex
import subprocess
from pathlib import Path

import pytest

from pipeline.adapters.git.push_check import check_push
from pipeline.adapters.git.source import init_repository
from pipeline.errors import EngineFailed
from tests.integration.test_git_source import git


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    found = tmp_path / "git" / "hello.git"
    init_repository(found)
    work = tmp_path / "work"
    work.mkdir()
    git(work, "init", "-q", "-b", "main")
    git(work, "commit", "-q", "--allow-empty", "-m", "one")
    (work / "file").write_text("two")
    git(work, "add", "file")
    git(work, "commit", "-q", "-m", "two")
    git(work, "push", "-q", str(found), "main")
    return found


def refs(repository: Path) -> str:
    return git(repository, "for-each-ref")


def test_a_good_repository_takes_pushes_and_nothing_of_the_check_stays(repository: Path) -> None:
    before = refs(repository), sorted(repository.parent.iterdir())
    assert check_push(repository) == "takes pushes"
    assert (refs(repository), sorted(repository.parent.iterdir())) == before


def test_an_empty_repository_is_no_problem(tmp_path: Path) -> None:
    init_repository(tmp_path / "empty.git")
    assert check_push(tmp_path / "empty.git") == "nothing was pushed to it yet"


def test_a_replaced_commit_has_no_effect(repository: Path) -> None:
    head = git(repository, "rev-parse", "main")
    git(repository, "--no-replace-objects", "update-ref", f"refs/replace/{head}", head)
    assert check_push(repository) == "takes pushes"


def test_a_lost_head_is_said_and_the_advice_names_it(repository: Path) -> None:
    name = git(repository, "rev-parse", "main")
    (repository / "objects" / name[:2] / name[2:]).unlink()
    with pytest.raises(EngineFailed, match="The repository hello refuses every push") as caught:
        check_push(repository)
    assert name in advised(caught.value)


def advised(error: EngineFailed) -> str:
    """What the command in the advice prints."""
    command = shlex.split(error.advice.split("`")[1])
    done = subprocess.run(command, capture_output=True, text=True)
    return done.stdout + done.stderr


def test_objects_that_cannot_be_written_are_said(repository: Path) -> None:
    """As on a full disk; root may write everywhere, so a file stands where git needs a folder."""
    objects = repository / "objects"
    for left in objects.glob("incoming-*"):
        left.unlink()
    kept = repository.parent / "kept"
    objects.rename(kept)
    objects.write_text("")
    with pytest.raises(EngineFailed):
        check_push(repository)
    objects.unlink()
    kept.rename(objects)
    assert check_push(repository) == "takes pushes"
