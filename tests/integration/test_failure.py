"""A failure is explained in one card, and its container is kept for a while."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

import docker
from tests.support.developer import web
from tests.support.service import Service, running
from tests.support.waiting import until

CONFIG = """
pipelines:
  hello:
    service: {{memory: 128MiB, stop: 1s, ready: 2s, env: {{GREETING: {greeting}}}}}
    environments: {{dev: , live: }}
  migrated:
    service: {{memory: 128MiB, stop: 1s, release: [sh, -c, "echo migrating; cat /migration"]}}
    environments: {{live: }}
"""
CRASH = "echo starting; echo 'database: connection refused'; exit 42"


@pytest.fixture(scope="module")
def service(docker_client: docker.DockerClient, base_images: None) -> Iterator[Service]:
    with running(docker_client, CONFIG.format(greeting="hello"), PUSHLIVE_FAILED_FOR="8s") as one:
        one.push(web("version 1"), "The good one")
        yield one


def test_the_card_of_a_crash_has_evidence_differences_and_advice(service: Service) -> None:
    service.config.write_text(CONFIG.format(greeting="goodbye"))
    said = service.push(web(command=CRASH), "The bad one")
    card = [line.removeprefix("remote: ").rstrip() for line in said.splitlines() if "remote:" in line]
    card = card[next(n for n, line in enumerate(card) if line.startswith("┌─")) :]
    assert card[0] == "┌─ dev/start failed · the application"
    assert card[-1] == "└─"
    text = "\n".join(card)
    assert "it exited with code 42" in card[1]
    assert "│ exit code 42" in card
    assert card.index("│ starting") < card.index("│ database: connection refused")
    good, bad = service.run("hello#1")["short"], service.run("hello#2")["short"]
    assert f"│ commit {good} → {bad}  The bad one" in card
    assert "│ image r1 → r2" in card
    assert "│ env GREETING: 'hello' → 'goodbye'" in card
    assert "├─ next" in card
    assert service.pushlive("follow", "hello#2", code=1).out.count("┌─") == 1
    for line in ("exited with code 42", "database: connection refused", "GREETING"):
        assert line in service.pushlive("show", "hello#2").out
    assert "live" not in text.partition("├─ differs")[0]
    assert service.releases() == {"dev": 1, "live": 1}


def test_a_failed_container_is_kept_and_then_removed(service: Service) -> None:
    service.push(web(command=CRASH + "; echo again"), "Bad again")
    release = str(service.run()["release"])
    (failed,) = service.containers(environment="dev", release=release)
    assert failed["State"]["ExitCode"] == 42
    assert (
        service.environments()["dev"]["slots"][failed["Config"]["Labels"]["pushlive.slot"]]["state"]
        == "failed"
    )
    until(lambda: not service.containers(environment="dev", release=release), 25)
    assert service.releases() == {"dev": 1, "live": 1}
    assert service.page("dev") == "version 1\n"


def test_the_answer_of_a_failing_health_path_is_shown(service: Service) -> None:
    said = service.push({**web(), "www/index.html": None, "www/other.html": "no index"}, "No page")
    assert "GET / answered 404" in said
    assert "┌─ dev/start failed · the application" in said
    command = said.partition("├─ next")[2].partition("`pushlive ")[2].partition("`")[0]
    shown = service.pushlive(*command.split()).out
    assert "── dev r" in shown
    assert ", failed)" in shown
    assert "── live" not in shown


def test_a_failed_release_works_on_no_more_and_its_output_and_files_stay(
    service: Service, docker_client: docker.DockerClient
) -> None:
    """What a worker in it would take from a queue, the release that serves never gets."""
    command = "trap 'echo stopped; exit 0' TERM; echo vote >/votes; while :; do sleep 0.05; done"
    service.push(web(command=command), "It answers nothing")
    (failed,) = service.containers(environment="dev", release=str(service.run()["release"]))
    assert (failed["State"]["Status"], failed["State"]["ExitCode"]) == ("exited", 0)
    assert "stopped" in service.pushlive("logs", "hello", "--app", "--env", "dev").out.splitlines()
    stream, _ = docker_client.api.get_archive(failed["Id"], "/votes")
    assert b"vote" in b"".join(stream)


def test_running_out_of_memory_is_named(service: Service) -> None:
    """By the words for a kill where the Engine did not hear of the reason: both name the key."""
    said = service.push(web(command="echo filling; tail /dev/zero"), "Too hungry")
    assert "it was killed" in said
    assert "(exit code 137)" in said
    assert re.search("[Rr]aise `memory` in pipelines.yaml", said), said


def test_the_last_lines_of_a_failing_release_command_are_shown(service: Service) -> None:
    said = service.push(web(), "No migration", "migrated")
    assert "┌─ live/release failed · the application" in said
    assert "│ migrating" in said
    assert "cat: can't open '/migration'" in said
    assert service.containers("migrated") == []


def test_fault_29_a_failure_in_dev_leaves_live_untouched(service: Service) -> None:
    runs = service.runs()
    assert {run["outcome"] for run in runs[1:]} == {"failed"}
    assert not any(step["stage"] == "live" for run in runs[1:] for step in run["steps"])
    assert service.page() == "version 1\n"
