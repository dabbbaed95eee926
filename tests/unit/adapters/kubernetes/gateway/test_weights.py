"""How the weights of an HTTPRoute divide the visitors, and how they are as they were afterwards."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from pipeline.adapters.kubernetes.gateway import weights
from pipeline.adapters.kubernetes.gateway.weights import Backends
from pipeline.domain.engine_types import Share

OURS = Backends("shop", "shop-live", {"blue": "shop-live-blue", "green": "shop-live-green"})


def ref(name: str, weight: int | None = 1, **more: Any) -> dict[str, Any]:
    """As the API server stores it; ``weight``: None if it was left out, as a client may send it."""
    return {"name": name, "port": 80, **({} if weight is None else {"weight": weight}), **more}


def route(*rules: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "metadata": {"name": "shop", "generation": 3},
        "spec": {
            "hostnames": ["shop.example.com"],
            "rules": [{"matches": [{"path": {"value": "/"}}], "backendRefs": one} for one in rules],
        },
    }


def patched(found: dict[str, Any], share: Share | None) -> dict[str, Any]:
    """The route after the JSON patch; its tests hold."""
    result = copy.deepcopy(found)
    for one in weights.changes(found, OURS, share):
        _, spec, rules, place, key = one["path"].split("/")
        rule = result[spec][rules][int(place)]
        if one["op"] == "test":
            assert rule[key] == one["value"]
        else:
            rule[key] = one["value"]
    return result


def numbers(found: dict[str, Any], rule: int = 0) -> dict[str, int]:
    return {one["name"]: one["weight"] for one in found["spec"]["rules"][rule]["backendRefs"]}


@pytest.mark.parametrize("percent", [0.1, 5.0, 25.0, 33.3, 99.9])
@pytest.mark.parametrize(
    "rules",
    [
        ([ref("shop-live")],),
        ([ref("shop-live", None)],),
        ([ref("shop-live", 7)],),
        ([ref("shop-live", 1000)],),
        ([ref("shop-live", 9000), ref("old-shop", 1000)],),
        ([ref("old-shop")], [ref("shop-live", filters=[{"type": "RequestMirror"}])], [ref("shop-live", 3)]),
        ([ref("shop-live"), ref("other", 0)],),
        ([ref("shop-live", namespace="shop", kind="Service", group="")],),
    ],
)
def test_a_share_is_exact_and_nothing_is_left_of_it(
    rules: tuple[list[dict[str, Any]], ...], percent: float
) -> None:
    before = route(*rules)
    assert weights.problem(before, OURS) == ""
    assert weights.shared(before, OURS) is None
    first = patched(before, Share("green", 50.0))
    during = patched(first, Share("green", percent))
    assert weights.shared(during, OURS) == Share("green", percent)
    assert weights.problem(during, OURS) == ""
    assert weights.changes(during, OURS, Share("green", percent)) == []
    assert all(0 <= one["weight"] <= 10**6 for rule in during["spec"]["rules"] for one in rule["backendRefs"])
    after = patched(during, None)
    assert after == patched(after, None)
    for rule in before["spec"]["rules"]:
        for one in rule["backendRefs"]:
            one.setdefault("weight", 1)
    assert after == before


def test_the_slot_gets_the_port_and_the_filters_of_what_serves() -> None:
    filters = [{"type": "RequestHeaderModifier"}]
    during = patched(route([ref("shop-live", filters=filters)]), Share("blue", 5.0))
    assert during["spec"]["rules"][0]["backendRefs"] == [
        ref("shop-live", 950, filters=filters),
        ref("shop-live-blue", 50, filters=filters),
    ]


def test_rules_of_others_are_left_alone() -> None:
    before = route(
        [ref("old-shop")],
        [ref("shop-live-green")],  # someone looks at the slot by a header
        [ref("shop-live", namespace="elsewhere")],
        [ref("shop-live", kind="Backend", group="example.com")],
        [ref("shop-live", 0), ref("sorry", 1)],  # turned off
        [],
    )
    assert weights.changes(before, OURS, Share("green", 5.0)) == []
    assert weights.problem(before, OURS) == "none of its rules sends visitors to the Service shop-live"
    before["spec"]["rules"].append({"backendRefs": [ref("shop-live")]})
    (test, change) = weights.changes(before, OURS, Share("green", 5.0))
    assert test["path"] == change["path"] == "/spec/rules/6/backendRefs"


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ({"metadata": {}, "spec": {}}, "none of its rules"),
        (route([ref("shop-live"), ref("shop-live")]), "names the Service shop-live twice"),
        (route([ref("shop-live", 5000)]), "the weight 5000, which cannot be divided: write 1000 at most"),
        (route([ref("shop-live", 9), ref("old-shop")]), "multiply all weights of that rule by 1000"),
    ],
)
def test_what_cannot_be_divided_is_said(found: dict[str, Any], said: str) -> None:
    assert said in weights.problem(found, OURS)


def test_what_was_changed_by_hand_is_no_share_that_anyone_wants() -> None:
    both = route([ref("shop-live", 950), ref("shop-live-green", 50)], [ref("shop-live", 1)])
    assert weights.shared(both, OURS) == Share("green", 0.0)
    assert numbers(patched(both, Share("green", 5.0)), 1) == {"shop-live": 950, "shop-live-green": 50}
    slots = route([ref("shop-live", 900), ref("shop-live-green", 50), ref("shop-live-blue", 50)])
    assert weights.shared(slots, OURS) == Share("green", 0.0)
    assert numbers(patched(slots, None)) == {"shop-live": 1}
    all_of_it = route([ref("shop-live", 0), ref("shop-live-green", 1)])
    assert weights.shared(all_of_it, OURS) == Share("green", 100.0)
    assert numbers(patched(all_of_it, None)) == {"shop-live": 1}
    odd = route([ref("shop-live", 7), ref("shop-live-green", 1)])
    assert numbers(patched(odd, Share("green", 5.0))) == {"shop-live": 950, "shop-live-green": 50}


def test_a_backend_that_someone_has_written_without_a_weight_is_used() -> None:
    written = route([ref("shop-live"), ref("shop-live-blue", 0), ref("shop-live-green", 0)])
    assert weights.shared(written, OURS) is None
    during = patched(written, Share("green", 5.0))
    assert numbers(during) == {"shop-live": 950, "shop-live-green": 50, "shop-live-blue": 0}


def parent(accepted: str = "True", seen: int = 3, resolved: str = "True", said: str = "") -> dict[str, Any]:
    return {
        "conditions": [
            {"type": "Accepted", "status": accepted, "observedGeneration": seen, "message": said},
            {"type": "ResolvedRefs", "status": resolved, "message": said},
        ]
    }


@pytest.mark.parametrize(
    ("parents", "refused", "followed", "broken"),
    [
        ([], "no Gateway has taken it up yet", False, ""),
        ([{}], "no Gateway has accepted it: it does not say why", False, ""),
        ([parent()], "", True, ""),
        ([parent(seen=2)], "", False, ""),
        (
            [parent("False", said="No hostname fits.")],
            "no Gateway has accepted it: No hostname fits",
            False,
            "",
        ),
        ([parent("False"), parent()], "", True, ""),
        ([parent(), parent(seen=2)], "", False, ""),
        ([parent(resolved="False", said="no Service x.")], "", True, "no Service x"),
    ],
)
def test_what_its_gateways_say(
    parents: list[dict[str, Any]], refused: str, followed: bool, broken: str
) -> None:
    found = {**route(), "status": {"parents": parents}}
    assert weights.refusal(found) == refused
    assert weights.is_followed(found) == followed
    assert weights.unresolved(found) == broken
    assert weights.refusal(route()) == "no Gateway has taken it up yet"
