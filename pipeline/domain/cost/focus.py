"""A month as rows of the FinOps Open Cost and Usage Specification (FOCUS 1.2): one for each account and day. Pure.

https://focus.finops.org/focus-specification/v1-2/. Its nulls are empty fields. Of the columns that depend on what a
provider has, those are left out of which nothing is known: discounts, invoices, regions, unit prices.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime

from pipeline.domain.cost.ledger import HOUR, STORAGE, TRAFFIC
from pipeline.domain.cost.month import Line, Spent
from pipeline.domain.cost.shares import UNSEEN
from pipeline.domain.measuring.monthly.calendar import Month

DIGITS = 9  # of money and quantities: so many rows are added up
PUBLISHER = "Pushlive"  # who made the rows; who bills the machines is not known
COLUMNS = (
    "BillingAccountId", "BillingAccountName", "BillingAccountType", "BillingPeriodStart", "BillingPeriodEnd",
    "ChargePeriodStart", "ChargePeriodEnd", "ChargeCategory", "ChargeClass", "ChargeDescription", "ChargeFrequency",
    "BilledCost", "EffectiveCost", "ListCost", "ContractedCost", "BillingCurrency", "PricingCategory",
    "PricingQuantity", "PricingUnit", "ConsumedQuantity", "ConsumedUnit", "ProviderName", "PublisherName",
    "InvoiceIssuerName", "ServiceCategory", "ServiceSubcategory", "ServiceName", "SkuId", "SkuPriceId", "ResourceId",
    "ResourceName", "ResourceType", "SubAccountId", "SubAccountName", "SubAccountType", "Tags", "x_Purpose",
    "x_MemoryGiBHours",
)  # fmt: skip
Row = dict[str, str]
Quantity = tuple[float, str]  # with its unit


def text(
    spent: Spent,
    month: Month,
    currency: str,
    instance: str,
    machine: Callable[[str], str],
    pipeline: str = "",
) -> Iterator[str]:
    """CSV with a head, line by line. ``instance``: of the service, the billing account; ``machine``: a name for the
    machines of an engine (``Where.key``); ``pipeline``: its rows alone, "" for all."""
    yield _line(COLUMNS)
    for since, until in zip(month.days, month.days[1:], strict=False):
        for one in spent.days.get(since, ()):
            if not pipeline or one.account.pipeline == pipeline:
                found = row(one, machine(one.account.engine))
                found |= {
                    "BillingAccountId": instance,
                    "BillingAccountName": instance,
                    "BillingPeriodStart": _time(month.since),
                    "BillingPeriodEnd": _time(month.until),
                    "ChargePeriodStart": _time(since),
                    "ChargePeriodEnd": _time(until),
                    "BillingCurrency": currency,
                }
                yield _line(found[name] for name in COLUMNS)


def row(one: Line, machine: str) -> Row:
    """What does not depend on the day. Time of a machine of which it is not known who used it was bought and not
    consumed, so it is a purchase: for a usage FOCUS wants to know the quantity."""
    account, known = one.account, one.account.purpose != UNSEEN
    pricing, consumed, category, subcategory = _units(one)
    place = "/".join(part for part in (account.pipeline, account.environment, account.process) if part)
    cost = _number(one.cost)
    tags = {
        "pipeline": account.pipeline,
        "environment": account.environment,
        "process": account.process,
        "purpose": account.purpose,
        "machine": machine,
    }
    return {
        "BillingAccountType": "Pushlive instance",
        "ChargeCategory": "Usage" if known else "Purchase",
        "ChargeClass": "",  # no correction
        "ChargeDescription": f"{place or machine}: {account.purpose}",
        "ChargeFrequency": "Usage-Based" if known else "Recurring",
        **dict.fromkeys(("BilledCost", "EffectiveCost", "ListCost", "ContractedCost"), cost),
        "PricingCategory": "Standard",
        "PricingQuantity": _number(pricing[0]),
        "PricingUnit": pricing[1],
        "ConsumedQuantity": _number(consumed[0]) if known else "",
        "ConsumedUnit": consumed[1] if known else "",
        **dict.fromkeys(("ProviderName", "PublisherName", "InvoiceIssuerName"), PUBLISHER),
        "ServiceCategory": category,
        "ServiceSubcategory": subcategory,
        "ServiceName": machine,
        "SkuId": machine,
        "SkuPriceId": machine,
        "ResourceId": place or account.engine,
        "ResourceName": place or machine,
        "ResourceType": "Environment" if place else "Machine",
        "SubAccountId": account.pipeline,
        "SubAccountName": account.pipeline,
        "SubAccountType": "Pipeline" if account.pipeline else "",
        "Tags": json.dumps({key: value for key, value in tags.items() if value}),
        "x_Purpose": account.purpose,
        "x_MemoryGiBHours": _number(one.amount.memory / HOUR) if known else "",
    }


def _units(one: Line) -> tuple[Quantity, Quantity, str, str]:
    """What is priced and what is consumed, and the category of the service."""
    if one.account.purpose == STORAGE:
        stored = (one.used / HOUR, "GiB-Hours")
        return stored, stored, "Storage", "Other (Storage)"
    if one.account.purpose == TRAFFIC:
        sent = (one.used, "GiB")
        return sent, sent, "Networking", "Other (Networking)"
    machines, cores = (one.machines / HOUR, "Machine-Hours"), (one.amount.cores / HOUR, "Core-Hours")
    return machines, cores, "Compute", "Containers"


def _number(value: float) -> str:
    """Without an exponent, which may have no plus sign."""
    return f"{value:.{DIGITS}f}".rstrip("0").rstrip(".")


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _line(fields: Iterable[str]) -> str:
    found = io.StringIO()
    csv.writer(found, lineterminator="\n").writerow(fields)
    return found.getvalue()
