"""Promotion, automatic or by a person, through any number of environments."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import docker
from tests.support.developer import web
from tests.support.service import Service, running
from tests.support.waiting import until

CONFIG = """
pipelines:
  gated:
    service: {memory: 128MiB, stop: 1s}
    environments: {dev: , qa: {promote: manual}, live: {promote: manual}}
  one:
    service: {memory: 128MiB, stop: 1s}
    environments: {production: }
  kept:
    service: {memory: 128MiB, stop: 1s}
    environments: {live: }
  five:
    service: {memory: 16MiB, stop: 1s}
    environments: {alpha: , beta: , gamma-2: , shadow: , world: {bake: 0}}
"""


@pytest.fixture(scope="module")
def service(docker_client: docker.DockerClient, base_images: None) -> Iterator[Service]:
    with running(docker_client, CONFIG) as one:
        yield one


def test_a_push_goes_through_a_single_environment(service: Service) -> None:
    service.push(web(), "One", "one")
    assert service.releases("one") == {"production": 1}


def test_a_push_goes_through_five_environments_in_order(service: Service) -> None:
    service.push(web(), "Five", "five")
    names = ["alpha", "beta", "gamma-2", "shadow", "world"]
    assert service.releases("five") == dict.fromkeys(names, 1)
    steps = [step for step in service.run("five")["steps"] if step["step"] == "switch"]
    assert [step["stage"] for step in steps] == names


def test_a_manual_gate_admits_only_the_release_that_was_shown(service: Service) -> None:
    said = service.push(web("version 1"), "Wanted", "gated")
    assert (
        "waits before qa: promotion to qa is manual. To continue with r1: `pushlive promote 'gated#" in said
    )
    assert service.releases("gated") == {"dev": 1, "qa": None, "live": None}
    status = service.ask("GET", "/api/status?pipeline=gated")["pipelines"][0]["waiting"]
    assert (status["id"], status["gate"], status["release"]) == ("gated#1", "qa", 1)
    code, answer = service.api("POST", "/api/pipelines/gated/promote", {"release": 2})
    assert code == 409
    assert answer["error"] == "r1 waits before qa now, not r2."
    code, answer = service.api("POST", "/api/pipelines/gated/promote", {"environment": "live"})
    assert code == 409
    assert service.releases("gated")["qa"] is None
    done = service.pushlive("promote", "gated", code=7)  # to qa, and then it waits before live
    assert "gated#1 → qa: r1" in done.text
    assert "waits before live" in done.text
    service.pushlive("promote", "gated#1")
    assert service.releases("gated") == {"dev": 1, "qa": 1, "live": 1}
    assert service.run("gated")["promoted"] == ["qa", "live"]
    assert "r1 promoted to live by first" in service.pushlive("follow", "gated#1").out


def test_a_gate_that_is_added_holds_a_run_on_its_way(service: Service) -> None:
    before = service.releases("one")["production"]
    service.pushlive("hold", "one")
    service.push(web("version 2"), "Two", "one")  # waits at the hold
    text = service.config.read_text()
    service.config.write_text(text.replace("{production: }", "{production: {promote: manual}}"))
    assert "still waits for a promotion" in service.pushlive("resume", "one").text
    assert service.releases("one")["production"] == before
    service.pushlive("promote", "one")
    assert service.releases("one")["production"] != before
    service.config.write_text(text)


def test_promote_is_refused_if_no_run_waits(service: Service) -> None:
    assert "no run of gated is waiting at a gate" in service.pushlive("promote", "gated", code=3).err
    assert service.api("POST", "/api/pipelines/gated/promote", {})[0] == 409
    assert "one#1 is not waiting at a gate; it is live" in service.pushlive("promote", "one#1", code=3).err


def test_a_newer_run_supersedes_the_one_at_the_gate_only_when_it_arrives_there(service: Service) -> None:
    service.push(web("version 2"), "Two", "gated")
    service.push(web(command="exit 1"), "Broken", "gated")  # fails in dev: takes nothing away from run 2
    assert service.run("gated#3")["outcome"] == "failed"
    assert service.run("gated#2")["state"] == "waiting"
    service.push(web("version 3"), "Three", "gated")
    assert service.run("gated#4")["state"] == "waiting"
    older = service.run("gated#2")
    assert (older["outcome"], older["reason"]) == ("superseded", "gated#4 waits before qa instead")
    assert service.api("POST", "/api/pipelines/gated/promote", {"run": 2, "release": 2})[0] == 409


def test_a_run_at_a_gate_can_be_cancelled(service: Service) -> None:
    service.pushlive("cancel", "gated#4")
    assert service.run("gated#4")["outcome"] == "cancelled"
    assert service.releases("gated")["qa"] == 1
    service.pushlive("promote", "gated", code=3)


def test_a_run_waits_at_its_gate_over_a_restart_of_the_service(service: Service) -> None:
    service.push(web("version 4"), "Four", "gated")
    run = service.run("gated")["id"]
    service.end()
    service.up()
    assert service.run(run)["state"] == "waiting"
    service.pushlive("promote", run, code=7)
    until(lambda: service.releases("gated")["qa"] == service.run(run)["release"])
    service.pushlive("cancel", run)


def test_a_release_that_qa_took_back_is_not_promoted_to_live(service: Service) -> None:
    for text in ("version 5", "version 6"):
        service.push(web(text), text, "gated")
        service.pushlive("promote", service.run("gated")["id"], code=7)  # to qa
    run, released = service.run("gated")["id"], service.releases("gated")
    assert service.run(run)["gate"] == "live"
    service.pushlive("revert", "gated", "--env", "qa", "--reason", "wrong prices")
    why = f"r{released['qa']} was taken back in qa by first: wrong prices"
    assert why in service.pushlive("promote", "gated", code=3).err
    assert why in service.pushlive("status", "gated").out
    assert why in service.pushlive("show", run).out
    assert service.releases("gated")["live"] == released["live"]
    service.pushlive("promote", run, "--force", "--reason", "the prices are live's own")
    assert service.releases("gated")["live"] == released["qa"]
    assert "the prices are live's own" in service.pushlive("audit", "gated").out


def test_a_push_waits_for_the_end_of_a_freeze_and_goes_on_by_itself(service: Service) -> None:
    service.push(web("version 1"), "One", "kept")
    said = service.pushlive("freeze", "kept", "live", "--reason", "a launch", "--for", "2h").text
    assert "kept/live is frozen until" in said
    pushed = service.push(web("version 2"), "Two", "kept")
    assert "waits before live: live is frozen until" in pushed
    assert "a launch (by first). Then r2 continues by itself" in pushed
    assert "live is frozen until" in service.pushlive("status", "kept").out
    assert service.api("POST", "/api/pipelines/kept/promote", {})[0] == 409
    assert service.releases("kept") == {"live": 1}
    assert (
        "kept#2 (r2) continues to live" in service.pushlive("thaw", "kept", "live", "--reason", "done").text
    )
    until(lambda: service.releases("kept") == {"live": 2}, 90)
    assert "live is no longer frozen: r2 continues" in service.pushlive("follow", "kept#2").out


def test_two_people_beside_the_one_who_pushed_let_a_run_in(service: Service) -> None:
    text = service.config.read_text()
    rule = "{promote: {manual: true, approvals: 2, not_by_pusher: true}}"
    service.config.write_text(text.replace("{live: }", f"{{live: {rule}}}"))
    ben, cat = (service.pushlive("token", "create", name).out.strip() for name in ("ben", "cat"))
    before = service.releases("kept")["live"]
    said = service.push(web("version 3"), "Three", "kept")
    assert "0 of 2 approvals; first, who pushed, cannot give one" in said
    refused = service.pushlive("promote", "kept", code=None).text
    assert "first pushed kept#" in refused
    assert "and so cannot let it into live" in refused
    assert "1 of 2 approvals (ben)" in service.pushlive("promote", "kept", code=7, PUSHLIVE_TOKEN=ben).text
    assert service.releases("kept")["live"] == before
    assert "1 of 2 approvals (ben)" in service.pushlive("status", "kept").out
    service.pushlive("promote", "kept", PUSHLIVE_TOKEN=cat)
    assert service.releases("kept")["live"] != before
    service.config.write_text(text)
