"""Which pushes ask not to be deployed."""

from __future__ import annotations

import pytest

from pipeline.lib import skipping
from webhooks.git import pre_receive

NAMES = {"GIT_PUSH_OPTION_COUNT": "2", "GIT_PUSH_OPTION_0": "x\ry"}


@pytest.mark.parametrize(
    "message", ["[skip ci] a", "a\n\nb [CI SKIP]", "x [ci-skip]", "[no ci]", "[skip_ci]x"]
)
def test_marks_in_the_whole_message_count(message):
    assert skipping.by_message(message).startswith("its commit message says [")


@pytest.mark.parametrize("message", ["", "skip ci", "[skip]", "[skip cinema]", "do not [ skip ci ]"])
def test_other_words_do_not(message):
    assert skipping.by_message(message) == ""


def test_the_hook_knows_the_same_options_and_notes_no_others():
    assert pre_receive.SKIP == skipping.OPTIONS
    for option in skipping.OPTIONS:
        assert pre_receive.skip_option({**NAMES, "GIT_PUSH_OPTION_1": option}) == option
        assert skipping.by_option(option) == f"it was pushed with -o {option}"
    assert pre_receive.skip_option({**NAMES, "GIT_PUSH_OPTION_1": "ci.skip\r\nX: y"}) == ""
    assert pre_receive.skip_option({"GIT_PUSH_OPTION_COUNT": "many"}) == ""
    assert skipping.by_option("x") == ""
