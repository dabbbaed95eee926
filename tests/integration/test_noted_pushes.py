"""What the keeper takes for a push, on the real git server: pushes that were noted, and nothing that an edit of
pipelines.yaml turns into a head."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import docker
from tests.support.developer import web
from tests.support.service import Service, descendants, running
from tests.support.waiting import until

CONFIG = """
pipelines:
  shop: {service: {memory: 128MiB, stop: 1s}, environments: {live: }}
"""


@pytest.fixture(scope="module")
def service(docker_client: docker.DockerClient, base_images: None) -> Iterator[Service]:
    with running(docker_client, CONFIG) as one:
        yield one


def notes(service: Service) -> list[Path]:
    return list((service.data / "git" / "shop.git" / "pushes").glob("[!.]*"))


def undeployed(service: Service, pipeline: str = "shop") -> dict[str, str] | None:
    entry = service.ask("GET", f"/api/status?pipeline={pipeline}")["pipelines"][0]
    return entry["undeployed"]  # type: ignore[no-any-return]


def test_a_push_that_is_recorded_leaves_no_note(service: Service) -> None:
    service.push(web("version 1"), "The first", "shop")
    assert service.page(name="shop") == "version 1\n"
    assert notes(service) == []


def test_an_edit_of_the_file_deploys_nothing_and_status_says_what_would(service: Service) -> None:
    clone = service.repository("shop")
    draft = clone.commit(web("a draft"), "A draft")
    clone.git("push", "-q", "pushlive", "HEAD:refs/heads/draft")
    clone.git("reset", "-q", "--hard", "HEAD~1")
    added = (
        "  copy: {source: {repository: shop}, service: {memory: 128MiB, stop: 1s}, environments: {live: }}\n"
    )
    edited = CONFIG.replace("shop: {", "shop: {source: {branch: draft}, ") + added
    service.config.write_text(edited)
    until(lambda: (found := undeployed(service)) and found["commit"] == draft, 30)
    until(lambda: undeployed(service, "copy"), 30)  # so the keeper has seen both heads
    assert (len(service.runs("shop")), service.runs("copy")) == (1, [])
    assert service.page(name="shop") == "version 1\n"
    command = f"pushlive deploy shop --commit {draft[:7]}"
    assert command in service.pushlive("status", "shop").out
    service.pushlive(*command.split()[1:])
    assert service.wait("shop#2")["outcome"] == "live"
    until(lambda: undeployed(service) is None, 30)
    service.config.write_text(CONFIG)


def test_fault_56_a_push_whose_report_was_lost_is_found_with_its_pusher(service: Service) -> None:
    hook = service.data / "hooks" / "post-receive"
    report = hook.read_text()
    hook.write_text("#!/bin/sh\nexit 0\n")  # git has moved the ref, and the service hears nothing of it
    try:
        service.push(web("not reported"), "Not reported", "shop")
    finally:
        hook.write_text(report)
    until(lambda: service.page(name="shop") == "not reported\n", 60)
    run = service.wait("shop")
    assert (run["outcome"], run["message"], run["pusher"]) == ("live", "Not reported", "first")
    until(lambda: notes(service) == [], 30)


def test_fault_56_a_kill_between_the_ref_and_the_record_loses_no_push(service: Service) -> None:
    clone = service.repository("shop")
    commit = clone.commit(web("after the kill"), "After the kill")
    assert service.process
    everything = [*descendants(service.process.pid), service.process.pid]
    hook = service.data / "hooks" / "post-receive"
    kill = " ".join(str(pid) for pid in everything)
    hook.write_text(f"#!/bin/sh\nkill -STOP {service.process.pid}; kill -KILL {kill}\n")
    clone.started("push", "pushlive", "main").communicate(timeout=60)
    service.process.wait(10)
    assert len(notes(service)) == 1
    service.up()  # writes its own hooks again
    until(lambda: service.page(name="shop") == "after the kill\n", 60)
    assert service.run("shop")["commit"] == commit
    until(lambda: notes(service) == [], 30)
    assert sum(run["commit"] == commit for run in service.runs("shop")) == 1


def test_a_push_that_cannot_be_noted_changes_nothing(service: Service) -> None:
    clone = service.repository("shop")
    folder = service.data / "git" / "shop.git" / "pushes"
    aside = folder.rename(folder.with_name("aside"))
    folder.write_text("in the way")
    try:
        before = clone.git("ls-remote", "pushlive", "main").split()[0]
        clone.commit(web("refused"), "Refused")
        pushing = clone.started("push", "pushlive", "main")
        said, _ = pushing.communicate(timeout=60)
        assert pushing.returncode
        assert "Pushlive cannot note this push (File exists), so nothing was pushed." in said
        assert clone.git("ls-remote", "pushlive", "main").split()[0] == before
    finally:
        folder.unlink()
        aside.rename(folder)
    clone.git("push", "-q", "pushlive", "main")
    until(lambda: service.page(name="shop") == "refused\n", 60)
