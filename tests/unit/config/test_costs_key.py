"""The ``costs`` key: short and long forms, and what is refused."""

from __future__ import annotations

import pytest

from pipeline.config.cost.prices import Costs, Machine
from pipeline.config.loading import load as parse
from pipeline.errors import ConfigError

ONE = "pipelines: {hello: {environments: {live: }}}\n"


def test_a_number_is_the_price_of_this_machine() -> None:
    costs = parse(ONE + "costs: {machines: {here: 12.50}}").costs
    assert costs == Costs(machines={"here": Machine(monthly=12.5)})
    assert costs.machine_of("docker") == ("here", Machine(monthly=12.5))
    assert costs.machine_of("docker:ssh://u@h") is None
    assert Costs.model_validate_json(costs.model_dump_json()) == costs


def test_a_machine_elsewhere_is_named_by_its_engine() -> None:
    text = 'costs: {currency: USD, machines: {big: {monthly: "40", docker: "ssh://u@h"}}}'
    costs = parse(ONE + text).costs
    assert costs.currency == "USD"
    assert costs.machine_of("docker:ssh://u@h")
    assert Costs.model_validate_json(costs.model_dump_json()) == costs


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{currency: euro}", "'euro' is not a currency"),
        ("{machines: {a: -1}}", "costs.machines.a"),
        ("{machines: {a: lots}}", "costs.machines.a"),
        ("{machines: {a: .inf}}", "costs.machines.a"),
        ("{machines: {a: .nan}}", "costs.machines.a"),
        ('{machines: {a: {docker: "ssh://u@h"}}}', "`monthly` is missing"),
        ("{machines: {a: 1, b: 2}}", "a and b have the same engine"),
        ("{machines: {a: {monthly: 1, kubernetes: prod}}}", "kubernetes: unknown key"),
    ],
)
def test_what_is_wrong_is_said(text: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(ONE + f"costs: {text}")
    assert said in str(caught.value)
