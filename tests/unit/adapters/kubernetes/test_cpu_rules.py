"""What a container requests in a namespace with LimitRanges."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.adapters.kubernetes.api.client import Refused
from pipeline.adapters.kubernetes.cpu_rules import NO_RULES, read_rules, rules_of
from pipeline.errors import EngineFailed


def ranges(*rules: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"spec": {"limits": [rule]}} for rule in rules]


@pytest.mark.parametrize(("limit", "requested"), [(500, 50), (250, 25), (205, 20), (20, 10), (5, 10)])
def test_without_rules_a_tenth_is_requested(limit: int, requested: int) -> None:
    assert NO_RULES.requested(limit) == requested


@pytest.mark.parametrize(
    ("rules", "requested"),
    [
        (ranges({"type": "Container", "maxLimitRequestRatio": {"cpu": "4"}}), 125),
        (ranges({"type": "Container", "maxLimitRequestRatio": {"cpu": "20"}}), 50),
        (ranges({"type": "Pod", "maxLimitRequestRatio": {"cpu": "1"}}), 500),
        (ranges({"type": "Pod", "maxLimitRequestRatio": {"cpu": "3"}}), 167),
        (ranges({"type": "Container", "min": {"cpu": "100m"}}), 100),
        (
            ranges({"type": "Container", "min": {"cpu": "1"}}),
            500,
        ),  # more than the limit: it is refused in any case
        (
            ranges(
                {"type": "Container", "min": {"cpu": "100m"}, "maxLimitRequestRatio": {"cpu": "8"}},
                {
                    "type": "Pod",
                    "min": {"memory": "1Gi"},
                    "maxLimitRequestRatio": {"memory": "1", "cpu": "2.5"},
                },
                {"type": "PersistentVolumeClaim", "min": {"storage": "1Gi"}},
            ),
            200,
        ),
    ],
)
def test_the_strictest_rule_for_cpu_decides(rules: list[dict[str, Any]], requested: int) -> None:
    assert rules_of(rules).requested(500) == requested


class Api:
    def __init__(self, status: int) -> None:
        self.status = status

    def find(self, *_: object) -> list[dict[str, Any]]:
        raise Refused("no", self.status, "Forbidden")


def test_an_account_that_may_not_list_them_requests_a_tenth() -> None:
    assert read_rules(Api(403)) == NO_RULES  # type: ignore[arg-type]
    with pytest.raises(EngineFailed):
        read_rules(Api(410))  # type: ignore[arg-type]
