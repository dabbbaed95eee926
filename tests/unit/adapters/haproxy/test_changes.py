"""How the proxy's state changes when a host name moves from one environment to another."""

from __future__ import annotations

from pipeline.adapters.haproxy import changes
from pipeline.adapters.haproxy.config import State

WWW = "www.example.com"


def serving(state: State, index: int, name: str, *hosts: str) -> State:
    state = changes.added(state, index, name, hosts)
    routes = changes.with_slot(changes.routes_of(state, index), "blue", (("10.0.0.1", 80),), 60.0)
    return state.with_routes(index, routes)


def led(state: State, host: str = WWW) -> list[int]:
    """The environments to which the host name leads: never more than one."""
    return [index for index, routes in state.environments.items() if host in routes.hosts]


OLD = changes.switched(serving(State("t"), 1, "shop-live", WWW), 1, "blue")
BOTH = serving(OLD, 2, "shop-production", WWW)


def test_a_host_name_stays_where_it_is_served_until_the_other_ones_switch() -> None:
    assert led(OLD) == led(BOTH) == [1]
    moved = changes.switched(BOTH, 2, "blue")
    assert led(moved) == [2]
    assert led(changes.switched(moved, 2, "blue")) == [2]
    # The old one is reconciled, with the host name of its own release: it does not take it back.
    assert led(changes.added(moved, 1, "shop-live", (WWW,))) == [2]
    assert led(changes.removed(moved, 1)) == [2]


def test_a_switch_that_is_taken_back_takes_the_host_name_back() -> None:
    back = changes.switched(changes.switched(BOTH, 2, "blue"), 2, None)
    assert led(back) == [1]
    assert led(changes.switched(back, 2, "blue")) == [2]
    assert led(changes.removed(changes.switched(BOTH, 2, "blue"), 2)) == [1]


def test_an_environment_of_the_same_index_gets_nothing_back() -> None:
    moved = changes.removed(changes.switched(BOTH, 2, "blue"), 1)
    other = changes.switched(serving(moved, 1, "other-live", "other.example.com"), 1, "blue")
    assert led(changes.switched(other, 2, None)) == [2]


def test_a_host_name_that_is_given_up_goes_to_the_one_that_waits_for_it_without_a_gap() -> None:
    waits = changes.added(
        changes.switched(serving(OLD, 2, "shop-production"), 2, "blue"), 2, "shop-production", (WWW,)
    )
    assert led(waits) == [1]
    assert led(changes.added(waits, 1, "shop-live", ())) == [2]
    assert led(changes.removed(waits, 1)) == [2]


def test_one_that_serves_nothing_keeps_no_host_name_from_others() -> None:
    idle = changes.switched(OLD, 1, None)
    assert led(changes.added(idle, 2, "shop-production", (WWW,))) == [2]


API = f"{WWW}/api"


def test_a_part_of_a_host_stays_with_the_whole_until_the_switch() -> None:
    waits = serving(OLD, 2, "api-live", API)
    assert led(waits, API) == []
    came = changes.switched(waits, 2, "blue")
    assert (led(came), led(came, API)) == ([1], [2])
    assert changes.added(came, 2, "api-live", (API,)) == came  # as the keeper does
    back = changes.switched(came, 2, None)
    assert (led(back), led(back, API)) == ([1], [])
    assert led(changes.switched(back, 2, "blue"), API) == [2]
    assert led(changes.removed(came, 2), API) == []


def test_a_part_that_no_one_serves_leads_there_at_once() -> None:
    assert led(changes.added(changes.switched(OLD, 1, None), 2, "api-live", (API,)), API) == [2]
    assert led(changes.added(OLD, 2, "api-live", ("other.example/api",)), "other.example/api") == [2]


def test_a_part_moves_as_a_whole_host_does() -> None:
    first = changes.switched(serving(OLD, 2, "api-live", API), 2, "blue")
    second = serving(first, 3, "api2-live", API)
    assert led(second, API) == [2]
    moved = changes.switched(second, 3, "blue")
    assert led(moved, API) == [3]
    assert led(changes.switched(moved, 3, None), API) == [2]
