"""The `promote` key: one word, or how many people and which."""

from __future__ import annotations

import pytest

from pipeline.config import diff, loading
from pipeline.config.promotion.approvals import Promote
from pipeline.domain.promotion import approvals
from pipeline.errors import ConfigError
from pipeline.lib import codec


def file(promote: str) -> str:
    return f"pipelines: {{hello: {{environments: {{dev: , live: {{promote: {promote}}}}}}}}}\n"


def read(promote: str) -> Promote:
    return loading.load(file(promote)).pipelines["hello"].environment("live").promote


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("auto", "auto"),
        ("manual", "manual"),
        ("{manual: true}", "manual"),
        ("{manual: true, approvals: 2, not_by_pusher: true, expires: 24h}",
         "manual, 2 approvals, not by the pusher, within 1d"),
    ],
)  # fmt: skip
def test_it_is_a_word_or_keys(text: str, shown: str) -> None:
    found = read(text)
    assert str(found) == shown
    assert codec.load(Promote, codec.dump(found)) == found


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("by-hand", "'by-hand' is not allowed; write auto, manual, or {manual: true"),
        ("{approvals: 2}", "need `manual: true`"),
        ("{manual: true, approvals: 0}", "is too small; write a whole number from 1 to 10"),
        ("[ann, ben]", "promote"),
    ],
)
def test_what_is_wrong_is_explained(text: str, problem: str) -> None:
    with pytest.raises(ConfigError) as error:
        loading.load(file(text))
    assert problem in str(error.value)


def test_plan_shows_it() -> None:
    found = diff.plan(loading.load(file("manual")), loading.load(file("{manual: true, approvals: 2}")))
    assert found["hello"]["live"] == ("promote: manual → manual, 2 approvals",)


def test_the_strictest_of_two_files_holds() -> None:
    one = loading.load(file("{manual: true, approvals: 2, expires: 1h}")).pipelines["hello"]
    two = loading.load(file("{manual: true, not_by_pusher: true, expires: 2h}")).pipelines["hello"]
    auto = loading.load(file("auto")).pipelines["hello"]
    assert approvals.rule([one, two, auto, None], "live") == approvals.Rule(2, True, 3600.0)
    assert approvals.rule([auto, None], "live") is None
