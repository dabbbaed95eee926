"""`shift` on a cluster: an HTTPRoute divides the visitors, and a Prometheus counts what each release answers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pipeline.adapters.fake.script import Killed
from pipeline.deploy.runner import Runner
from pipeline.domain.engine_types import Share
from pipeline.domain.run import Outcome
from pipeline.errors import ConfigError, TryAgain
from pipeline.lib.secret import Secret
from pipeline.maintenance.doctor.examine import _environment
from tests.story.conftest import World, go_on
from tests.story.test_shifting import SHIFT, during, said, shares, state

URL = "http://prometheus.example.com:9090"
METRICS = (
    f"metrics: {{prometheus: '{URL}', requests: 'all $namespace $pods', errors: 'bad $namespace $slot'}}"
)
ALIKE = f"metrics: {{prometheus: '{URL}'}}"


class Figures:
    """A Prometheus. So many requests are answered by each slot between two questions, and so many with errors."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.each, self.bad = 100.0, dict[str, float]()
        self.series: dict[str, float] = {}
        self.wrong = ""

    def counters(self, url: str, query: str, token: Secret | None) -> dict[str, float]:
        self.asked.append(query)
        if self.wrong:
            raise TryAgain(self.wrong)
        slot = next(one for one in ("blue", "green") if one in query)
        more = self.each if query.startswith("all") else self.bad.get(slot, 0.0)
        self.series[query] = self.series.get(query, 0.0) + more
        return {"a": self.series[query]}


def config(metrics: str = METRICS) -> str:
    where = "engine: {kubernetes: prod, namespace: shop}"
    text = SHIFT.replace(
        "for: 5m}", f"for: 1m, route: hello}}, {where}" + (f", {metrics}" if metrics else "")
    )
    return text.replace("    service:", "    registry: r.example/hello\n    service:")


@pytest.fixture
def visited(world: World) -> World:
    """r1 serves."""
    return begun(world, config(), Figures())


def begun(world: World, text: str, figures: Any) -> World:
    """r1 serves, in blue, and a Prometheus has these figures."""
    world.configure(text)
    world.figures = figures
    world.adapters = replace(world.adapters, figures=world.figures)
    world.jobs = world.another_process()
    world.runner = Runner(world.services, world.adapters, world.commands.accept, go_on)
    run = world.push()
    assert run.outcome == Outcome.LIVE, run.reason
    return world


def test_the_route_is_asked_first_and_has_each_share(visited: World) -> None:
    visited.engine.calls.clear()
    run = visited.push()
    assert run.outcome == Outcome.LIVE, run.reason
    assert shares(visited) == [5.0, 25.0]
    assert {arguments[2:] for name, arguments in visited.engine.calls if name == "share"} == {("hello",)}
    names = visited.engine.names()
    assert names.index("can_share") < names.index("start") < names.index("share")
    assert state(visited) == (2, False, False)
    assert {"all shop hello-live-green-.*", "all shop hello-live-blue-.*"} < set(visited.figures.asked)
    assert "25 % of requests go to r2, the others to r1, for 1m" in said(visited, run)
    assert "25 % went to r2 for 1m: errors 0 % of " in said(visited, run)


def test_what_answers_worse_goes_back(visited: World) -> None:
    visited.figures.bad["green"] = 10.0
    run = visited.push()
    assert run.outcome == Outcome.FAILED
    assert run.failure is not None
    assert "it answers worse than r1: errors 10 % of" in run.failure.message
    assert state(visited) == (1, False, False)
    assert [one.release for one in visited.environment("live").quarantine] == [2]


def test_a_route_that_cannot_divide_is_said_before_anything_starts(visited: World) -> None:
    visited.engine.fail("can_share", ConfigError("There is no HTTPRoute hello.", advice="Make it."))
    visited.engine.calls.clear()
    run = visited.push()
    assert run.outcome == Outcome.FAILED
    assert run.failure is not None
    assert "There is no HTTPRoute hello." in run.failure.message
    assert "start" not in visited.engine.names()
    assert state(visited) == (1, False, False)
    assert visited.environment("live").quarantine == ()


def test_doctor_says_that_a_route_could_not_divide(visited: World) -> None:
    def found() -> list[str]:
        environment = visited.environment("live")
        checks = _environment(environment, visited.services, visited.adapters)
        return [one["text"] for one in checks if not one["ok"]]

    assert found() == []
    visited.engine.fail("can_share", ConfigError("There is no HTTPRoute hello.", advice="Make it."))
    assert found() == ["There is no HTTPRoute hello."]


@pytest.mark.parametrize(
    ("metrics", "why"), [("", "no `metrics` are named"), (ALIKE, "do not tell the two releases apart")]
)
def test_without_figures_replicas_alone_decide_and_it_is_said(world: World, metrics: str, why: str) -> None:
    visited = begun(world, config(metrics), Figures())
    seen: list[dict[str, object]] = []
    during(visited, lambda: seen.append(visited.commands.status("hello")["pipelines"][0]["environments"][0]))
    run = visited.push()
    assert run.outcome == Outcome.LIVE
    assert "only its replicas are watched: requests are not counted, since" in said(visited, run)
    assert why in said(visited, run)
    shift = seen[0]["shift"]
    assert isinstance(shift, dict)
    assert shift["route"] == "hello"
    assert why in shift["uncounted"]
    assert "requests are not counted: " in shift["text"]

    ref = next(ref for ref, one in visited.engine.contents.items() if one.spec.release == 2)
    assert ref.slot == "green"
    during(visited, lambda: visited.engine.crash(replace(ref, slot="blue"), times=3))
    assert visited.push().outcome == Outcome.FAILED
    assert state(visited) == (2, False, False)


def test_a_prometheus_that_is_away_is_said_and_no_fault_of_the_release(visited: World) -> None:
    def away() -> None:
        visited.figures.wrong = f"Prometheus at {URL}: no answer within 5 s."

    during(visited, away, step=0)
    run = visited.push()
    assert run.outcome == Outcome.LIVE
    warned = [
        event.text for event in visited.events(run) if event.text.startswith("requests are not counted: ")
    ]
    assert warned == [f"requests are not counted: {visited.figures.wrong.rstrip('.')}"]


def test_weights_that_others_change_are_corrected(visited: World) -> None:
    def change() -> None:
        visited.engine.shares[("hello", "live")] = Share("green", 0.0)

    during(visited, change)
    run = visited.push()
    assert run.outcome == Outcome.LIVE
    assert "HTTPRoute hello was changed by others; r2 has its part of the visitors again" in said(
        visited, run
    )


def test_a_route_that_goes_in_the_midst_sends_all_back(visited: World) -> None:
    def gone() -> None:
        visited.engine.shares.pop(("hello", "live"))
        visited.engine.fail("share", ConfigError("There is no HTTPRoute hello.", advice="Make it."), times=9)

    during(visited, gone)
    run = visited.push()
    assert run.outcome == Outcome.FAILED
    assert run.failure is not None
    assert "There is no HTTPRoute hello." in run.failure.message
    assert state(visited) == (1, False, False)
    assert visited.environment("live").quarantine == ()


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("call", ["can_share", "share", "shared", "switch"])
def test_killed_at_any_call_the_next_worker_goes_on_by_the_same_route(
    visited: World, call: str, after: bool
) -> None:
    number = visited.accept(visited.commit("two")).number
    visited.engine.kill(call, after=after)
    with pytest.raises(Killed):
        visited.work()
    visited.engine.calls.clear()
    visited.reconcile()
    visited.work()
    assert visited.run(number).outcome == Outcome.LIVE
    assert state(visited) == (2, False, False)
    assert {arguments[2:] for name, arguments in visited.engine.calls if name == "share"} <= {("hello",)}
