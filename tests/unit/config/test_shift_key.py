"""`shift`, as it is written."""

from __future__ import annotations

import pytest

from pipeline.config.lint import warnings
from pipeline.config.loading import load, problems
from pipeline.config.models import Environment
from pipeline.config.promotion.shift import Shift

TEXT = "pipelines: {hello: {service: {%s}, environments: {dev: , live: {%s}}}}"


@pytest.mark.parametrize(
    ("written", "wanted"),
    [
        ("", Shift()),
        ("shift: []", Shift()),
        ("shift: [5%, 25%]", Shift(steps=(5.0, 25.0))),
        ("shift: [0.1%, 1.1 %, 99.9%]", Shift(steps=(0.1, 1.1, 99.9))),
        ("shift: {steps: [10%], for: 1h, requests: 500}", Shift(steps=(10.0,), lasts=3600.0, requests=500)),
    ],
)
def test_it_is_read_and_stored_alike(written: str, wanted: Shift) -> None:
    found = load(TEXT % ("", written)).pipelines["hello"].environment("live")
    assert found.shift == wanted
    assert Environment.model_validate(found.model_dump(mode="json")).shift == wanted


def test_it_is_no_part_of_what_a_release_is() -> None:
    plain, shifting = (load(TEXT % ("", one)).pipelines["hello"] for one in ("", "shift: [5%]"))
    assert plain.render("live") == shifting.render("live")


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("shift: 5%", "5%"),
        ("shift: [5]", "'5' is not a share; write a percentage"),
        ("shift: [0%, 5%]", "'0%' is not between 0.1% and 99.9%"),
        ("shift: [100%]", "'100%' is not between"),
        ("shift: [1.25%]", "in steps of 0.1"),
        ("shift: [٥%]", "is not a share"),
        ("shift: [-5%]", "is not a share"),
        ("shift: [5%, 5%]", "larger than the one before"),
        ("shift: [25%, 5%]", "larger than the one before"),
        ("shift: {for: 5m, steps: []}", ""),
        ("shift: {for: 6m}", "has no `steps`"),
        ("shift: {steps: [5%], for: 0}", "write 1s to 1h"),
        ("shift: {steps: [5%], for: 2h}", "write 1s to 1h"),
        ("shift: {steps: [5%], requests: -1}", "requests"),
        ("shift: {steps: [1%, 2%, 3%, 4%, 5%, 6%, 7%, 8%, 9%, 10%, 11%]}", "10"),
        ("shift: {share: 5%}", "unknown key"),
    ],
)
def test_what_it_cannot_be_is_refused_in_its_place(written: str, said: str) -> None:
    found = problems(TEXT % ("", written))
    if not said:
        assert found == ()
        return
    assert found
    assert all(one.path.startswith("pipelines.hello.environments.live.shift") for one in found)
    assert any(said in one.message or said in one.path for one in found), found


@pytest.mark.parametrize(
    ("service", "live", "said"),
    [
        ("one: true", "", "`one: true`"),
        ("", "one: true, ", "`one: true`"),
        ("", "engine: kubernetes, ", "name the HTTPRoute by which the visitors come"),
        ("web: false, processes: {worker: {command: [work]}}", "", "there is no web process"),
    ],
)
def test_where_it_is_not_possible_check_says_why(service: str, live: str, said: str) -> None:
    found = [one for one in problems(TEXT % (service, f"{live}shift: [5%]")) if one.path.endswith(".shift")]
    assert len(found) == 1
    assert said in found[0].message
    none = problems(TEXT % (service, f"{live}shift: []"))
    assert [one for one in none if one.path.endswith(".shift")] == []


@pytest.mark.parametrize(
    ("more", "warned"), [("", True), (", latency: 't{$pods}'", False), (", latency: t", True)]
)
def test_a_route_wants_a_query_for_the_time_of_each_release(more: str, warned: bool) -> None:
    own = f"metrics: {{prometheus: 'https://p.example', requests: 'a{{$pods}}', errors: 'b{{$slot}}'{more}}}"
    text = f"""
pipelines:
  hello:
    registry: r.example/hello
    environments: {{live: {{engine: kubernetes, shift: {{steps: [5%], for: 5m, route: hello}}, {own}}}}}
"""
    assert any("answers are not compared by time then" in one for one in warnings(load(text))) is warned
