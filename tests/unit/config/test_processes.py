"""`processes`: what an environment inherits and changes, and what is refused."""

from __future__ import annotations

import pytest

from pipeline.config.diff import plan
from pipeline.config.fields import hashed
from pipeline.config.loading import load, problems, show
from pipeline.config.models import Service
from pipeline.config.workload.processes import Process
from tests.unit.config.texts import edited

TEXT = """\
pipelines:
  shop:
    registry: r.example/shop
    service:
      replicas: 2
      processes:
        worker: {command: [./worker], replicas: 3, stop: 60s}
        beat: {command: [./beat], one: true}
    environments:
      dev:
        processes: {worker: {replicas: 0}, debug: {command: [./debug]}}
      live:
        processes:
          worker: {replicas: 4}
"""


def test_an_environment_changes_single_keys_and_adds_processes() -> None:
    shop = load(TEXT).pipelines["shop"]
    dev, live = shop.render("dev").service, shop.render("live").service
    assert list(dev.processes_in_use) == ["beat", "debug"]
    assert live.processes["worker"] == Process(command=("./worker",), replicas=4, stop=60.0)
    assert live.processes["beat"] == shop.service.processes["beat"]


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        (
            "{command: [./debug]}",
            "{}",
            "11: pipelines.shop.environments.dev.processes.debug: `command` is missing: for example "
            "`command: [./worker]`. The processes under service are worker, beat",
        ),
        (
            "one: true",
            "one: true, replicas: 2",
            "8: pipelines.shop.service.processes.beat.replicas: is more than 1, and `one: true`",
        ),
        (
            "{replicas: 4}",
            "{replicas: 10}",
            "14: pipelines.shop.environments.live.processes: 13 containers with the web replicas",
        ),
        (
            "beat:",
            "web:",
            "8: pipelines.shop.service.processes.web: 'web' is the name of the process that takes",
        ),
    ],
)
def test_what_cannot_run_is_refused_with_its_line(old: str, new: str, line: str) -> None:
    found = [show(one) for one in problems(edited(TEXT, old, new))]
    assert any(line in one for one in found), found


def test_a_change_of_a_process_is_one_line_for_each_key() -> None:
    after = edited(edited(TEXT, "{replicas: 4}", "{replicas: 5, stop: 5s}"), "one: true", "settle: 1m")
    assert plan(load(TEXT), load(after)) == {
        "shop": {
            "dev": ("processes beat one: true → false", "processes beat settle: 5s → 1m"),
            "live": (
                "processes worker replicas: 4 → 5",
                "processes worker stop: 1m → 5s",
                "processes beat one: true → false",
                "processes beat settle: 5s → 1m",
            ),
        }
    }


def test_only_the_keys_that_are_set_are_in_the_fingerprint() -> None:
    """So that a key that is added to processes later changes no release."""
    assert hashed(Service(processes={"w": Process(command=("a",))}))["processes"] == {"w": {"command": ["a"]}}


# ── without a web process ────────────────────────────────────────────────────

ALONE = """\
pipelines:
  shop:
    service:
      web: false
      processes: {worker: {command: [./worker]}}
    smoke: [{run: [./check]}]
    environments:
      dev:
      live:
"""


def test_a_pipeline_without_a_web_process_has_no_replicas_of_it_and_no_other_fingerprint_changes() -> None:
    service = load(ALONE).pipelines["shop"].render("live").service
    assert (service.web, service.web_replicas, Service().web_replicas) == (False, 0, 1)
    assert "web" not in hashed(Service())
    assert hashed(service)["web"] is False


@pytest.mark.parametrize(
    ("old", "new", "path", "message"),
    [
        ("web: false", "web: false\n      health: /healthz", "service.health", "nothing answers requests"),
        ("web: false", "web: false\n      replicas: 2", "service.replicas", "those of the web process"),
        ("live:", "live: {host: shop.example.com}", "environments.live.host", "nothing takes requests"),
        ("{run: [./check]}", "{get: /}", "smoke[0]", "write a `run` check"),
        ("live:", "live: {smoke: [{tcp: 80}]}", "environments.live.smoke[0]", "write a `run` check"),
        ("live:", "live: {processes: {worker: {replicas: 0}}}", "environments.live", "nothing would run"),
    ],
)
def test_what_makes_no_sense_without_a_web_process_is_refused_with_the_reason(
    old: str, new: str, path: str, message: str
) -> None:
    found = problems(edited(ALONE, old, new))
    assert [one.path for one in found] == [f"pipelines.shop.{path}"]
    assert message in found[0].message


def test_one_environment_alone_may_have_no_web_process() -> None:
    text = edited(ALONE, "      web: false\n", "      health: /healthz\n")
    assert not problems(edited(text, "live:", "live: {web: false}"))
    asks = edited(edited(text, "{run: [./check]}", "{get: /}"), "live:", "live: {web: false}")
    assert "`smoke: []`" in next(one.message for one in problems(asks))


def test_a_web_process_that_goes_is_planned() -> None:
    before = load(edited(ALONE, "      web: false\n", ""))
    assert "web: true → false" in " ".join(plan(before, load(ALONE))["shop"]["live"])
