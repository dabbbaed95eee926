"""A month's report as a page: by itself, with nothing from outside as markup."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from pipeline.domain.measuring.monthly.calendar import month
from pipeline.domain.run import Check, Failure
from tests.support.months import DAY, NOVEMBER, answer, busy, failed, revert, went
from webhooks.pages import pictures

VIEWER = {"Authorization": "Bearer viewer-token"}
EVIL = "<script>alert(1)</script>\x1b[31m \u202e'\"&</svg><img src=x onerror=1>"
VOID = {"meta", "rect", "circle", "line"}


class Markup(HTMLParser):
    """The elements of a page, each of which is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.names: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in {"meta", "br"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def page(client, service, runs, wanted=NOVEMBER, now=NOVEMBER.until + DAY) -> str:
    service.report = lambda *_, **__: answer(runs, wanted, now)
    found = client.get("/api/report.html?month=2026-11", headers=VIEWER)
    assert found.status_code == 200
    assert found.headers["Content-Disposition"] == "attachment"
    return found.text


def test_a_whole_month_needs_nothing_else(client, service):
    text = page(client, service, busy())
    found = Markup(text)
    assert found.open == []
    assert not {"script", "link", "img", "iframe", "object", "form", "a"} & set(found.names)
    assert not [one for one in found.attributes if one[0] in ("src", "href", "onload", "xlink:href")]
    assert not re.search(r"https?://|url\(|@import", text)
    assert found.names.count("svg") == 4
    for heading in (
        "What to do about it", "What was deployed", "How fast", "Each stage and step", "What failed, and why",
        "What was taken back", "Longest waits for people", "Builds that were not cached", "Every release",
    ):  # fmt: skip
        assert f">{heading}" in text
    assert "All times are in Europe/Berlin" in text
    assert "prefers-color-scheme: dark" in text


def test_nothing_from_outside_becomes_markup(client, service):
    bad = replace(went(1, NOVEMBER.since + DAY), message=EVIL, pusher=EVIL)
    bad = replace(
        bad, checks={"qa": (Check(EVIL, True, EVIL, 1.0, attempts=3),)}, human=500.0, promoted=(EVIL,)
    )
    broken = replace(failed(2, NOVEMBER.since + 2 * DAY), failure=Failure("qa", "smoke", "application", EVIL))
    back = replace(revert(3, NOVEMBER.since + 3 * DAY, 1), reason=EVIL, by=EVIL)
    odd = replace(went(4, NOVEMBER.since + 4 * DAY), stages=("build", EVIL, "live"))
    text = page(client, service, [bad, broken, back, odd])
    assert not {"script", "img"} & set(Markup(text).names)
    assert "&lt;script&gt;alert(1)" in text
    assert "\x1b" not in text


@pytest.mark.parametrize(
    ("runs", "wanted", "now", "says"),
    [
        ([], "2026-11", NOVEMBER.until, "Nothing was deployed: hello has had no run yet."),
        (busy(), "2026-03", NOVEMBER.until, "Nothing was deployed: the first run of hello was on 2026-10-01"),
        (busy(), "2027-03", NOVEMBER.until, "This month has not begun."),
        (busy(), "2026-11", NOVEMBER.since + 9 * DAY, "The month is under way: figures up to 2026-11-10 00:00."),
        ([went(1, NOVEMBER.since + DAY)], "2026-11", NOVEMBER.until, "In the month before no run ended"),
    ],
)  # fmt: skip
def test_odd_months_say_what_they_are(client, service, runs, wanted, now, says):
    text = page(client, service, runs, month(wanted, "Europe/Berlin"), now)
    assert says in re.sub(r"\s+", " ", text)
    assert Markup(text).open == []


def test_the_data_are_the_same_and_both_need_a_token(client):
    assert client.get("/api/report?month=2026-11", headers=VIEWER).json["month"] == "2026-11"
    for path in ("/api/report", "/api/report.html"):
        assert client.get(path).status_code == 401
        answered = client.get(f"{path}?month=13", headers=VIEWER)
        assert (answered.status_code, "is not a month" in answered.text) == (409, True)


# ── pictures ─────────────────────────────────────────────────────────────────


def test_every_point_is_inside_of_its_picture():
    (one,) = pictures.of(answer(busy()))["pipelines"]
    assert all(46 <= point["x"] <= 720 and 0 <= point["y"] <= 180 for point in one["series"]["points"])
    assert sum(each["count"] for each in one["series"]["bins"]) == len(one["went"])
    assert len(one["series"]["bins"]) <= pictures.BINS
    assert all(0 <= bar["median"] <= bar["most"] <= 100 for bar in one["bars"])
    grid = one["grid"]
    assert all(cell["x"] + grid["cell"] <= grid["width"] for cell in grid["cells"])


@pytest.mark.parametrize("start", [0.0, 0.001, 1.0, 150.0, 4000.0, 400_000.0])
def test_runs_of_any_length_can_be_drawn(start):
    (one,) = pictures.of(answer([went(1, NOVEMBER.since + DAY, build=start, start=start)]))["pipelines"]
    series = one["series"]
    assert 1 <= len(series["ticks"]) <= 7
    assert 1 <= len(series["bins"]) <= pictures.BINS
    assert all(0 <= each["y"] <= 180 for each in series["ticks"])
    drawn = series["budget"] is not None
    assert drawn == (pictures.FAR * one["went"][0]["whole"] >= 600.0)


def test_the_change_to_the_month_before():
    assert pictures._change(2.0, 1.0) == "+100 %"
    assert pictures._change(1.0, 2.0) == "-50 %"
    assert pictures._change(1.0, 1.0) == "the same"
    assert (pictures._change(None, 1.0), pictures._change(1.0, None), pictures._change(1.0, 0.0)) == (
        "",
        "",
        "",
    )
