"""A Dockerfile is read into instructions as BuildKit reads it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.config.dockerfile import Unclear, directives, instructions, read
from pipeline.config.repository_hints import exposed_port, health_path
from pipeline.config.shell_words import expand


def words(text: str, *, with_heredocs: bool = True) -> list[tuple[int, str, str]]:
    return [(one.line, one.word, one.rest) for one in instructions(text, with_heredocs=with_heredocs)]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", []),
        ("from a\n\n# no\n  run b", [(1, "FROM", "a"), (4, "RUN", "b")]),
        ("RUN a \\\n# between\n\n  b\nRUN c", [(1, "RUN", "a   b"), (5, "RUN", "c")]),
        ("# escape=`\nRUN a `\nb\nRUN c\\\n", [(2, "RUN", "a b"), (4, "RUN", "c\\")]),
        ("\ufeffFROM a\r\nRUN b\r\n", [(1, "FROM", "a"), (2, "RUN", "b")]),
        ("RUN <<E\nFROM x\nE\nRUN b", [(1, "RUN", "<<E"), (4, "RUN", "b")]),
        ("RUN <<E\nFROM x", [(1, "RUN", "<<E"), (2, "FROM", "x")]),
    ],
)
def test_continued_lines_are_joined_and_comments_left_out(
    text: str, found: list[tuple[int, str, str]]
) -> None:
    assert words(text) == found


def test_without_support_for_here_documents_their_lines_are_instructions() -> None:
    assert words("RUN <<E\nFROM x\nE", with_heredocs=False)[1] == (2, "FROM", "x")


def test_flags_are_separate_from_the_rest() -> None:
    [one] = instructions('RUN --mount=type=cache,target=/x --network="none" make it')
    assert (one.flags, one.rest) == (("--mount=type=cache,target=/x", "--network=none"), "make it")


def test_directives_count_only_at_the_top() -> None:
    assert directives("# syntax=a\n# escape=`\nFROM b\n# check=skip") == {"syntax": "a", "escape": "`"}
    assert directives("FROM a\n# syntax=b") == {}


@pytest.mark.parametrize(
    ("text", "value"), [("$A", "1"), ("${A}x", "1x"), ("${B:-2}", "2"), ("${A:+3}", "3"), ("${B:+3}$B", "")]
)
def test_variables_are_expanded(text: str, value: str) -> None:
    assert expand(text, {"A": "1"}) == value


def test_init_is_not_misled_by_a_here_document() -> None:
    text = "FROM a\nRUN <<E\nEXPOSE 1\nHEALTHCHECK CMD curl http://x/no\nE\nEXPOSE ${P:-90}\n"
    assert (exposed_port(text), health_path(text)) == (90, "")


def test_five_versions_of_buildkit_read_what_we_read_or_we_refuse_it() -> None:
    """Recorded from the parsers of BuildKit 0.8.3, 0.9.3, 0.12.5, 0.16.0 and 0.23.2, for generated texts; what one of
    them refuses is left out."""
    recorded = json.loads((Path(__file__).parent / "dockerfile_readings.json").read_text(encoding="utf-8"))
    agreed = 0
    for text, readings in recorded:
        try:
            ours = [[one.line, one.word, list(one.flags)] for one in read(text)]
        except Unclear:
            continue
        assert readings == [ours], text
        agreed += 1
    assert agreed >= len(recorded) // 3
