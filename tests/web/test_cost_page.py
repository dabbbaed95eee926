"""The page of a month's cost."""

from __future__ import annotations

from typing import Any

import pytest

from tests.web.test_pages import log_in
from webhooks.pages.costs import money, rows


def line(pipeline: str, environment: str, purpose: str, cost: float, projected: float) -> dict[str, Any]:
    return {"pipeline": pipeline, "environment": environment, "purpose": purpose, "process": "",
            "cost": cost, "projected": projected}  # fmt: skip


LINES = [
    line("", "", "idle", 3.0, 4.0),
    line("shop", "live", "serving", 1.0, 2.0),
    line("shop", "live", "serving", 0.5, 1.0),
    line("shop", "live", "warm", 0.002, 0.003),
]
MONTH = {
    "month": "2026-11", "zone": "UTC", "since": 0.0, "until": 2e9, "now": 1.8e9, "began": 1.7e9, "currency": "EUR",
    "machines": [{"name": "here"}], "lines": LINES, "total": 4.5, "projected": 7.0, "monthly": 12.5,
    "missing": ["kubernetes:<b>prod</b> has no price in `costs.machines`"],
    "caps": [{"level": "over", "text": "of the cap of <1>: 9 %"}, {"level": "", "text": "of the cap of 60: 8 %"}],
    "replicas": [{"text": "shop/live has 3 replicas: 1 <serves>."}, {"text": ""}],
}  # fmt: skip
MONTHS = {"months": [{"month": "2026-10", "total": 9.0}, {"month": "2026-11", "total": 4.5}]}


@pytest.fixture
def page(client, service):
    def asked(query: str = "", **changes: Any) -> str:
        service.cost = lambda *_, **__: {**MONTH, **changes}
        service.cost_history = lambda *_, **__: MONTHS
        return client.get(f"/cost{query}").text

    log_in(client, "viewer")
    return asked


def test_the_month_is_there_with_its_pipelines_and_those_before_it(page) -> None:
    text = page()
    for part in ("4.50 EUR", "7.00 EUR", "12.50 EUR", "live · serving", "&lt;0.01", "No pipeline", "2026-10"):
        assert part in text, part
    assert "Kubernetes:&lt;b&gt;prod&lt;/b&gt; has no price in <code>costs.machines</code>." in text
    assert text.count("<p>shop/live has 3 replicas: 1 &lt;serves&gt;.</p>") == 1
    assert "What replicas are for" not in page(replicas=[])
    assert '<p class="alert warn">Of the cap of &lt;1&gt;: 9 %.</p>' in text
    assert '<p class="note">Of the cap of 60: 8 %.</p>' in text
    assert 'href="/cost?month=2026-10"' in text
    assert 'href="/cost?month=2026-10&amp;zone=Asia/Tokyo"' in page("?zone=Asia/Tokyo")


def test_a_month_that_is_over_has_nothing_to_come(page) -> None:
    assert "By the end of the month" not in page(now=3e9)
    assert "Nothing is measured yet." in page(began=None, lines=[])


def test_without_prices_it_says_how_to_give_one(page) -> None:
    assert "No machine has a price" in page(machines=[])


def test_rows_are_by_pipeline_and_then_what_belongs_to_none() -> None:
    found = rows(LINES)
    assert [(one.name, one.whole) for one in found] == [
        ("shop", True), ("live · serving", False), ("live · warm", False), ("No pipeline", True), ("idle", False),
    ]  # fmt: skip
    assert [round(one.cost, 3) for one in found] == [1.502, 1.5, 0.002, 3.0, 3.0]
    assert max(one.most for one in found) == 100.0
    assert all(0 <= one.part <= one.most <= 100 for one in found)
    assert rows([]) == []
    assert rows([line("a", "live", "serving", 0.0, 0.0)])[0].most == 0.0
    assert [money(one) for one in (0.0, 0.001, 0.005, 1.255)] == ["0.00", "<0.01", "0.01", "1.25"]
