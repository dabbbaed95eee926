"""Reverts to the previous good release, warm and cold, and what keeps the bad one out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import docker
from tests.support.developer import web
from tests.support.service import Service, running
from tests.support.waiting import until

CONFIG = """
pipelines:
  hello:
    service: {{memory: 128MiB, stop: 1s, env: {{GREETING: {greeting}}}}}
    smoke: [{{get: "/?{greeting}"}}]
    environments: {{dev: , live: }}
  brief:
    service: {{memory: 128MiB, stop: 1s, keep_warm: 0s, drain: 1s}}
    environments: {{live: }}
  slow:
    service: {{memory: 128MiB, stop: 1s}}
    smoke: [{{run: [sh, -c, 'sleep "$SLEEP"']}}]
    environments: {{live: {{env: {{SLEEP: "{sleep}"}}}}}}
  twice:
    service: {{memory: 128MiB, stop: 1s}}
    environments: {{live: }}
  empty:
    environments: {{live: }}
"""


@pytest.fixture(scope="module")
def service(docker_client: docker.DockerClient, base_images: None) -> Iterator[Service]:
    with running(docker_client, CONFIG.format(greeting="hello", sleep="0")) as one:
        one.push(web("version 1"), "One")
        one.push(web("version 2"), "Two")
        yield one


def live(service: Service, name: str = "hello") -> dict[str, Any]:
    return service.environments(name)["live"]


def start_step(run: dict[str, Any]) -> str:
    return next(str(step["detail"]) for step in run["steps"] if step["step"] == "start")


def started(service: Service) -> set[tuple[str, str]]:
    return {(one["Id"], one["State"]["StartedAt"]) for one in service.containers()}


def test_a_warm_revert_is_one_switch(service: Service) -> None:
    before = started(service)
    assert live(service)["revert"]["text"] == "revert ready: r1, warm"
    done = service.pushlive("revert", "hello", "--reason", "we liked the first one better")
    assert "hello#3 reverted in" in done.text
    assert service.page() == "version 1\n"
    assert service.page("dev") == "version 2\n"
    run = service.run("hello#3")
    assert (run["kind"], run["outcome"], run["release"]) == ("revert", "live", 1)
    assert start_step(run).endswith("warm")
    assert started(service) == before  # nothing was started, nothing stopped
    assert live(service)["hold"]["reason"] == "we liked the first one better"
    assert live(service)["quarantine"] == [{"release": 2, "reason": "we liked the first one better"}]
    assert "we liked the first one better" in service.pushlive("status").out


def test_a_revert_without_an_earlier_release_is_refused(service: Service) -> None:
    assert not live(service)["revert"]["ready"]
    done = service.pushlive("revert", "hello", code=3)
    assert "there is no earlier good release to revert to" in done.err
    assert "nothing was deployed to empty/live yet" in service.pushlive("revert", "empty", code=3).err
    assert service.page() == "version 1\n"


def test_a_hold_stops_the_next_push_before_live_until_it_is_resumed(service: Service) -> None:
    said = service.push(web("version 3"), "Three")
    assert "waits before live: live is held: we liked the first one better" in said
    assert "pushlive resume hello --env live" in said
    assert service.releases() == {"dev": 3, "live": 1}
    assert "is held" in service.pushlive("promote", "hello", code=3).err
    done = service.pushlive("resume", "hello")
    assert "hello#4 (r3) continues to live" in done.text
    assert service.wait("hello#4")["outcome"] == "live"
    assert live(service)["hold"] is None
    assert service.page() == "version 3\n"


def test_a_reverted_release_stays_in_quarantine_until_it_is_released_by_name(service: Service) -> None:
    done = service.pushlive("deploy", "hello", "--release", "r2", code=1)
    assert "which is in quarantine in live: we liked the first one better" in done.text
    assert "pushlive unquarantine hello r2" in done.text
    said = service.push(web("version 2"), "The same tree again")  # another release of the same image
    assert "which is in quarantine in live" in said
    assert live(service)["release"] == 3
    assert "r99 is not in quarantine" in service.pushlive("unquarantine", "hello", "r99", code=4).err
    service.pushlive("unquarantine", "hello", "r2")
    assert live(service)["quarantine"] == []
    service.pushlive("deploy", "hello", "--release", "r2")
    assert service.page() == "version 2\n"


def test_the_second_of_two_people_who_revert_is_told_who_did_it(service: Service) -> None:
    for number in (1, 2, 3):
        service.push(web(f"twice {number}"), f"Version {number}", "twice")
    service.pushlive("revert", "twice#3")
    second = service.pushlive("token", "create", "bo").out.split()[-1]
    refused = service.pushlive("revert", "twice", code=3, PUSHLIVE_TOKEN=second)
    assert "live was just reverted to r2 by first, " in refused.err
    assert "`pushlive revert twice --env live --to r1`" in refused.err
    for words in (["twice#3"], ["twice", "--from", "r3"]):
        refused = service.pushlive("revert", *words, code=3, PUSHLIVE_TOKEN=second)
        assert "it serves r2 (" in refused.err
    status, answer = service.api("POST", "/api/pipelines/twice/revert", {"from": 3})
    assert (status, "does not serve r3" in answer["error"]) == (409, True)
    assert (service.releases("twice"), len(service.runs("twice"))) == ({"live": 2}, 4)
    service.pushlive("revert", "twice", "--env", "live", "--to", "r1", PUSHLIVE_TOKEN=second)
    assert service.page(name="twice") == "twice 1\n"


def test_a_revert_to_a_named_release_starts_its_kept_image(service: Service) -> None:
    service.pushlive("revert", "hello", "--to", "r1")
    run = service.run()
    assert (run["kind"], run["release"]) == ("revert", 1)
    assert start_step(run).endswith("new")  # the warm slot held r3
    assert service.page() == "version 1\n"
    assert "already serves r1" in service.pushlive("revert", "hello", "--to", "r1", code=3).err
    assert service.pushlive("revert", "hello", "--to", "r77", code=4).err
    service.pushlive("resume", "hello")


def test_a_revert_restores_the_configuration_and_checks_of_its_release(service: Service) -> None:
    service.push(web("version 5"), "Five")
    service.config.write_text(CONFIG.format(greeting="goodbye", sleep="0"))
    service.push(web("version 6"), "Six")
    (active,) = [one for one in service.containers() if env_of(one)["GREETING"] == "goodbye"]
    assert env_of(active)["PUSHLIVE_RELEASE"] == f"r{live(service)['release']}"
    service.pushlive("revert", "hello")
    run = service.run()
    assert service.page() == "version 5\n"
    assert [c["asked"] for c in run["checks"]["live"] if "?" in c["asked"]] == ["GET /?hello"]
    release = service.show()["release"]
    assert release["environments"]["live"]["service"]["env"] == {"GREETING": "hello"}
    service.pushlive("resume", "hello")


def test_a_reverted_configuration_that_comes_back_is_named(service: Service) -> None:
    service.pushlive("hold", "hello", "--reason", "a look first")
    said = service.push(web("version 7"), "Seven")  # pipelines.yaml still says goodbye
    comes_back = "env GREETING: 'hello' → 'goodbye'"
    assert "brings back to live what r" in said
    assert comes_back in said
    assert comes_back in service.pushlive("status", "hello").out
    assert comes_back in service.pushlive("resume", "hello").text
    assert service.wait("hello")["outcome"] == "live"
    service.config.write_text(CONFIG.format(greeting="hello", sleep="0"))
    service.push(web("version 8"), "Eight")
    (service.folder / "sent.yaml").write_text(CONFIG.format(greeting="moin", sleep="0"))
    sent = service.pushlive("deploy", "hello", "--config", "sent.yaml")
    assert "the next push undoes this configuration, unless pipelines.yaml has it by then" in sent.text
    said = service.push(web("version 9"), "Nine")
    assert (
        f"undoes in live what {service.runs('hello')[-2]['id']} brought with `deploy --config` by first"
        in said
    )
    assert "env GREETING: 'moin' → 'hello'" in said


def env_of(container: dict[str, Any]) -> dict[str, str]:
    return dict(entry.split("=", 1) for entry in container["Config"]["Env"])


def test_a_cold_revert_starts_the_kept_image(service: Service) -> None:
    service.push(web("version 1"), "One", "brief")
    service.push(web("version 2"), "Two", "brief")
    until(lambda: len(live(service, "brief")["slots"]) == 1, 20)  # kept warm no longer
    assert len(service.containers("brief")) == 1
    assert live(service, "brief")["revert"]["text"].startswith("revert ready: r1, cold, about ")
    service.pushlive("revert", "brief")
    assert start_step(service.run("brief")).endswith("new")
    assert service.page(name="brief") == "version 1\n"


def test_fault_36_a_missing_image_is_known_before_and_refused_at_once(service: Service) -> None:
    service.pushlive("resume", "brief")
    service.push(web("version 3"), "Three", "brief")
    until(lambda: len(live(service, "brief")["slots"]) == 1, 20)
    (image,) = {one["Image"] for one in service.containers("brief")}
    for name in ("r1", "r2"):
        service.engine.remove_image(service_image(service, "brief", name), force=True)
    until(lambda: not live(service, "brief")["revert"]["ready"], 20)
    assert live(service, "brief")["revert"]["text"] == "not ready: the image of r1 is gone"
    assert "the image of r1 is gone" in service.pushlive("status", "brief").out
    runs = len(service.runs("brief"))
    assert "the image of r1 is no longer on the Engine" in service.pushlive("revert", "brief", code=3).err
    assert len(service.runs("brief")) == runs
    assert service.engine.inspect_image(image)
    assert service.page(name="brief") == "version 3\n"


def service_image(service: Service, pipeline: str, tag: str) -> str:
    return str(service.engine.inspect_image(f"{service.instance}/{pipeline}:{tag}")["Id"])


def test_fault_36_a_revert_during_a_deploy_wins(service: Service) -> None:
    service.push(web("version 1"), "One", "slow")
    service.push(web("version 2"), "Two", "slow")
    service.config.write_text(CONFIG.format(greeting="goodbye", sleep="20"))
    clone = service.repository("slow")
    clone.commit(web("version 3"), "Three")
    pushing = clone.started("push", "pushlive", "main")
    until(lambda: len(service.runs("slow")) == 3, 30)
    until(lambda: any(step["step"] == "start" for step in service.run("slow#3")["steps"]), 30)
    refused = service.pushlive("revert", "slow", code=3)  # it would take the good release away
    assert "slow#3 (r3) is at work in live and does not serve: live serves r2 (" in refused.err
    assert "To take r2 back as well: `pushlive revert slow --env live --to r1`" in refused.err
    assert service.run("slow")["id"] == "slow#3"
    service.pushlive("revert", "slow", "--env", "live", "--to", "r1")
    out, _ = pushing.communicate(timeout=30)
    deploy, revert = service.wait("slow#3"), service.run("slow#4")
    assert (revert["kind"], revert["outcome"]) == ("revert", "live")
    assert deploy["outcome"] == "cancelled"
    assert "slow#4 reverts live; it takes precedence over slow#3" in out
    assert service.page(name="slow") == "version 1\n"
    assert live(service, "slow")["hold"]
