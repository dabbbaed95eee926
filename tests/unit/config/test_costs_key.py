"""The ``costs`` key: short and long forms, and what is refused."""

from __future__ import annotations

import pytest

from pipeline.config import lint
from pipeline.config.cost.prices import INSTANCE_TYPE, Costs, Machine
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
        ("{machines: {a: {monthly: 1, node: prod}}}", "node: unknown key"),
        ('{machines: {a: {monthly: 1, kubernetes: p, docker: "ssh://u@h"}}}', "not both"),
        ("{machines: {a: {monthly: 1, kubernetes: -x}}}", "not a context"),
        ("{machines: {a: {monthly: 1, kubernetes: p, traffic: 1}}}", "`traffic` is not counted on a cluster"),
        ("{machines: {a: {monthly: 1, storage: -1}}}", "costs.machines.a.storage"),
        ("{machines: {a: {monthly: 1, traffic: .inf}}}", "costs.machines.a.traffic"),
        (
            "{machines: {a: {monthly: 1, kubernetes: p, type: x, storage: 1},"
            " b: {monthly: 2, kubernetes: p, storage: 1}}}",
            "give `storage` at one of them",
        ),
        ("{machines: {a: {monthly: 1, type: cx22}}}", "kubernetes: CONTEXT"),
        ("{machines: {a: {monthly: 1, nodes: {pool: a}}}}", "kubernetes: CONTEXT"),
        ("{machines: {a: {monthly: 1, kubernetes: p, type: 'a,b'}}}", "costs.machines.a.type"),
        ("{machines: {a: {monthly: 1, kubernetes: p, nodes: {pool: 'a=b'}}}}", "costs.machines.a.nodes"),
        (
            "{machines: {a: {monthly: 1, kubernetes: p, type: x}, b: {monthly: 2, kubernetes: p, type: x}}}",
            "a and b have the same nodes",
        ),
    ],
)
def test_what_is_wrong_is_said(text: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(ONE + f"costs: {text}")
    assert said in str(caught.value)


def test_check_says_what_a_sum_lacks() -> None:
    def said(costs: str) -> list[str]:
        return [
            str(one) for one in lint.found(parse(ONE + f"costs: {costs}")) if one.path.startswith("costs")
        ]

    assert said("{machines: {here: 1}}") == said("{}") == []
    assert said("{machines: {node: {monthly: 1, kubernetes: prod}}}") == [
        "costs.machines: no price for docker: what runs there is in no sum",
        "costs.machines.node: no environment runs on kubernetes:prod, so its price is in no sum",
    ]


def test_nodes_of_clusters_are_told_apart_by_type_and_labels() -> None:
    costs = parse(
        ONE
        + """costs:
  machines:
    any: {monthly: 8, kubernetes: }
    small: {monthly: 9, kubernetes: prod, type: cx22}
    spot: {monthly: 3, kubernetes: prod, nodes: {pool: spot}}
    spot-small: {monthly: 2, kubernetes: prod, type: cx22, nodes: {pool: spot}}
"""
    ).costs
    assert Costs.model_validate_json(costs.model_dump_json()) == costs
    assert costs.labels == {INSTANCE_TYPE, "pool"}

    def name(engine: str, **labels: str) -> str:
        found = costs.machine_of(engine, {key.replace("type", INSTANCE_TYPE): labels[key] for key in labels})
        return found[0] if found else ""

    assert name("kubernetes", type="x") == name("kubernetes:/shop") == "any"
    assert name("kubernetes:prod/shop", type="cx22") == "small"
    assert name("kubernetes:prod/shop", type="cx22", pool="other") == "small"
    assert name("kubernetes:prod/", type="cx22", pool="spot") == "spot-small"
    assert name("kubernetes:prod/", pool="spot") == "spot"
    assert name("kubernetes:prod/", type="cx42") == name("kubernetes:else/", type="cx22") == ""


def test_storage_and_traffic_have_prices_where_they_cost() -> None:
    text = """costs: {machines: {
      here: {monthly: 1, storage: 0.1, traffic: 0.2}, a: {monthly: 1, kubernetes: p, type: x, storage: 0.3},
      b: {monthly: 1, kubernetes: p}}}
"""
    costs = parse(ONE + text).costs
    assert Costs.model_validate_json(costs.model_dump_json()) == costs
    assert costs.per_use("docker") == (0.1, 0.2)
    assert costs.per_use("kubernetes:p/shop") == (0.3, 0.0)
    assert costs.per_use("docker:ssh://u@h") == (0.0, 0.0)
