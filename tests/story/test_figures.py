"""On a cluster a Prometheus counts: what it says is judged, and what it does not say is no fault of a release."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pipeline.domain.judging.figures import HEALTH_ALONE
from pipeline.domain.judging.series import LAG
from pipeline.domain.run import Outcome
from pipeline.errors import TryAgain
from pipeline.lib.secret import Secret
from pipeline.maintenance.doctor.examine import _environment
from tests.story.test_judge import the_trial_of_r2

URL = "http://prometheus.example.com:9090"
METRICS = f"metrics: {{prometheus: '{URL}', requests: 'all{{$namespace/$pods}}', errors: 'bad{{$slot}}'}}, "


class Counting:
    """``ports.judging.Figures``: what it was asked, and counters that are set. ``wrong``: why it does not answer."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, Secret | None]] = []
        self.requests: dict[str, float] = {}
        self.errors: dict[str, float] = {}
        self.wrong = ""

    def counters(self, url: str, query: str, token: Secret | None) -> dict[str, float]:
        self.asked.append((url, query, token))
        if self.wrong:
            raise TryAgain(self.wrong)
        return dict(self.errors if query.startswith("bad") else self.requests)

    def add(self, requests: int, errors: int) -> None:
        self.requests["a"] = self.requests.get("a", 0.0) + requests
        self.errors["a"] = self.errors.get("a", 0.0) + errors


def config(metrics: str = METRICS, more: str = "") -> str:
    return f"""
pipelines:
  hello:
    registry: r.example/hello
    environments:
      live: {{engine: {{kubernetes: prod, namespace: shop}}, {metrics}judge: act, bake: 0{more}}}
"""


@pytest.fixture
def begun(make_world):
    def make(text: str):
        world = make_world(text)
        world.figures = Counting()
        world.adapters = replace(world.adapters, figures=world.figures)
        world.jobs = world.another_process()
        assert world.push("one").outcome == Outcome.LIVE
        world.clock.sleep(LAG)
        return world

    return make


def serve(world, requests: int, errors: int, looks: int = 40) -> list[str]:
    said = []
    for _ in range(looks):
        said += world.jobs.answers.run() + world.jobs.acting.run()
        world.figures.add(requests, errors)
        world.clock.sleep(15)
    return said + world.jobs.answers.run() + world.jobs.acting.run()


def shown(world) -> dict:
    [found] = world.commands.status("hello")["pipelines"][0]["environments"]
    return found


def doctor(world) -> list[dict]:
    return list(_environment(world.environment("live"), world.services, world.adapters))


def test_what_prometheus_counted_is_judged_and_a_worse_release_is_taken_back(begun):
    world = begun(config())
    serve(world, 500, 5, looks=100)
    assert shown(world)["answers"]["requests"] == 50_000
    assert shown(world)["figures"] == {"source": "prometheus", "problem": "", "text": "", "latency": ""}
    world.push("two")
    world.clock.sleep(LAG)
    said = serve(world, 500, 10)
    world.work()
    assert world.serving() == {"live": 1}
    assert the_trial_of_r2(world).reason.endswith("worse than r1 (1 %)")
    assert "hello/live: r2 is taken back (hello#3)" in said
    slot = world.environment("live").active
    urls = {url for url, _, _ in world.figures.asked}
    queries = {query for _, query, _ in world.figures.asked}
    assert (urls, len(queries)) == ({URL}, 4)
    assert {f"all{{shop/hello-live-{slot}-.*}}", f"bad{{{slot}}}"} < queries


def test_what_the_slot_before_answered_is_not_counted_after_a_switch(begun):
    world = begun(config())
    serve(world, 500, 5, looks=4)
    world.push("two")
    world.figures.add(500, 400)  # scraped after the switch, answered before it
    for _ in range(3):
        world.jobs.answers.run()
        world.clock.sleep(15)
    assert shown(world)["answers"] is None
    world.clock.sleep(15)
    serve(world, 500, 5, looks=2)
    assert shown(world)["answers"]["errors"] == 10


def test_one_that_does_not_answer_is_said_and_asked_once_a_round(begun):
    world = begun(config())
    serve(world, 500, 5, looks=2)
    world.figures.wrong = f"Prometheus at {URL}: no answer within 5 s."
    world.figures.asked.clear()
    assert world.jobs.answers.run() == []
    assert len(world.figures.asked) == 1
    found = shown(world)["figures"]
    assert (found["problem"], found["text"]) == (
        world.figures.wrong,
        f"requests are not counted: {world.figures.wrong}",
    )
    [line] = doctor(world)
    assert (line["ok"], line["text"]) == (False, found["text"])
    assert "`metrics`" in line["advice"]
    assert world.environment("live").health == {} or not world.environment("live").down
    world.figures.wrong = ""
    serve(world, 500, 5, looks=1)
    assert shown(world)["figures"]["problem"] == ""
    assert doctor(world)[0]["ok"]


def test_a_query_without_series_is_said(begun):
    world = begun(config())
    world.jobs.answers.run()
    assert "the query for requests gives no series" in shown(world)["figures"]["problem"]


def test_a_keeper_that_begins_again_counts_nothing_twice(begun):
    world = begun(config())
    serve(world, 500, 5, looks=4)
    assert shown(world)["answers"]["requests"] == 2000
    world.jobs = world.another_process()
    world.jobs.answers.run()
    assert shown(world)["answers"]["requests"] == 2000
    serve(world, 100, 0, looks=1)
    assert shown(world)["answers"]["requests"] == 2100


def test_the_token_is_a_secret_of_the_environment(begun):
    secure = config(METRICS.replace("http:", "https:").replace("metrics: {", "metrics: {token: PROM, "))
    world = begun(secure)
    world.jobs.answers.run()
    assert "PROM" in shown(world)["figures"]["problem"]
    assert "pushlive secret set" in shown(world)["figures"]["problem"]
    world.services.vault.put(
        "hello", "PROM", Secret("t0ken-of-prom"), environment="live", by="ann", now=world.clock.now()
    )
    world.figures.add(1, 0)
    world.jobs.answers.run()
    assert world.figures.asked[-1][2] == Secret("t0ken-of-prom")
    assert shown(world)["figures"]["problem"] == ""


def test_without_one_it_says_that_health_alone_is_watched(begun):
    world = begun(config(""))
    found = shown(world)["figures"]
    assert (found["source"], found["problem"], found["text"]) == ("", "", HEALTH_ALONE)
    [line] = doctor(world)
    assert line["ok"]
    assert HEALTH_ALONE in line["text"]


def test_a_change_of_the_key_is_in_force_at_once(begun):
    world = begun(config())
    serve(world, 500, 5, looks=2)
    world.configure(config(METRICS.replace("prometheus.example", "other.example")))
    world.jobs.answers.run()
    assert shown(world)["answers"]["requests"] == 1000
    serve(world, 500, 5, looks=1)
    assert shown(world)["answers"]["requests"] == 1500
