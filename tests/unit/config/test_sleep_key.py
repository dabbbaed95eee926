"""`sleep_after`, as it is written."""

from __future__ import annotations

import pytest

from pipeline.config.diff import plan
from pipeline.config.loading import load, problems
from pipeline.config.models import Environment

TEXT = "pipelines: {hello: {%s environments: {dev: {%s}, live: {%s}}}}"


@pytest.mark.parametrize(
    ("written", "wanted"), [("", 0.0), ("sleep_after: 0", 0.0), ("sleep_after: 30m", 1800.0)]
)
def test_it_is_read_and_stored_alike(written: str, wanted: float) -> None:
    found = load(TEXT % ("", written, "")).pipelines["hello"].environment("dev")
    assert found.sleep_after == wanted
    assert Environment.model_validate(found.model_dump(mode="json")).sleep_after == wanted


def test_it_is_no_part_of_what_a_release_is() -> None:
    plain, sleeps = (load(TEXT % ("", one, "")).pipelines["hello"] for one in ("", "sleep_after: 30m"))
    assert plain.render("dev") == sleeps.render("dev")


@pytest.mark.parametrize(
    ("more", "dev", "live", "said"),
    [
        ("", "", "sleep_after: 30m", "the last environment is live"),
        ("", "sleep_after: 59s", "", "59s is too short; write 1m or more"),
        ("", "sleep_after: -1s", "", "sleep_after"),
        ("", "sleep_after: soon", "", "sleep_after"),
        (
            "service: {processes: {work: {command: [w]}}},",
            "web: false, sleep_after: 30m",
            "",
            "there is no web process",
        ),
        (
            "registry: r.example/x,",
            "one: true, sleep_after: 30m, engine: kubernetes",
            "",
            "with `one`",
        ),
        ("registry: r.example/x,", "sleep_after: 30m, engine: {docker: ssh://u@h}", "", "this machine"),
    ],
)
def test_where_nothing_can_sleep_it_is_refused_in_its_place(
    more: str, dev: str, live: str, said: str
) -> None:
    found = problems(TEXT % (more, dev, live))
    assert [one for one in found if "sleep_after" in one.path and said in str(one)], found


def test_live_may_say_that_it_never_sleeps() -> None:
    assert problems(TEXT % ("", "", "sleep_after: 0")) == ()


def test_a_plan_says_from_when_it_holds() -> None:
    old, new = (load(TEXT % ("", one, "")) for one in ("", "sleep_after: 30m"))
    assert plan(old, new)["hello"]["dev"] == ("sleep_after: never → 30m, at once",)
    assert plan(new, old)["hello"]["dev"] == ("sleep_after: 30m → never, at once",)
