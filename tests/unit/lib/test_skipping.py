"""Which pushes ask not to be deployed."""

from __future__ import annotations

import pytest

from pipeline.lib import skipping
from webhooks.git import hook, pre_receive

NAMES = {"GIT_PUSH_OPTION_COUNT": "2", "GIT_PUSH_OPTION_0": "x\ry"}


@pytest.mark.parametrize(
    "message", ["[skip ci] a", "a\n\nb [CI SKIP]", "x [ci-skip]", "[no ci]", "[skip_ci]x"]
)
def test_marks_in_the_whole_message_count(message):
    assert skipping.by_message(message).startswith("its commit message says [")


@pytest.mark.parametrize("message", ["", "skip ci", "[skip]", "[skip cinema]", "do not [ skip ci ]"])
def test_other_words_do_not(message):
    assert skipping.by_message(message) == ""


@pytest.mark.parametrize("program", [hook, pre_receive])
def test_the_hooks_know_the_same_options_and_pass_no_others_on(program):
    assert program.SKIP == skipping.OPTIONS
    for option in skipping.OPTIONS:
        assert program.skip_option({**NAMES, "GIT_PUSH_OPTION_1": option}) == option
        assert skipping.by_option(option) == f"it was pushed with -o {option}"
    assert program.skip_option({**NAMES, "GIT_PUSH_OPTION_1": "ci.skip\r\nX: y"}) == ""
    assert program.skip_option({"GIT_PUSH_OPTION_COUNT": "many"}) == ""
    assert skipping.by_option("x") == ""
