"""What an image declares that does not go together with the configuration."""

from __future__ import annotations

import pytest

from pipeline.config.image_hints import Declared, declared, reads, unwise
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


@pytest.mark.parametrize(
    ("dockerfile", "filled"),
    [
        ("FROM a\nCOPY www /www\n", ("/www",)),
        ('FROM a\nWORKDIR /app\nCOPY a b ./\nWORKDIR sub\nADD ["x y", "z"]\n', ("/app", "/app/sub/z")),
        ("FROM a AS one\nWORKDIR /srv\nCOPY . .\nFROM one\nCOPY --chown=1 x y\n", ("/srv", "/srv/y")),
        ("FROM a AS one\nCOPY . /x\nFROM b\nCOPY --from=one /x /y\n", ("/y",)),
        ("FROM a\nCOPY . $HOME/x\n", ()),
    ],
)
def test_where_copy_puts_files_is_read_as_far_as_it_is_said(dockerfile: str, filled: tuple[str, ...]) -> None:
    assert declared(dockerfile).filled == filled


@pytest.mark.parametrize(
    ("path", "says"),
    [("/www", True), ("/usr/bin", True), ("/www/static", False), ("/data", False), ("/ww", False)],
)
def test_a_volume_over_files_of_the_image_is_said(path: str, says: bool) -> None:
    text = f"pipelines: {{a: {{service: {{volumes: {{data: {path}}}}}, environments: {{live: }}}}}}"
    found = list(unwise(Declared(filled=("/www", "/wwwdata/x")), load(text).pipelines["a"]))
    assert bool(found) == says
    if says:
        assert found[0].startswith(
            f"puts files into {path}, and the volume data is laid over it: Docker fills"
        )


@pytest.mark.parametrize(
    ("dockerfile", "path", "read"),
    [
        ("FROM a\nCOPY src package.json ./\n", "vendor/other", False),
        ("FROM a\nCOPY src ./\n", "src/vendor", True),
        ("FROM a\nCOPY srcs ./\n", "src/vendor", False),
        ("FROM a\nCOPY vendor/other/lib ./\n", "vendor/other", True),
        ("FROM a\nCOPY . .\n", "vendor", True),
        ('FROM a\nADD ["./src", "/x"]\n', "src/y", True),
        ("FROM a\nCOPY --chown=1 src/*.py ./\n", "src/vendor", True),
        ("FROM a\nCOPY *.py ./\n", "vendor", True),
        ("FROM a\nCOPY $DIR ./\n", "vendor", True),
        ("FROM a AS b\nFROM a\nCOPY --from=b . .\n", "vendor", False),
        ("FROM a\nADD https://example.com/x /x\n", "vendor", False),
        ("FROM a\nRUN --mount=type=bind,target=/src make\n", "vendor", True),
        ("FROM a\nRUN --mount=source=src,target=/src make\n", "vendor", False),
        ("FROM a\nRUN --mount=from=b,target=/src --mount=type=cache,target=/c make\n", "vendor", False),
        ("FROM a\nCOPY <<EOF /x\nhello\nEOF\n", "vendor", False),
    ],
)
def test_what_a_build_reads_of_its_context(dockerfile: str, path: str, read: bool) -> None:
    assert reads(dockerfile)(path) == read
