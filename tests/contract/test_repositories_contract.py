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
from pipeline.lib import push_notes
from pipeline.lib.push_notes import Note, Update
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
