"""What a developer is told when git itself refuses a push: what to do, beside git's own words."""

from __future__ import annotations

import json
import os
import subprocess
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from pipeline.domain.events import Event
from pipeline.domain.run import Outcome, State
from tests.support.records import run
from tests.web.test_server import DEVELOPER, Service, git, remotes, serving
from webhooks.git import post_receive
from webhooks.git.advice import Advised


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with serving(tmp_path_factory.mktemp("advice"), pace=0.01) as running:
        yield running


@pytest.fixture
def work(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    git("init", "-q", "-b", "main", cwd=folder)
    for _ in range(2):
        git("commit", "-q", "--allow-empty", "-m", os.urandom(8).hex(), cwd=folder)
    return folder


def test_a_push_from_a_shallow_clone_says_how_to_complete_it(service, work, tmp_path):
    url = service.url("/git/hello.git", DEVELOPER)
    git("clone", "-q", "--depth", "1", f"file://{work}", "shallow", cwd=tmp_path)
    told = git("push", "-f", url, "main", cwd=tmp_path / "shallow", check=False)
    assert told.returncode == 1
    assert "shallow update not allowed" in told.stderr
    (line,) = remotes(told.stderr)
    command = line.split("`")[1]
    subprocess.run(command.split(), cwd=tmp_path / "shallow", check=True, capture_output=True)
    assert git("push", "-f", url, "main", cwd=tmp_path / "shallow").returncode == 0


def test_a_push_from_a_shallow_clone_of_what_is_here_is_taken(service, work, tmp_path):
    url = service.url("/git/hello.git", DEVELOPER)
    git("push", "-qf", url, "main", cwd=work)
    git("clone", "-q", "--depth", "1", url, "shallow", cwd=tmp_path)
    git("commit", "-q", "--allow-empty", "-m", "more", cwd=tmp_path / "shallow")
    told = git("push", url, "main", cwd=tmp_path / "shallow")
    assert remotes(told.stderr)[-1].startswith("To revert")


def written(work: Path, kind: str) -> str:
    """The object that the file ``content`` makes, unchecked."""
    (work / "content").touch()
    return git("hash-object", "-t", kind, "-w", "--literally", "content", cwd=work).stdout.strip()


def test_a_finding_of_fsck_names_the_setting(service, work):
    (work / "content").write_bytes(b"100644 .GIT\0" + bytes.fromhex(written(work, "blob")))
    tree = written(work, "tree")
    commit = git("commit-tree", "-m", "x", tree, cwd=work).stdout.strip()
    told = git(
        "push",
        "-f",
        service.url("/git/hello.git", DEVELOPER),
        f"{commit}:refs/heads/main",
        cwd=work,
        check=False,
    )
    assert any("can set PUSHLIVE_GIT_FSCK_IGNORE=hasDotgit." in line for line in remotes(told.stderr))


def test_a_ref_that_is_neither_branch_nor_tag_says_what_is(service, work):
    told = git("push", service.url("/git/hello.git", DEVELOPER), "main:refs/other/x", cwd=work, check=False)
    assert remotes(told.stderr) == ["Only branches and tags can be pushed."]


def test_the_second_of_two_pushes_at_once_is_told_who_was_first(service, work, tmp_path):
    """git's own hook before a push lets the other one in between: the refs were read, and nothing was sent yet."""
    url = service.url("/git/hello.git", DEVELOPER)
    git("push", "-qf", url, "main", cwd=work)
    git("clone", "-q", url, "other", cwd=tmp_path)
    for folder in (work, tmp_path / "other"):
        git("commit", "-q", "--allow-empty", "-m", os.urandom(8).hex(), cwd=folder)
    hook = work / ".git" / "hooks" / "pre-push"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\nunset GIT_DIR; exec git -C {tmp_path / 'other'} push -q {url} main\n")
    hook.chmod(0o755)
    told = git("push", url, "main", cwd=work, check=False)
    assert "failed to update ref" in told.stderr
    [line] = [line for line in remotes(told.stderr) if "at the same moment" in line]
    assert line == (
        "developer pushed to the same branch at the same moment, so this push changed nothing. "
        "Run `git fetch`, look at what came, then push again."
    )


def test_git_lfs_is_told_what_to_do_in_its_own_form(service):
    headers = {
        "Authorization": "Basic " + b64encode(f"me:{DEVELOPER}".encode()).decode(),
        "Content-Type": "application/vnd.git-lfs+json",
    }
    body = json.dumps({"operation": "upload", "transfers": ["basic"], "objects": []}).encode()
    for path in ("objects/batch", "locks/verify"):
        status, text = service.get(f"/git/hello.git/info/lfs/{path}", body, **headers)
        assert status == 422
        assert "git push --no-verify" in json.loads(text)["message"]


class Chunks:
    def __init__(self, *chunks: bytes) -> None:
        self.chunks, self.closed = chunks, False

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.chunks)

    def close(self) -> None:
        self.closed = True


def packet(content: bytes) -> bytes:
    return b"%04x" % (len(content) + 4) + content


REFUSED = packet(b"\x02other\n") + packet(b"\x02error: object 1234: hasD") + packet(b"\x02otgit: x\n")
RESULT = packet(b"\x01" + packet(b"ng refs/x unpacker error\n") + b"0000") + b"0000"


@pytest.mark.parametrize("size", [1, 3, 7, 1000])
def test_an_answer_is_the_same_in_pieces_of_any_size_and_has_one_line_more(size):
    whole = REFUSED + RESULT
    answer = Advised(Chunks(*(whole[at : at + size] for at in range(0, len(whole), size))))
    found = b"".join(answer)
    assert found.startswith(REFUSED)
    assert found.endswith(RESULT)
    line = found[len(REFUSED) : -len(RESULT)]
    assert int(line[:4], 16) == len(line)
    assert b"PUSHLIVE_GIT_FSCK_IGNORE=hasDotgit" in line


@pytest.mark.parametrize(
    "whole", [b"", b"00", b"000eunpack ok\n0000", b"zzzz not packets", b"0100\x01cut off"]
)
def test_what_is_not_understood_passes_unchanged(whole):
    chunks = Chunks(whole)
    answer = Advised(chunks)
    assert b"".join(answer) == whole
    answer.close()
    assert chunks.closed


@pytest.mark.parametrize(
    ("more", "last"),
    [
        (
            ["revert not ready: r1 is warm, but does not work"],
            "revert not ready: r1 is warm, but does not work",
        ),
        (
            ["bake would go back to r1, not to r2 (it was down)"],
            "bake would go back to r1, not to r2 (it was down)",
        ),
        ([], "To revert: `pushlive revert hello`"),
    ],
)
def test_a_revert_is_named_only_if_the_end_of_the_run_says_nothing_of_it(more, last):
    end = Event("end", 1.0, "hello#1 is live", data={"outcome": "live", "more": more})
    done = run(state=State.ENDED, outcome=Outcome.LIVE)
    service = SimpleNamespace(follow=lambda *_: [("1", end)], run=lambda *_: done)
    *_, line = post_receive._follow(SimpleNamespace(service=service), done)
    assert line.decode().strip() == last
