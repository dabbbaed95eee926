"""Receiving a push, from the built-in git server and by webhooks."""

from __future__ import annotations

import hashlib
import os
import signal
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

import docker
from tests.support.developer import web
from tests.support.remote_repository import RemoteRepository
from tests.support.service import Service, running
from tests.support.waiting import until

CONFIG = """
pipelines:
  hello: {service: {memory: 128MiB, stop: 1s}, environments: {live: }}
  gated: {service: {memory: 128MiB, stop: 1s}, environments: {live: {promote: manual}}}
  slow:
    service: {memory: 128MiB, stop: 1s}
    smoke: [{run: [sleep, "5"]}]
    environments: {live: }
  away:
    source: {url: "file://FOLDER/away.git"}
    service: {memory: 128MiB, stop: 1s}
    environments: {live: }
  burst:
    source: {url: "file://FOLDER/burst.git"}
    service: {memory: 128MiB, stop: 1s}
    environments: {live: }
"""


@pytest.fixture(scope="module")
def service(docker_client: docker.DockerClient, base_images: None) -> Iterator[Service]:
    with running(docker_client, CONFIG, PUSHLIVE_GIT_ALLOW="file://FOLDER/") as one:
        yield one


@pytest.fixture(scope="module")
def away(service: Service) -> RemoteRepository:
    return RemoteRepository(service, "away")


# ── (a) the built-in git server ──────────────────────────────────────────────


def test_a_push_streams_its_stages_and_ends_with_the_revert_command(service: Service) -> None:
    first = service.push(web("version 1"), "The first")
    assert "nothing to revert to yet" in first
    assert "pushlive revert" not in first
    said = service.push(web("version 2"), "The second")
    remote = [line.removeprefix("remote: ").rstrip() for line in said.splitlines() if "remote:" in line]
    told = [line.split()[0] for line in remote if line]
    assert told.index("hello#2") < told.index("build") < told.index("live")
    assert any(line.startswith("live ") and "start" in line and "4:5" in line for line in remote)
    assert any(line.startswith("hello#2 is live: r2 ") for line in remote)
    assert remote[-1] == "to go back to r1: `pushlive revert hello`"
    assert service.page() == "version 2\n"


def test_ctrl_c_detaches_and_the_run_continues(service: Service) -> None:
    clone = service.repository("slow")
    clone.commit(web(), "Slow to check")
    pushing = clone.started("push", "pushlive", "main")
    assert pushing.stdout
    assert any("slow#1 accepted" in line for line in pushing.stdout)
    os.killpg(pushing.pid, signal.SIGINT)
    pushing.communicate(timeout=10)
    assert service.run("slow")["state"] != "ended"
    assert service.wait("slow#1")["outcome"] == "live"
    assert service.page(name="slow") == "version 1\n"


def test_a_push_to_another_branch_says_what_to_push(service: Service) -> None:
    clone = service.repository("hello")
    clone.commit({"www/index.html": "a feature\n"}, "A feature")
    runs = len(service.runs())
    said = clone.git("push", "pushlive", "HEAD:refs/heads/feature")
    assert "feature is stored but not deployed" in said
    assert "git push REMOTE feature:main" in said
    assert "A tag" not in said
    assert "Only branches are deployed" in clone.git("push", "pushlive", "HEAD:refs/tags/v1")
    assert "was deleted" in clone.git("push", "pushlive", ":refs/heads/feature")
    assert len(service.runs()) == runs


def test_a_push_may_ask_not_to_be_deployed(service: Service, away: RemoteRepository) -> None:
    clone = service.repository("hello")
    service.push(web("seen"), "Seen")
    for message, options in (("Docs [ci skip]", ()), ("Docs", ("-o", "ci.skip"))):
        commit = clone.commit({"www/index.html": "skipped\n"}, message)
        said = clone.git("push", *options, "pushlive", "main")
        run = service.run()
        assert (run["commit"], run["outcome"]) == (commit, "ignored")
        assert f"{run['id']} ignored: {run['reason']}" in said
        assert f"pushlive deploy hello --commit {commit[:7]}" in said
    assert service.page() == "seen\n"
    service.pushlive("deploy", "hello", "--commit", commit[:7])
    assert service.page() == "skipped\n"
    message = "Docs\n\nOnly these. [skip ci]"
    status, answer = away.deliver(away.push(web("unseen"), message), head_commit={"message": message})
    assert status == 202
    run = service.run(answer["runs"][0])
    assert (run["outcome"], run["reason"]) == ("ignored", "its commit message says [skip ci]")


def test_an_old_commit_with_an_odd_time_zone_is_pushed(service: Service) -> None:
    """Histories that were imported once have such commits, and nobody can correct them."""
    clone = service.repository("hello")
    tree = clone.git("rev-parse", "HEAD^{tree}").strip()
    old = clone.folder / "old"
    old.write_text(f"tree {tree}\nauthor A <a@b> 1 +051800\ncommitter A <a@b> 1 +051800\n\nold\n")
    odd = clone.git("hash-object", "-t", "commit", "-w", "--literally", "old").strip()
    old.unlink()
    joined = clone.git("commit-tree", "-p", "HEAD", "-p", odd, "-m", "Joined", tree).strip()
    clone.git("reset", "-q", "--hard", joined)
    assert "is live" in clone.git("push", "pushlive", "main")


def test_at_a_gate_the_stream_ends_and_says_how_to_promote(service: Service) -> None:
    said = service.push(web(), "To be let in", "gated")
    assert "waits before live" in said
    assert "pushlive promote 'gated#" in said
    assert service.run("gated")["state"] == "waiting"
    assert service.pushlive("follow", "gated#1", code=7).out
    service.pushlive("promote", "gated")
    assert service.page(name="gated") == "version 1\n"


def test_git_says_accepted_and_follow_exits_by_the_result(service: Service) -> None:
    said = service.push(web(command="exit 3"), "Broken")  # git itself ends with 0
    number = service.run()["number"]
    assert f"hello#{number} failed" in said
    assert "exited with code 3" in service.pushlive("follow", f"hello#{number}", code=1).text
    service.pushlive("follow", "hello#1", code=0)
    service.pushlive("follow", "hello#999", code=4)


def test_a_wrong_token_is_refused(service: Service) -> None:
    clone = service.repository("hello")
    bad = clone.started("push", f"http://ann:wrong@{service.listen}/git/hello.git", "main")
    out, _ = bad.communicate(timeout=20)
    assert bad.returncode
    assert "Authentication failed" in out


# ── (b) webhooks ─────────────────────────────────────────────────────────────


def test_a_signed_webhook_goes_live(service: Service, away: RemoteRepository) -> None:
    commit = away.push(web("from elsewhere"), "From elsewhere")
    status, answer = away.deliver(commit)
    assert (status, len(answer["runs"])) == (202, 1)
    run = service.wait(answer["runs"][0])
    assert (run["outcome"], run["commit"], run["pusher"]) == ("live", commit, "ann")
    assert service.page(name="away") == "from elsewhere\n"


def test_an_event_other_than_a_push_to_the_branch_is_ignored_with_a_reason(away: RemoteRepository) -> None:
    commit = away.clone.head
    status, answer = away.deliver(commit, ref="refs/tags/v1")
    assert (status, answer["ignored"]) == (200, "a tag was pushed; only branches are deployed")
    status, answer = away.deliver("0" * 40, deleted=True)
    assert (status, answer["ignored"]) == (200, "a branch was deleted; there is nothing to deploy")
    status, answer = away.deliver(commit, ref="refs/heads/other")
    assert (status, answer["ignored"]) == (200, "this branch is not deployed; deployed branches: main")
    status, answer = away.deliver(commit, repository={"clone_url": "https://example.com/not/ours.git"})
    assert (status, answer["error"]) == (404, "unknown repository")


def test_fault_05_the_same_delivery_a_hundred_times_at_once_makes_one_run(
    service: Service, away: RemoteRepository
) -> None:
    before = len(service.runs("away"))
    commit = away.push(web("once"), "Once")
    delivery = str(uuid.uuid4())
    with ThreadPoolExecutor(25) as pool:
        answers = list(pool.map(lambda _: away.deliver(commit, delivery), range(100)))
    assert {status for status, _ in answers} == {202}
    assert len({tuple(answer["runs"]) for _, answer in answers}) == 1
    service.wait("away")
    assert len(service.runs("away")) == before + 1


def test_fault_06_a_new_delivery_of_the_same_commit_is_coalesced(
    service: Service, away: RemoteRepository
) -> None:
    before = service.wait("away")
    status, answer = away.deliver(away.clone.head)
    assert (status, answer["runs"]) == (202, [before["id"]])
    assert "has this commit already" in answer["notes"][0]


def test_fault_08_deliveries_in_the_wrong_order_end_at_the_head(
    service: Service, away: RemoteRepository
) -> None:
    a = away.push(web("A"), "A")
    b = away.push(web("B"), "B")
    (late,) = away.deliver(b)[1]["runs"]
    service.wait(late)
    (early,) = away.deliver(a)[1]["runs"]
    run = service.wait(early)
    assert run["outcome"] == "superseded"
    assert f"{a[:7]} is no longer the head of main; {b[:7]} is" in run["reason"]
    until(lambda: all(one["state"] == "ended" for one in service.runs("away")), 30)
    assert away.live_at(b)
    assert service.runs("away")[-1]["id"] == early  # the head was live already: no run for it again


def test_fault_08_a_forced_push_to_an_older_commit_goes_live(
    service: Service, away: RemoteRepository
) -> None:
    away.clone.git("reset", "-q", "--hard", "HEAD~1")
    older = away.clone.head
    away.clone.git("push", "-q", "-f", "pushlive", "main")
    (run,) = away.deliver(older, forced=True)[1]["runs"]
    assert service.wait(run)["outcome"] == "live"
    assert away.live_at(older)
    assert service.page(name="away") == "A\n"


def test_a_webhook_that_comes_before_its_commit_is_waited_for(
    service: Service, away: RemoteRepository
) -> None:
    commit = away.clone.commit(web("ahead"), "Ahead")
    delivery = str(uuid.uuid4())
    (run,) = away.deliver(commit, delivery)[1]["runs"]
    until(lambda: f"{commit[:7]} is not in the repository yet" in service.log(run), 30)
    until(lambda: service.run(run)["state"] == "queued")
    assert away.deliver(commit, delivery)[1]["runs"] == [run]
    away.clone.git("push", "-q", "pushlive", "main")
    assert service.wait(run)["outcome"] == "live"
    assert service.page(name="away") == "ahead\n"


def test_fault_09_every_push_of_a_burst_is_kept_and_the_head_goes_live(service: Service) -> None:
    burst = RemoteRepository(service, "burst")
    head = burst.push(web("the last one"), "The last one")
    made_up = [hashlib.sha1(str(n).encode(), usedforsecurity=False).hexdigest() for n in range(150)]
    with ThreadPoolExecutor(15) as pool:
        answers = list(pool.map(burst.deliver, made_up))
    answers.append(burst.deliver(head))
    assert {status for status, _ in answers} == {202}
    kept = {run for _, answer in answers for run in answer["runs"]}
    assert len(kept) == 151
    until(lambda: all(run["state"] == "ended" for run in service.runs("burst")[-60:]), 90)
    until(lambda: burst.live_at(head), 30)
    runs = service.ask("GET", "/api/runs?pipeline=burst&limit=400")["runs"]
    assert kept <= {run["id"] for run in runs}
    assert {run["outcome"] for run in runs} <= {"live", "superseded"}


def test_fault_11_what_was_answered_202_survives_a_kill_of_everything(
    service: Service, away: RemoteRepository
) -> None:
    commit = away.push(web("after the crash"), "After the crash")
    delivery = str(uuid.uuid4())
    status, answer = away.deliver(commit, delivery)
    service.kill()
    assert status == 202
    service.up()
    (run,) = answer["runs"]
    assert service.wait(run)["outcome"] == "live"
    assert service.page(name="away") == "after the crash\n"
    assert away.deliver(commit, delivery)[1]["runs"] == [run]  # fault 5: known after a restart, too
    assert sum(one["commit"] == commit for one in service.runs("away")) == 1
