"""A month in the columns of FOCUS 1.2: parsed back, complete, with its rules on nulls, and the same sums."""

from __future__ import annotations

import csv
import io
import json
import re

import pytest

from pipeline.config.cost.prices import Costs, Machine
from pipeline.domain.cost import focus
from pipeline.domain.cost.ledger import Account, Amount, Hour
from pipeline.domain.cost.month import Spent, spent
from pipeline.domain.cost.taken import Size
from pipeline.domain.measuring.monthly.calendar import Month, month

# From the "Content constraints" of each column of the specification.
MANDATORY = {
    "BilledCost", "BillingAccountId", "BillingAccountName", "BillingCurrency", "BillingPeriodEnd",
    "BillingPeriodStart", "ChargeCategory", "ChargeClass", "ChargeDescription", "ChargePeriodEnd",
    "ChargePeriodStart", "ContractedCost", "EffectiveCost", "InvoiceIssuerName", "ListCost", "PricingQuantity",
    "PricingUnit", "ProviderName", "PublisherName", "ServiceCategory", "ServiceName",
}  # fmt: skip
MAY_BE_NULL = {
    "ChargeClass", "ConsumedQuantity", "ConsumedUnit", "SubAccountId", "SubAccountName", "SubAccountType",
    "x_MemoryGiBHours",
}  # fmt: skip
DECIMAL = {"BilledCost", "EffectiveCost", "ListCost", "ContractedCost", "PricingQuantity", "ConsumedQuantity"}
TIMES = {"BillingPeriodStart", "BillingPeriodEnd", "ChargePeriodStart", "ChargePeriodEnd"}
PRICES = Costs(currency="EUR", machines={"here": Machine(monthly=33.3)})


def hours(wanted: Month, count: int) -> list[Hour]:
    first = int(wanted.since // 3600)
    took = {
        str(Account("docker", "shop", "live", one)): Amount(60.0, 900.0, 3600.0)
        for one in ("serving", "warm")
    }
    took[str(Account("docker", "docs", "qa", "serving", 'mail "a", b'))] = Amount(1e-7, 1.0, 3600.0)
    took[str(Account("docker", "", "", "system"))] = Amount(1.0, 1.0, 3600.0)
    size = {"docker": Size(2.0, 4 << 30)}
    return [Hour(first + number, {"docker": 3600.0}, size, took) for number in range(count)]


def rows_of(found: Spent, wanted: Month, pipeline: str = "") -> list[dict[str, str]]:
    text = "".join(focus.text(found, wanted, "EUR", "pushlive", lambda _: "here", pipeline))
    return list(csv.DictReader(io.StringIO(text, newline=""), strict=True))


@pytest.fixture(params=["UTC", "Europe/Berlin", "Asia/Kolkata"])
def wanted(request) -> Month:
    return month("2026-10", request.param)


@pytest.fixture
def found(wanted: Month) -> Spent:
    """Three days, of which the last half was not measured."""
    return spent(hours(wanted, 60), PRICES, wanted, wanted.since + 72 * 3600, lambda _: wanted.since)


def test_rows_are_those_of_the_month_and_keep_the_rules(found: Spent, wanted: Month) -> None:
    rows = rows_of(found, wanted)
    assert rows
    for one in rows:
        assert set(one) >= MANDATORY
        assert {key for key, value in one.items() if not value} <= MAY_BE_NULL
        assert all(re.fullmatch(r"\d+(\.\d+)?", one[key]) for key in DECIMAL if one[key])
        assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:00Z", one[key]) for key in TIMES)
        assert one["BillingPeriodStart"] <= one["ChargePeriodStart"] < one["ChargePeriodEnd"]
        assert one["ChargePeriodEnd"] <= one["BillingPeriodEnd"]
        assert json.loads(one["Tags"])["purpose"] == one["x_Purpose"]
        assert (
            bool(one["ConsumedQuantity"]) == (one["ChargeCategory"] == "Usage") == bool(one["ConsumedUnit"])
        )
    purchases = [one["x_Purpose"] for one in rows if one["ChargeCategory"] == "Purchase"]
    assert set(purchases) == {"not measured"}


def test_there_is_one_row_for_each_account_and_day(found: Spent, wanted: Month) -> None:
    keys = [(one["ChargePeriodStart"], one["Tags"]) for one in rows_of(found, wanted)]
    assert len(keys) == len(set(keys))
    assert len({at for at, _ in keys}) == 3


def test_sums_are_those_of_the_month(found: Spent, wanted: Month) -> None:
    rows = rows_of(found, wanted)
    assert sum(float(one["BilledCost"]) for one in rows) == pytest.approx(found.total, abs=1e-6)
    hours_paid = sum(float(one["PricingQuantity"]) for one in rows)
    assert hours_paid == pytest.approx(72.0, abs=1e-5)
    assert found.total == pytest.approx(33.3 * 72 * 3600 / (wanted.until - wanted.since))
    shop = [one for one in rows if one["SubAccountId"] == "shop"]
    assert rows_of(found, wanted, "shop") == shop
    cost = sum(line.cost for line in found.lines if line.account.pipeline == "shop")
    assert sum(float(one["EffectiveCost"]) for one in shop) == pytest.approx(cost, abs=1e-6)


def test_a_month_without_cost_has_a_head_alone(wanted: Month) -> None:
    nothing = spent([], PRICES, wanted, wanted.since, lambda _: wanted.since)
    assert list(focus.text(nothing, wanted, "EUR", "pushlive", str)) == [",".join(focus.COLUMNS) + "\n"]
