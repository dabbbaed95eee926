"""What an image declares that does not go together with the configuration."""

from __future__ import annotations

import pytest

from pipeline.config.image_hints import Declared, declared, unwise
from pipeline.config.loading import load


@pytest.mark.parametrize(
    ("text", "volumes", "entrypoint"),
    [
        ("FROM a\nVOLUME /a /b\n", ("/a", "/b"), ()),
        ('FROM a AS one\nVOLUME /a\nFROM One AS two\nFROM two\nvolume ["/b"]\n', ("/a", "/b"), ()),
        ("FROM a AS one\nVOLUME /a\nENTRYPOINT x\nFROM b\n", (), ()),
        ('FROM a AS one\nENTRYPOINT ["x", "y"]\nFROM one\nCMD z\n', (), ("x", "y")),
        ("FROM a\nENTRYPOINT exec x $Y\n", (), ("/bin/sh", "-c", "exec x $Y")),
        ("FROM a\nENTRYPOINT x\nENTRYPOINT []\n", (), ()),
        ("RUN x\n", (), ()),
    ],
)
def test_what_counts_is_declared_by_the_last_stage_and_those_before_it(text, volumes, entrypoint) -> None:
    assert declared(text) == Declared(volumes, entrypoint)


def said(entrypoint: tuple[str, ...], service: str) -> list[str]:
    pipeline = load(f"pipelines: {{a: {{service: {{{service}}}, environments: {{live: }}}}}}").pipelines["a"]
    return list(unwise(Declared((), entrypoint), pipeline))


def test_a_command_beside_an_entrypoint_in_shell_form_is_ignored_and_that_is_said() -> None:
    shell = ("/bin/sh", "-c", "top -b")
    (text,) = said(shell, "command: [serve]")
    assert text == (
        "has an ENTRYPOINT in shell form, which ignores `command`; write it as a list: "
        'ENTRYPOINT ["top", "-b"]'
    )
    assert said(shell, "") == said(("x",), "command: [serve]") == []


def test_an_entrypoint_that_cannot_be_given_the_release_command_is_said() -> None:
    (text,) = said(("/bin/sh", "-c", "top -b"), "release: [migrate]")
    assert text.startswith("has an ENTRYPOINT in shell form, which ignores `release`")
    (text,) = said(("/srv/app", "--x"), "release: [app, migrate]")
    assert "so app is there twice" in text
    assert said(("/srv/app",), "release: {command: [app, migrate], entrypoint: false}") == []
    assert said(("/entry.sh",), "release: [migrate]") == said((), "release: [migrate]") == []
