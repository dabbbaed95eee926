"""`bake` and `liveness`, as they are written."""

from __future__ import annotations

import pytest

from pipeline.config.lint import warnings
from pipeline.config.loading import load, problems
from pipeline.config.models import Rendered
from pipeline.config.workload.bake import SHORTEST
from pipeline.domain.health import DOWN_AFTER

TEXT = "pipelines: {hello: {service: {%s}, environments: {dev: {%s}, live: {%s}}}}"


@pytest.mark.parametrize(
    ("dev", "live", "wanted"),
    [
        ("", "", [(0.0, "revert"), (120.0, "revert")]),
        ("bake: 30s", "bake: 0", [(30.0, "revert"), (0.0, "revert")]),
        ("bake: {on_failure: tell}", "bake: {for: 10m, on_failure: hold}", [(0.0, "tell"), (600.0, "hold")]),
    ],
)
def test_a_release_is_watched_for_two_minutes_in_the_last_environment_unless_it_says_otherwise(
    dev: str, live: str, wanted: list[tuple[float, str]]
) -> None:
    pipeline = load(TEXT % ("", dev, live)).pipelines["hello"]
    found = [pipeline.bake_of(name) for name in ("dev", "live")]
    assert [(one.lasts, one.on_failure) for one in found] == wanted


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("bake: soon", "'soon' is not a duration"),
        ("bake: {for: 1m, on_failure: cry}", "write revert or hold or tell"),
        ("bake: {until: 1m}", "unknown key; allowed here: for, on_failure"),
        ("bake: [1m]", "a list is not a mapping; allowed here: for, on_failure"),
        ("bake: true", "YAML reads true as a boolean"),
    ],
)
def test_what_a_bake_cannot_be_is_refused_in_its_place(written: str, said: str) -> None:
    [problem] = problems(TEXT % ("", "", written))
    assert said in problem.message
    assert problem.path.startswith("pipelines.hello.environments.live.bake")


@pytest.mark.parametrize(
    ("dev", "live", "said"),
    [
        ("", "bake: {for: 0, on_failure: hold}", "live.bake.on_failure: has no effect; for a time of 0"),
        ("bake: {on_failure: tell}", "", "dev.bake.on_failure: has no effect"),
        ("", "bake: 1s", "live.bake: 1s is too short: a release is down after 8s without an answer"),
        ("", "bake: {for: 9999d, on_failure: tell}", "live.bake: 9999d is longer than a day"),
        ("", "promote: {manual: true, expires: 1ms}", "live.promote.expires: 1ms may be over before the run"),
    ],
)
def test_check_warns_of_what_has_no_effect_or_cannot_be_met(dev: str, live: str, said: str) -> None:
    found = [one for one in warnings(load(TEXT % ("", dev, live))) if ".bake" in one or ".promote" in one]
    assert len(found) == 1
    assert said in found[0]


@pytest.mark.parametrize(
    "live",
    [
        "bake: 0",
        "judge: act, bake: {for: 0, on_failure: hold}",
        "bake: 8s",
        "bake: 1d",
        "bake: {on_failure: hold}",
        "promote: {manual: true, expires: 1m}",
    ],
)
def test_check_is_silent_about_what_has_an_effect(live: str) -> None:
    assert [one for one in warnings(load(TEXT % ("", "", live))) if ".bake" in one or ".promote" in one] == []


def test_the_shortest_time_is_that_after_which_a_release_is_down() -> None:
    assert SHORTEST == DOWN_AFTER


@pytest.mark.parametrize(
    ("written", "after"),
    [("liveness: restart", 60.0), ("liveness: {restart: 2m}", 120.0), ("", None), ("liveness: {}", None)],
)
def test_liveness_is_a_word_or_a_time(written: str, after: float | None) -> None:
    service = load(TEXT % (written, "", "")).pipelines["hello"].render("live").service
    assert service.liveness.restart == after


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("liveness: kill", "'kill' is not allowed; write restart"),
        ("liveness: {restart: 1s}", "is too small"),
        ("web: false, liveness: restart", "nothing answers requests"),
    ],
)
def test_what_liveness_cannot_be_is_refused(written: str, said: str) -> None:
    assert any(said in one.message for one in problems(TEXT % (written, "", "")))


@pytest.mark.parametrize(
    ("written", "judge"),
    [("", "observe"), ("judge: act", "act"), ("judge: off", "off"), ('judge: "off"', "off")],
)
def test_what_the_judge_does_is_a_word_and_yaml_leaves_it_one(written: str, judge: str) -> None:
    pipeline = load(TEXT % ("", "", written)).pipelines["hello"]
    assert (pipeline.environment("live").judge, pipeline.environment("dev").judge) == (judge, "observe")


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("judge: revert", "'revert' is not allowed; write observe or act or off"),
        ("judge: no", "YAML reads no as a boolean; write observe or act or off"),
        ("judge: {act: 1}", "write observe or act or off"),
        ("judge: ", "is empty; write observe or act or off"),
    ],
)
def test_what_the_judge_cannot_be_is_refused_in_its_place(written: str, said: str) -> None:
    [problem] = problems(TEXT % ("", "", written))
    assert said in problem.message
    assert problem.path == "pipelines.hello.environments.live.judge"


@pytest.mark.parametrize("written", ["bake: {for: 9m}", "judge: act"])
def test_neither_key_changes_what_a_release_is(written: str) -> None:
    plain, other = (load(TEXT % ("", "", live)).pipelines["hello"].render("live") for live in ("", written))
    assert plain.fingerprint() == other.fingerprint()
    stored = plain.model_dump(mode="json")
    del stored["service"]["liveness"]  # as an earlier version stored it
    assert Rendered.model_validate(stored).fingerprint() == plain.fingerprint()
    assert Rendered.model_validate_json(plain.model_dump_json()) == plain
