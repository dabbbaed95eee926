"""`bake` and `liveness`, as they are written."""

from __future__ import annotations

import pytest

from pipeline.config.loading import load, problems
from pipeline.config.models import Rendered

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


def test_neither_key_changes_what_a_release_is() -> None:
    plain, other = (
        load(TEXT % ("", "", live)).pipelines["hello"].render("live") for live in ("", "bake: {for: 9m}")
    )
    assert plain.fingerprint() == other.fingerprint()
    stored = plain.model_dump(mode="json")
    del stored["service"]["liveness"]  # as an earlier version stored it
    assert Rendered.model_validate(stored).fingerprint() == plain.fingerprint()
    assert Rendered.model_validate_json(plain.model_dump_json()) == plain
