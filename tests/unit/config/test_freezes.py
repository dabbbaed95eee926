"""Freeze windows: what may be written, when they are open and shut, and over changes of clock."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from pipeline.config import diff, lint, loading, ownership
from pipeline.config.promotion.freezes import Window
from pipeline.domain.promotion import freezing
from pipeline.domain.promotion.freezing import FREEZE, THAW, FreezeAct
from pipeline.errors import ConfigError

HEAD = "pipelines: {hello: {environments: {dev: , live: }}}\n"
DUBLIN = "Europe/Dublin"


def file(*windows: str) -> str:
    return HEAD + "freeze:\n" + "".join(f"  - {{{one}}}\n" for one in windows)


def window(text: str) -> Window:
    return loading.load(file(text)).freeze[0]


def local(text: str, zone: str = "UTC") -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()


def until(text: str, at: str, zone: str = "UTC") -> str:
    """When it opens again, in its zone; "" if it is open."""
    found = freezing.frozen([window(text)], (), "hello", "live", local(at, zone))
    return datetime.fromtimestamp(found.until, ZoneInfo(zone)).isoformat()[:16] if found else ""


@pytest.mark.parametrize(
    ("text", "at", "opens"),
    [
        ("env: live, days: fri-sun, from: 16:00, to: 08:00", "2026-11-27 15:59", ""),
        ("env: live, days: fri-sun, from: 16:00, to: 08:00", "2026-11-27 16:00", "2026-11-30T08:00"),
        ("env: live, days: fri-sun, from: 16:00, to: 08:00", "2026-11-30 07:59", "2026-11-30T08:00"),
        ("env: live, days: fri-sun, from: 16:00, to: 08:00", "2026-11-30 08:00", ""),
        ("days: fri-sun, from: 08:00, to: 16:00", "2026-11-29 15:59", "2026-11-29T16:00"),
        ("days: fri-sun, from: 08:00, to: 16:00", "2026-11-29 16:00", ""),
        ("days: sat-mon, from: 10:00, to: 11:00", "2026-11-30 10:59", "2026-11-30T11:00"),  # over the end
        ("days: [mon, wed], from: 22:00, to: 06:00", "2026-11-30 23:00", "2026-12-01T06:00"),
        ("days: [mon, wed], from: 22:00, to: 06:00", "2026-12-01 23:00", ""),
        ("days: wed, from: 09:00, to: 10:00", "2026-12-02 09:30", "2026-12-02T10:00"),
        (
            "days: [mon, tue, wed], from: 00:00, to: 00:00",
            "2026-11-30 12:00",
            "2026-12-03T00:00",
        ),  # adjoining
        ("from: 2026-12-23 16:00, to: 2027-01-04 08:00", "2026-12-31 00:00", "2027-01-04T08:00"),
        ("from: 2026-12-23T16:00, to: 2027-01-04T08:00", "2027-01-04 08:00", ""),
        ("env: [dev, qa], days: mon, from: 00:00, to: 00:00", "2026-11-30 12:00", ""),
    ],
)
def test_a_window_is_shut_from_its_begin_up_to_its_end(text: str, at: str, opens: str) -> None:
    assert until(text, at) == opens


@pytest.mark.parametrize(
    ("text", "at", "opens"),
    [
        # 29 March 2026, 01:00 GMT: 01:00 to 02:00 is skipped. 25 October, 02:00 IST: 01:00 to 02:00 comes twice.
        ("days: sun, from: 01:30, to: 05:00", "2026-03-29T00:59+00:00", ""),
        ("days: sun, from: 01:30, to: 05:00", "2026-03-29T01:00+00:00", "2026-03-29T05:00"),
        ("days: sat, from: 20:00, to: 01:30", "2026-03-29T00:59+00:00", "2026-03-29T02:00"),
        ("days: sat, from: 20:00, to: 01:30", "2026-03-29T01:00+00:00", ""),
        ("days: sat, from: 20:00, to: 01:30", "2026-10-25T00:29+00:00", "2026-10-25T01:30"),
        ("days: sat, from: 20:00, to: 01:30", "2026-10-25T00:30+00:00", ""),
        ("days: sun, from: 01:30, to: 05:00", "2026-10-25T00:30+00:00", "2026-10-25T05:00"),
        ("days: sun, from: 01:10, to: 01:50", "2026-03-29T01:00+00:00", ""),  # all of it is skipped
        ("days: fri-sun, from: 16:00, to: 08:00", "2026-03-30T06:59+00:00", "2026-03-30T08:00"),
        ("days: fri-sun, from: 16:00, to: 08:00", "2026-03-30T07:00+00:00", ""),
    ],
)
def test_a_time_that_is_skipped_or_comes_twice(text: str, at: str, opens: str) -> None:
    found = freezing.frozen(
        [window(f"{text}, zone: {DUBLIN}")], (), "hello", "live", datetime.fromisoformat(at).timestamp()
    )
    shown = datetime.fromtimestamp(found.until, ZoneInfo(DUBLIN)).isoformat()[:16] if found else ""
    assert shown == opens


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("days: friday, from: 16:00, to: 08:00", "'friday' is not a day of the week or a range"),
        ("days: fri-sun-mon, from: 16:00, to: 08:00", "is not a day of the week or a range"),
        ("days: fri, from: 25:00, to: 08:00", "'25:00' is not a time"),
        (
            "days: fri, from: 16:00, to: 24:00",
            "'24:00' is not a time; write 00:00, as `to` the end of the day",
        ),
        ("from: 2026-12-23 16:00, to: 2026-12-23 24:00", "write 00:00 of the next day"),
        (
            f"days: fri, from: 16:00, to: 08:00, reason: {'x' * 501}",
            "is longer than 500 characters; write text",
        ),
        ("days: fri, from: 2026-12-23 16:00, to: 08:00", "with `days` write a time such as 16:00"),
        ("from: 16:00, to: 08:00", "write `days` as well, or a date and a time"),
        ("from: 2026-12-23 16:00, to: 2026-12-23 16:00", "is not later than `from`"),
        ("from: 2026-02-30 16:00, to: 2026-12-23 16:00", "is not a time"),
        ("days: fri, from: 16:00, to: 08:00, zone: Dublin", "is not a time zone"),
        ("days: fri, to: 08:00", "`from` is missing"),
    ],
)
def test_a_window_that_is_wrong_is_explained(text: str, problem: str) -> None:
    with pytest.raises(ConfigError) as error:
        loading.load(file(text))
    assert problem in str(error.value)


def test_a_pipeline_may_have_windows_of_its_own_or_none() -> None:
    text = "freeze: [{days: mon, from: 00:00, to: 00:00}]\npipelines:\n  a: {environments: {live: }}\n"
    text += "  b: {freeze: [], environments: {live: }}\n"
    config = loading.load(text)
    assert [len(config.freeze_of(name)) for name in ("a", "b", "gone")] == [1, 0, 1]


def test_check_warns_of_a_window_that_never_opens_and_of_an_environment_that_does_not_exist() -> None:
    config = loading.load(
        file(
            "env: live, days: mon-sun, from: 08:00, to: 08:00",
            "env: [prod], days: mon, from: 08:00, to: 09:00",
            "env: dev, days: mon-sun, from: 08:00, to: 07:00",
        )
    )
    found = [text for text in lint.warnings(config) if text.startswith("freeze")]
    assert found == [
        "freeze[1].env: no pipeline that this window is for has an environment prod; they have dev, live",
        "freeze: live is never open; runs wait before it until `pushlive thaw --reason TEXT`",
    ]
    assert freezing.frozen(config.freeze, (), "hello", "live", local("2026-12-01")).until == 0.0  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "env: [], days: mon, from: 08:00, to: 09:00",
            "env: is empty, so the window is for every environment",
        ),
        ("env: [dev, dev], days: mon, from: 08:00, to: 09:00", "env: dev is there twice"),
        ("days: [fri, fri], from: 08:00, to: 09:00", "days: fri has no effect beside fri"),
        ("days: [sat, fri-sun], from: 16:00, to: 08:00", "days: sat has no effect beside fri-sun"),
        ("days: [fri-mon, sun-mon], from: 16:00, to: 08:00", "days: sun-mon has no effect beside fri-mon"),
        ("from: 2021-01-01 08:00, to: 2021-01-08 08:00", "to: 2021-01-08 08:00 UTC is over"),
        ("days: [fri, mon, sun-fri], from: 08:00, to: 09:00", "fri has no effect beside sun-fri"),
    ],
)
def test_check_warns_of_what_has_no_effect_in_a_window(text: str, said: str) -> None:
    found = [one for one in lint.warnings(loading.load(file(text)), NOW) if one.startswith("freeze")]
    assert any(said in one for one in found)
    assert all(one.startswith("freeze[0].") for one in found)


def test_check_is_silent_about_windows_that_each_have_an_effect() -> None:
    config = loading.load(
        file(
            "days: [fri, sat-sun, sun-tue], from: 08:00, to: 09:00",
            "env: [live, dev], days: mon, from: 08:00, to: 09:00",
            "from: 2026-11-25 08:00, to: 2026-11-25 12:01",
        )
    )
    assert [one for one in lint.warnings(config, NOW) if one.startswith("freeze")] == []


def test_check_warns_of_a_window_that_is_there_twice() -> None:
    config = loading.load(file(*["days: mon, from: 08:00, to: 09:00"] * 2))
    found = [one for one in lint.warnings(config, NOW) if one.startswith("freeze")]
    assert found == ["freeze[1]: the same as freeze[0]; remove one of them"]


def test_plan_names_windows_that_come_and_go() -> None:
    old = loading.load(file("days: mon, from: 08:00, to: 09:00"))
    new = loading.load(file("env: live, days: tue, from: 08:00, to: 09:00, reason: stock-taking"))
    assert diff.plan(old, new)["hello"]["freeze"] == (
        "+ live: tue 08:00 to 09:00 UTC (stock-taking)",
        "− all environments: mon 08:00 to 09:00 UTC",
    )
    assert ownership.maintainers(old, new, "hello") == ("pipelines.hello.freeze",)


def test_a_window_changes_no_fingerprint() -> None:
    plain, frozen = loading.load(HEAD), loading.load(file("days: mon, from: 08:00, to: 09:00"))
    one, two = (config.pipelines["hello"].render("live").fingerprint() for config in (plain, frozen))
    assert one == two


# ── by hand ──────────────────────────────────────────────────────────────────

NOW = local("2026-11-25 12:00")


def act(
    what: str, pipeline: str = "", environment: str = "", until: float = 0.0, at: float = NOW
) -> FreezeAct:
    return FreezeAct(what, pipeline, environment, "why", "ada", at, until)


@pytest.mark.parametrize(
    ("acts", "frozen"),
    [
        ([act(FREEZE)], True),
        ([act(FREEZE, "hello")], True),
        ([act(FREEZE, "shop")], False),
        ([act(FREEZE, "hello", "dev")], False),
        ([act(FREEZE), act(THAW, "hello")], False),
        ([act(FREEZE), act(THAW, "shop")], True),
        ([act(THAW), act(FREEZE)], True),
        ([act(FREEZE, until=NOW)], False),
        ([act(FREEZE), act(FREEZE, "hello", "live", NOW - 1)], True),  # the wider one lasts
        ([act(FREEZE, at=NOW + 99), act(THAW, at=NOW - 99)], False),  # the clock was set back between them
    ],
)
def test_the_newest_act_about_an_environment_decides(acts: list[FreezeAct], frozen: bool) -> None:
    assert (freezing.frozen((), acts, "hello", "live", NOW) is not None) is frozen
    kept: tuple[FreezeAct, ...] = ()
    for one in acts:
        kept = freezing.with_act(kept, one)
    assert (freezing.frozen((), kept, "hello", "live", NOW) is not None) is frozen


def test_acts_without_effect_are_not_kept() -> None:
    acts: tuple[FreezeAct, ...] = ()
    for _ in range(50):
        for one in (act(FREEZE, "hello"), act(THAW, "hello", "live"), act(FREEZE), act(THAW, "shop")):
            acts = freezing.with_act(acts, one)
    assert len(acts) <= 4
    assert freezing.with_act(acts, act(THAW)) == (act(THAW),)


def test_a_freeze_by_hand_that_ends_in_a_window_lasts_until_its_end() -> None:
    weekend = window("days: sat-sun, from: 00:00, to: 00:00")
    found = freezing.frozen([weekend], [act(FREEZE, until=local("2026-11-28 12:00"))], "hello", "live", NOW)
    assert found
    assert (found.until, found.by) == (local("2026-11-30"), "ada")
