"""The repositories of the git server as the keeper reads them: real ones and the fake keep the same promises."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.adapters.fake import FakeRepositories, FakeSource
from pipeline.adapters.git.hosted import HostedRepositories
from pipeline.adapters.git.source import init_repository
from pipeline.errors import RequestError
from pipeline.lib import push_notes
from pipeline.lib.push_notes import Note, Update
from pipeline.ports.repositories import PushedFile
from webhooks.git import pre_receive

NEW, ZEROS = "1" * 40, "0" * 40
NOTE = Note("a" * 32, "ann", "developer", "127.0.0.1", (Update(ZEROS, NEW, "refs/heads/main"),))


@pytest.fixture(params=["real", "fake"])
def made(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Any, Callable[[Note], None]]:
    """Repositories with one empty one, "shop", of an earlier version; and what notes a push."""
    if request.param == "fake":
        fake = FakeRepositories(FakeSource())
        fake.old.add("shop")
        return fake, lambda note: fake.note("shop", note)
    init_repository(tmp_path / "shop.git")

    def note(what: Note) -> None:
        pre_receive.note(str(push_notes.file_of(tmp_path / "shop.git", what.push)), push_notes.written(what))

    return HostedRepositories(tmp_path), note


def test_what_is_not_there_has_no_heads_and_no_notes_and_takes_them_at_once(made):
    repositories, _ = made
    assert (repositories.heads("none"), repositories.noted("none")) == ({}, ())
    assert repositories.keeps_notes("none")
    repositories.forget("none", NOTE.push)


def test_a_note_is_there_until_it_is_forgotten(made):
    repositories, note = made
    note(NOTE)
    assert repositories.noted("shop") == (NOTE,)
    repositories.forget("shop", NOTE.push)
    repositories.forget("shop", NOTE.push)
    assert repositories.noted("shop") == ()


def test_a_note_keeps_the_option_that_asks_not_to_deploy(made):
    repositories, note = made
    note(replace(NOTE, option="ci.skip"))
    assert repositories.noted("shop") == (replace(NOTE, option="ci.skip"),)


def test_a_commit_that_is_not_there_has_no_message(made):
    repositories, _ = made
    assert [repositories.message(name, NEW) for name in ("shop", "none")] == ["", ""]


def test_a_note_alone_does_not_say_that_every_push_was_noted(made):
    repositories, note = made
    note(NOTE)
    assert not repositories.keeps_notes("shop")


def test_what_may_be_lost_is_noted_once(made):
    repositories, _ = made
    repositories.keep_notes("shop", NOTE)
    repositories.keep_notes("shop", NOTE)
    assert repositories.keeps_notes("shop")
    assert repositories.noted("shop") == (NOTE,)


def test_nothing_lost_makes_no_note(made):
    repositories, _ = made
    repositories.keep_notes("shop", Note("b", "", "", "", ()))
    assert repositories.keeps_notes("shop")
    assert repositories.noted("shop") == ()


PATHS = ("pipelines.yaml", 'live/a b/"ü".yaml')


@pytest.fixture(params=["real", "fake"])
def filled(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Any, str]:
    """Repositories with "ops", which has files in one commit on main; and that commit."""
    files = {**dict.fromkeys(PATHS, b"one\n"), "README": b"read me\n"}
    if request.param == "fake":
        source = FakeSource()
        return FakeRepositories(source), source.push("ops", files)
    init_repository(tmp_path / "ops.git")
    clone = tmp_path / "clone"
    for name, content in files.items():
        (clone / name).parent.mkdir(parents=True, exist_ok=True)
        (clone / name).write_bytes(content)
    for words in (
        ["init", "-q", "-b", "main"], ["add", "-A"],
        ["-c", "user.name=A", "-c", "user.email=a@b", "commit", "-q", "-m", "one"],
        ["push", "-q", str(tmp_path / "ops.git"), "main"],
    ):  # fmt: skip
        subprocess.run(["git", *words], cwd=clone, check=True)
    repositories = HostedRepositories(tmp_path)
    return repositories, repositories.heads("ops")["main"]


@pytest.mark.parametrize("path", PATHS)
def test_a_commit_replaces_one_file_and_nothing_else(filled, path):
    repositories, head = filled
    made = repositories.commit("ops", "main", head, path, b"two\nthree", "bob", "Two: three")
    assert repositories.heads("ops") == {"main": made}
    assert made != head
    assert repositories.message("ops", made).strip() == "Two: three"
    for name, content in (*((one, b"one\n") for one in PATHS if one != path), (path, b"two\nthree")):
        assert repositories.pushed("ops", "", made, name, 100) == PushedFile("file", len(content), content)
    assert repositories.pushed("ops", "", head, path, 100).content == b"one\n"


def test_a_commit_on_what_is_not_the_head_is_refused(filled):
    repositories, head = filled
    made = repositories.commit("ops", "main", head, "pipelines.yaml", b"two", "bob", "Two")
    for before in (head, NEW):
        with pytest.raises(RequestError, match="another push since"):
            repositories.commit("ops", "main", before, "pipelines.yaml", b"three", "ann", "Three")
    assert repositories.heads("ops") == {"main": made}


def test_what_is_not_there_and_what_is_too_large_is_not_read(filled):
    repositories, head = filled
    assert repositories.pushed("ops", "", head, "none.yaml", 100) == PushedFile()
    assert repositories.pushed("ops", "", head, "README", 3) == PushedFile("file", 8)
    with pytest.raises(RequestError):
        repositories.pushed("ops", "", NEW, "README", 100)


def test_no_folder_but_that_of_a_push_is_read(tmp_path):
    init_repository(tmp_path / "ops.git")
    with pytest.raises(RequestError, match="has no objects of a push"):
        HostedRepositories(tmp_path).pushed("ops", str(tmp_path), NEW, "README", 100)


def test_the_hook_writes_what_is_read(tmp_path):
    init_repository(tmp_path / "shop.git")
    path = push_notes.file_of(tmp_path / "shop.git", NOTE.push)
    program = Path(pre_receive.__file__)
    environ = {
        "PUSHLIVE_NOTE": str(path), "REMOTE_USER": "ann", "PUSHLIVE_ROLE": "developer", "REMOTE_ADDR": "127.0.0.1",
    }  # fmt: skip
    refs = f"{ZEROS} {NEW} refs/heads/main\n".encode()
    subprocess.run(
        ["python3", "-I", "-S", program], input=refs, env={**environ, "PATH": "/usr/bin:/bin"}, check=True
    )
    assert HostedRepositories(tmp_path).noted("shop") == (NOTE,)
