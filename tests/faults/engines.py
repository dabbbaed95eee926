"""The Engine's things under fault: containers, images, the proxy; and everything killed at once."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress

import docker
from pipeline.domain.run import Outcome, Run
from tests.faults.deliveries import Deliveries
from tests.faults.registry import fault
from tests.faults.scene import application
from tests.faults.traps import Trap
from tests.faults.trial import Trial
from tests.support.waiting import until

STEADY = 3.0  # seconds


def _serving(trial: Trial) -> dict:  # type: ignore[type-arg]
    """What ``docker inspect`` says of the one container that takes the traffic."""
    environment = trial.scene.live(trial.name)
    (found,) = trial.scene.service.containers(
        trial.name, slot=environment.active or "", release=str(environment.serving)
    )
    return dict(found)


def _deployed(trial: Trial) -> None:
    trial.push()
    trial.pushed()
    until(lambda: trial.page() == trial.expected, 30)


def served_again(trial: Trial, since: float, seconds: float = 30.0) -> None:
    """The right page is there, and stays: the proxy's own checks may find out about a failure after it is over."""
    until(lambda: trial.page() == trial.expected, seconds)
    trial.recovered(since)
    bad = time.monotonic()

    def steady() -> bool:
        nonlocal bad
        if trial.page() != trial.expected:
            bad = time.monotonic()
            trial.recovered(since)
        return time.monotonic() - bad > STEADY

    until(steady, seconds)


@fault(
    "container-dies", 39, 27, words="live's container dies right after the switch", scene="alone", quiet=False
)
def container_dies(trial: Trial) -> None:
    """Caught between the switch and its verification: Docker starts it again, or the run goes back."""
    before = trial.page()
    one, caught = trial.trapped(Trap("engine.public", "before", "stop"))
    place = next(
        c
        for c in trial.scene.service.containers(trial.name)
        if c["Config"]["Labels"]["pushlive.release"] == _release(trial, one)
    )
    harmed = time.monotonic()
    os.kill(place["State"]["Pid"], signal.SIGKILL)
    os.kill(caught.job, signal.SIGCONT)
    if trial.ended(one).outcome != Outcome.LIVE:
        trial.expected = before
    served_again(trial, harmed)


def _release(trial: Trial, one) -> str:  # type: ignore[no-untyped-def]
    run = trial.run_of(one)
    assert run
    return str(run.release)


@fault("container-removed", 39, words="live's container removed by hand", scene="alone", quiet=False)
def container_removed(trial: Trial) -> None:
    _deployed(trial)
    harmed = time.monotonic()
    trial.scene.service.engine.remove_container(_serving(trial)["Id"], force=True)
    served_again(trial, harmed)


@fault("image-removed", 36, words="the new image removed by hand during the deploy", scene="alone")
def image_removed(trial: Trial) -> None:
    """The run fails with the cause, live is untouched, and the next push goes live."""
    before = trial.page()
    one, caught = trial.trapped(Trap("engine.command", "before", "stop"))
    release = trial.scene.store.release(trial.name, int(_release(trial, one)))
    trial.scene.service.engine.remove_image(release.image, force=True)
    os.kill(caught.job, signal.SIGCONT)
    run = trial.ended(one)
    assert run.outcome == Outcome.FAILED, run.outcome
    assert run.failure, run
    assert "image" in run.failure.message, run.failure
    assert trial.page() == before
    trial.pushed()
    _deployed(trial)


@fault("proxy-killed", 34, words="the proxy killed right after a switch", scene="alone", quiet=False)
def proxy_killed(trial: Trial) -> None:
    _deployed(trial)
    proxy = trial.scene.service.engine.inspect_container(f"{trial.scene.service.instance}-proxy")
    harmed = time.monotonic()
    os.kill(proxy["State"]["Pid"], signal.SIGKILL)
    served_again(trial, harmed)


@fault("proxy-paused", 54, words="the proxy paused by hand", scene="alone", quiet=False)
def proxy_paused(trial: Trial) -> None:
    _deployed(trial)
    harmed = time.monotonic()
    trial.scene.service.engine.pause(f"{trial.scene.service.instance}-proxy")
    served_again(trial, harmed)


@fault("proxy-removed", 34, words="the proxy removed by hand during a deploy", scene="alone", quiet=False)
def proxy_removed(trial: Trial) -> None:
    before = trial.page()
    one, _ = trial.trapped(Trap("engine.switch", "before", "nobody"))
    harmed = time.monotonic()
    trial.scene.service.engine.remove_container(f"{trial.scene.service.instance}-proxy", force=True)
    if trial.ended(one).outcome != Outcome.LIVE:
        trial.expected = before
    served_again(trial, harmed)


@fault(
    "everything",
    11,
    46,
    words="everything killed at once, applications too, and started again",
    scene="alone",
    quiet=False,
)
def everything(trial: Trial) -> None:
    """In the midst of a deploy and a burst of webhooks."""
    service = trial.scene.service
    away = trial.scene.away(trial.random.choice(trial.scene.away_names))
    head = away.push(application(f"version {time.time_ns()}"), "The head")
    before = trial.page()
    one = trial.push()
    trial.in_stage(one, trial.random.choice(("build", "live")))
    with Deliveries(away) as coming:
        until(coming.more(202, 8), 30)
        service.kill()
        harmed = time.monotonic()
        for container in service.engine.containers(
            filters={"label": f"pushlive.instance={service.instance}"}
        ):
            with suppress(docker.errors.APIError):
                service.engine.kill(container["Id"])
    trial.accepted += coming.accepted
    one.process.wait(30)
    service.up()
    if _release_was_killed(trial.ended(one)):
        trial.expected = before
    served_again(trial, harmed)
    coming.accepted.clear()
    until(lambda: coming.deliver(head) == 202, 30)
    trial.accepted += coming.accepted
    until(lambda: away.live_at(head), 90)


def _release_was_killed(run: Run) -> bool:
    """True where the harm hit the release command itself: it has ended, badly and for certain, so the run has to fail,
    say so, and leave what served before."""
    failure = run.failure
    return failure is not None and failure.step == "release" and "exited with 137" in failure.message
