"""The caps under ``costs``: what is refused, and what keeps them from being judged."""

from __future__ import annotations

import pytest

from pipeline.config.cost.cap_rules import yielding
from pipeline.config.lint import warnings
from pipeline.config.loading import load
from pipeline.errors import ConfigError

FILE = """\
pipelines:
  shop: {environments: {dev: , qa: , live: }}
  blog: {environments: {dev: , live: }}
"""


def read(costs: str):
    return load(f"{FILE}costs: {costs}\n")


@pytest.mark.parametrize(
    ("costs", "said"),
    [
        ("{cap: 0}", "costs.cap"),
        ("{cap: -1}", "costs.cap"),
        ("{cap: lots}", "costs.cap"),
        ("{cap: .inf}", "costs.cap"),
        ("{cap: .nan}", "costs.cap"),
        ("{pipelines: {nope: 1}}", "costs.pipelines.nope: there is no such pipeline; there are: shop, blog"),
        ("{pipelines: {shop: 0}}", "costs.pipelines.shop"),
        ("{pipelines: {shop: 0.001}}", "a sum of at least 0.01, such as 60"),
        ("{give_way: [live]}", "live is live, which never gives way; remove it"),
        ("{give_way: [blog/live]}", "blog/live is live, which never gives way"),
        ("{give_way: [blog/qa]}", "no pipeline has an environment qa; there are: dev, live"),
        ("{give_way: [nope/dev]}", "there is no pipeline nope; there are: shop, blog"),
        ("{give_way: [prod]}", "no pipeline has an environment prod; there are: dev, qa, live"),
        ("{give_way: [dev, qa, dev]}", "costs.give_way[2]: dev is listed twice"),
        ("{give_way: ['../etc']}", "costs.give_way"),
        ("{give_way: dev}", "costs.give_way"),
    ],
)
def test_what_is_wrong_is_said(costs: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(costs)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("costs", "order"),
    [
        ("{cap: 9, give_way: [dev, shop/qa]}", [("shop", "dev"), ("blog", "dev"), ("shop", "qa")]),
        ("{cap: 9, give_way: [blog/dev, dev]}", [("blog", "dev"), ("shop", "dev")]),
        ("{cap: 9, give_way: [previews, qa]}", [("shop", "qa")]),
        ("{cap: 9}", []),
    ],
)
def test_what_gives_way_does_so_in_the_order_of_the_list(costs: str, order: list[tuple[str, str]]) -> None:
    assert list(yielding(read(costs))) == order


@pytest.mark.parametrize(
    ("costs", "said"),
    [
        ("{cap: 9}", "costs.cap: cannot be judged: no machine has a price"),
        ("{pipelines: {shop: 9}}", "costs.pipelines: cannot be judged: no machine has a price"),
        ("{give_way: [dev], machines: {here: 1}}", "costs.give_way: has no effect without a `cap`"),
        (
            "{cap: 9, machines: {here: 10}}",
            "the machines alone cost 10.00 EUR a month, which is more than 9.00",
        ),
        (
            '{cap: 9, machines: {far: {monthly: 1, docker: "ssh://u@h"}}}',
            "no price for docker: what runs there is in no sum, and no cap",
        ),
    ],
)
def test_what_keeps_a_cap_from_being_judged_is_said(costs: str, said: str) -> None:
    assert any(said in line for line in warnings(read(costs)))


def test_a_cap_that_can_hold_is_fine() -> None:
    assert not [line for line in warnings(read("{cap: 10, machines: {here: 10}}")) if "costs" in line]


def test_previews_give_way_as_one_and_each_is_one_environment() -> None:
    config = read("{cap: 9, give_way: [shop/qa, previews, dev]}")
    made = config.pipelines["blog"].model_copy(update={"environments": {"blog--dev": None}})
    config = config.model_copy(update={"pipelines": {**config.pipelines, "blog--dev": made}})
    assert list(yielding(config)) == [
        ("shop", "qa"),
        ("blog--dev", "blog--dev"),
        ("shop", "dev"),
        ("blog", "dev"),
    ]
