"""Advice works as it is typed: every command in our messages is one that the command line accepts."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from pipeline.cli.main import COMMANDS, _parser
from pipeline.errors import ConfigError, EngineFailed, RequestError
from tests.support.advice import HOLE, NO_COMMANDS, advised, texts

# They act on one pipeline or run; without its name they only work while there is a single pipeline.
NAMED = {
    "deploy", "promote", "revert", "retry", "cancel", "show", "follow", "hold", "resume", "unquarantine", "logs",
    "withdraw",
}  # fmt: skip
WORDS = {"pipeline", "run", "words", "name"}  # the positional arguments that name it
# The program's name, a help page, and the first word of what a cipher binds.
NOT_TYPED = ("pushlive", "pushlive --help", f"pushlive {HOLE}", "pushlive secret")


def filled(command: str) -> str:
    """The command with something for every part that is only known later."""
    command = command.replace(f"secret {HOLE}", "secret set")
    number = re.sub(rf"(?<=[r#]){HOLE}", "42", command)
    return number.replace(HOLE, "word")


def parsed(command: str) -> dict[str, object]:
    """Raises SystemExit if the command line refuses it."""
    words = shlex.split(command)
    assert words[0] == "pushlive"
    chosen = next((word for word in words[1:] if not word.startswith("-")), "")
    return vars(_parser(chosen).parse_args(words[1:]))


def test_the_search_finds_commands_in_sums_f_strings_and_templates() -> None:
    found = dict.fromkeys(command for _, command in advised())
    assert f"pushlive retry '{HOLE}'" in found
    assert f"pushlive revert {HOLE} --env {HOLE} --to r{HOLE}" in found
    assert "pushlive token create NAME" in found
    assert len(found) > 60


def test_every_command_that_we_advise_is_one_that_can_be_typed(capsys: pytest.CaptureFixture[str]) -> None:
    wrong = []
    for where, command in advised():
        if command in NOT_TYPED:
            continue
        try:
            parsed(filled(command))
        except (SystemExit, ValueError):
            wrong.append(f"{where}: {filled(command)}: {capsys.readouterr().err.splitlines()[:1]}")
    assert wrong == []


def test_every_command_that_acts_on_a_pipeline_names_it() -> None:
    wrong = []
    for where, command in advised():
        words = shlex.split(filled(command))
        if len(words) > 1 and words[1] in NAMED:
            given = {key: value for key, value in parsed(filled(command)).items() if key in WORDS}
            if not any(given.values()):
                wrong.append(f"{where}: {command}")
    assert wrong == []


def test_what_an_application_wrote_is_asked_for_with_its_environment() -> None:
    wrong = [
        f"{where}: {command}" for where, command in advised() if "--app" in command and "--env" not in command
    ]
    assert wrong == []


def test_commands_in_sentences_are_in_backquotes() -> None:
    """A command that is a text of its own, for a program or behind an arrow, is not."""
    typed = re.compile(rf"(?<![`\w./'-])pushlive ({'|'.join(COMMANDS)})\b(?! (?:is|was|has|runs)\b)")
    wrong = [
        f"{text.where}: {text.text.replace(HOLE, '{}')[:100]}"
        for text in texts()
        if str(text.file.relative_to(text.root)) not in NO_COMMANDS
        and (found := typed.search(re.sub("`[^`]*`", "", text.text)))
        and found.start() > 0
    ]
    assert wrong == []


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("it was slow..", "it was slow."),
        ("reason: too slow.. Push a fix", "reason: too slow. Push a fix"),
        ("a/b is held: broken. .", "a/b is held: broken."),
        ("wait...", "wait..."),
        ("wait…", "wait…"),
        ("the step 'COPY .. /app'", "the step 'COPY .. /app'"),
        ("See ../docs.", "See ../docs."),
    ],
)
def test_no_message_ends_in_two_full_stops(given: str, shown: str) -> None:
    for kind in (ConfigError, EngineFailed, RequestError):
        error = kind(given, advice=given)
        assert (error.message, error.advice) == (shown, shown)


def test_no_text_of_ours_has_two_full_stops() -> None:
    two = re.compile(r"(?<=[\w)`'\"])\.[ ]?\.(?=\s|$)")
    wrong = [f"{text.where}: {text.text[:100]}" for text in texts() if two.search(text.text)]
    assert wrong == []


def test_documents_name_commands_that_can_be_typed(capsys: pytest.CaptureFixture[str]) -> None:
    wrong = []
    for file, line, command in documented():
        try:
            parsed(command)
        except (SystemExit, ValueError):
            wrong.append(f"{file}:{line}: {command}: {capsys.readouterr().err.splitlines()[:1]}")
    assert wrong == []


def documented() -> list[tuple[str, int, str]]:
    """Every command with arguments in README.md and docs/: `pushlive secret set` alone may be its name."""
    from tests.support.paths import ROOT

    found = []
    for file in [ROOT / "README.md", *sorted(Path(ROOT / "docs").rglob("*.md"))]:
        for number, line in enumerate(file.read_text().splitlines(), 1):
            if not line.startswith("| B6"):
                found += [
                    (file.name, number, command)
                    for command in re.findall(r"`(pushlive [a-z]+ [^`|]*)`", line)
                    if not any(mark in command for mark in "[…<|")
                    and not re.fullmatch("pushlive [a-z]+( [a-z]+)?", command)
                ]
    return found
