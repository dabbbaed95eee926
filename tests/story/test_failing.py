"""A failure leaves the traffic as it was, and says why; whatever dies, a run goes on and ends once."""

from __future__ import annotations

import contextlib
from dataclasses import replace

import pytest

from pipeline.adapters.fake import Killed
from pipeline.domain.engine_types import CommandResult, SlotRef
from pipeline.domain.environment import SlotState
from pipeline.domain.run import Outcome, State
from pipeline.errors import AppFailed, EngineAway, EngineFailed, OutcomeUnknown, StoreUnavailable, TryAgain

RELEASE = "pipelines: {hello: {service: {release: [migrate]}, environments: {live: }}}"

ONE = "pipelines: {hello: {environments: {live: }}}"


def test_fault_29_a_failing_check_in_dev_changes_no_other_environment(world):
    world.push("one")
    world.break_app(2)
    run = world.push("two")
    assert run.outcome == Outcome.FAILED
    assert world.serving() == {"dev": 1, "qa": 1, "live": 1}
    assert (run.failure.stage, run.failure.step, run.failure.whose) == ("dev", "smoke", "application")
    assert "GET / → status 500, expected 200" in run.failure.message
    assert any("commit" in line for line in run.failure.differs)
    dev = world.environment("dev")
    assert dev.slots["green"].state == SlotState.FAILED
    assert dev.slots["green"].until == pytest.approx(world.clock.now() + 600, abs=5)


def test_a_failed_check_is_reported_even_if_the_last_lines_cannot_be_read(world):
    world.push("one")
    world.break_app(2)
    world.engine.fail("logs", EngineFailed("logs: not allowed.", advice="Grant it."))
    failure = world.push("two").failure
    assert "GET / → status 500, expected 200" in failure.message
    assert failure.whose == "application"
    assert failure.evidence == ("(its last lines could not be read: logs: not allowed.)",)


def test_fault_28_a_check_that_the_old_release_answers_fails(world):
    world.push("one")
    preview = world.engine.preview
    old = SlotRef("hello", "dev", 0, "blue")

    def wrong(spec):
        route = preview(spec)
        name = f"e{old.index}-{old.slot}"
        return type(route)(route.url, {"X-Pushlive-Slot": name}, route.expect)

    world.engine.preview = wrong
    run = world.push("two")
    assert "another release answered" in run.failure.message
    assert world.serving() == {"dev": 1, "qa": 1, "live": 1}


def test_a_failed_verification_switches_back(world):
    world.push("one")
    gone = world.engine.public
    world.engine.public = lambda spec: (
        gone(spec) if spec.ref.environment != "live" else type(gone(spec))("http://e9.fake", {}, ("x",))
    )
    run = world.push("two")
    assert (run.outcome, run.failure.step) == (Outcome.FAILED, "verify")
    live = world.environment("live")
    assert (live.serving, live.active) == (1, "blue")
    assert world.engine.active["hello", "live"] == "blue"
    assert live.quarantine == ()  # another release answered: that says nothing against this one
    assert run.failure.whose == "engine"
    assert "It got no traffic" not in run.failure.advice


def test_a_first_release_that_fails_after_the_switch_leaves_the_explained_503(world):
    world.engine.public = lambda spec: type(world.engine.preview(spec))("http://e9.fake", {}, ("x",))
    run = world.push("one")
    assert run.outcome == Outcome.FAILED
    assert world.environment("dev").active is None
    assert world.engine.active["hello", "dev"] is None


def test_the_reason_of_a_quarantine_is_one_short_line(make_world):
    world = make_world(ONE)
    world.push("one")
    answer = "it answered:\n" + "<p>oops</p>\n" * 200
    world.engine.fail("ready", AppFailed(answer))
    assert "oops</p>\n<p>" in world.push("two").reason
    [entry] = world.environment("live").quarantine
    assert entry.reason.startswith("it answered: <p>oops</p> <p>oops</p>")
    assert len(entry.reason) <= 200


@pytest.mark.parametrize(("keep_warm", "said"), [("0s", 0), ("10m", 1)])
def test_a_slot_is_said_to_be_warm_only_while_it_is_kept(make_world, keep_warm, said):
    world = make_world(
        f"pipelines: {{hello: {{service: {{keep_warm: {keep_warm}}}, environments: {{live: }}}}}}"
    )
    runs = [world.push(text) for text in ("one", "two", "three")]
    notes = [event.text for event in world.events(runs[-1], "note")]
    assert len([text for text in notes if "uses blue, the warm slot of r1" in text]) == said


def test_a_release_that_failed_in_live_is_in_quarantine_there_a_new_one_is_not(world):
    world.push("one")
    ok = world.engine.answers
    world.break_app(2)
    bad = world.engine.answers
    world.engine.answers = lambda spec, path: (bad if spec.ref.environment == "live" else ok)(spec, path)
    run = world.push("two")
    assert (run.outcome, run.failure.stage) == (Outcome.FAILED, "live")
    again = world.commands.deploy("hello", "ann", release=2)
    world.work()
    ended = world.run(again.number)
    assert "quarantine" in ended.failure.message
    assert (ended.failure.stage, ended.failure.step) == ("live", "enter")
    assert world.push("three").outcome == Outcome.LIVE


def test_fault_26_an_exit_at_start_is_never_switched_to(world):
    world.push("one")
    world.engine.fail("ready", AppFailed("it exited with 3.", evidence=("boom",)))
    run = world.push("two")
    assert run.failure.evidence == ("boom",)
    assert world.serving()["dev"] == 1


def test_an_engine_failure_says_whose_it_is_and_how_to_retry(world):
    world.builder.fail("build", EngineFailed("the disk is full."))
    run = world.push("one")
    assert (run.failure.whose, run.failure.stage) == ("engine", "build")
    assert f"pushlive retry '{run.id}'" in run.failure.advice
    again = world.commands.retry("hello", run.number, "ann")
    world.work()
    assert world.run(again.number).outcome == Outcome.LIVE


def test_fault_37_a_timeout_in_qa_ends_cleanly(world):
    world.push("one")

    def hang() -> None:
        world.engine.hang("ready")

    starts = iter([None, hang])
    world.engine.before("start", lambda: (next(starts) or (lambda: None))(), times=2)
    run = world.push("two")
    assert (run.outcome, run.failure.stage) == (Outcome.FAILED, "qa")
    assert run.failure.message == "qa/start took longer than 120 s and was stopped."
    assert "`service.ready`" in run.failure.advice
    assert world.serving() == {"dev": 2, "qa": 1, "live": 1}


CALLS = ["prepare", "fits", "start", "ready", "expose", "preview", "switch", "public"]


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("call", CALLS)
def test_fault_33_killed_at_every_engine_call_the_run_converges(world, call, after):
    world.push("one")
    number = world.accept(world.commit("two")).number
    world.engine.kill(call, after=after)
    with pytest.raises(Killed):
        world.work()
    assert world.run(number).state == State.RUNNING
    world.work()
    assert world.run(number).outcome == Outcome.LIVE
    assert world.serving() == {"dev": 2, "qa": 2, "live": 2}
    for name in ("dev", "qa", "live"):
        ref = world.environment(name)
        assert world.engine.active["hello", name] == ref.active
        assert {s.state for s in ref.slots.values()} == {SlotState.SERVING, SlotState.WARM}


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("call", ["fetch", "keep", "archive"])
def test_fault_33_killed_at_every_source_call_the_run_goes_live(world, call, after):
    number = world.accept(world.commit("two")).number
    world.source.kill(call, after=after)
    with pytest.raises(Killed):
        world.work()
    world.work()
    assert world.run(number).outcome == Outcome.LIVE


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("call", ["build", "tag"])
def test_fault_33_killed_at_every_builder_call_makes_one_release(world, call, after):
    number = world.accept(world.commit("two")).number
    world.builder.kill(call, after=after)
    with pytest.raises(Killed):
        world.work()
    world.work()
    assert world.run(number).outcome == Outcome.LIVE
    assert [r.number for r in world.store.releases("hello")] == [1]
    assert ("r1" in {tag for _, tag in world.builder.tags}) is True


@pytest.mark.parametrize(("call", "after"), [("switch", True), ("public", False)])
def test_an_older_run_leaves_alone_what_a_newer_one_switched_before_its_worker_died(make_world, call, after):
    """Neither was verified yet, so the record of who came to serve does not tell."""
    world = make_world("pipelines: {hello: {service: {}, environments: {live: }}}")
    world.push("one")
    older = dies(world, world.accept(world.commit("two")).number, "start", after=False)
    silent = world.store.leases.take(f"run:hello#{older}", "a worker that says nothing")
    newer = dies(world, world.accept(world.commit("three")).number, call, after=after)
    other = world.store.leases.take(f"run:hello#{newer}", "another one")
    world.store.leases.drop(silent)
    world.work()
    assert world.run(older).outcome == Outcome.SUPERSEDED
    world.store.leases.drop(other)
    world.work()
    assert world.run(newer).outcome == Outcome.LIVE
    switched = [act[0].release for name, act in world.engine.calls if name == "switch"]
    assert 2 not in switched
    assert world.environment("live").serving == 3


def dies(world, number, call, after):
    """The worker that takes that run up dies at that call."""
    world.engine.kill(call, after=after)
    with pytest.raises(Killed):
        world.work()
    return number


def test_fault_44_a_run_that_always_kills_its_worker_is_set_aside(world):
    number = world.accept(world.commit("one")).number
    for _ in range(5):
        world.engine.kill("start")
        with pytest.raises(Killed):
            world.work()
    world.work()
    run = world.run(number)
    assert run.outcome == Outcome.FAILED
    assert "was started 5 times" in run.failure.message
    assert "pushlive retry" in run.failure.advice


def test_a_release_command_runs_once_before_the_start_and_never_on_a_revert(make_world):
    world = make_world("pipelines: {hello: {service: {release: [./migrate]}, environments: {live: }}}")
    world.push("one")
    names = [name for name in world.engine.names() if name in ("command", "start")]
    assert names == ["command", "start"]
    world.push("two")
    world.revert()
    assert world.engine.names().count("command") == 2


def test_fault_33_a_release_command_is_not_run_again_by_the_worker_that_takes_over(make_world):
    world = make_world("pipelines: {hello: {service: {release: [migrate]}, environments: {live: }}}")
    ran = []
    done = world.engine.commands
    world.engine.commands = lambda spec, argv: ran.append(argv) or done(spec, argv)
    world.engine.kill("switch", after=True)
    with pytest.raises(Killed):
        world.push("one")
    world.work()
    assert world.run(1).outcome == Outcome.LIVE
    assert ran == [("migrate",)]


def test_a_failing_release_command_starts_nothing(make_world):
    world = make_world("pipelines: {hello: {service: {release: [./migrate]}, environments: {live: }}}")
    world.engine.commands = lambda spec, argv: CommandResult(3, "no such table\n", 0.1)
    run = world.push("one")
    assert run.failure.evidence == ("no such table",)
    assert "start" not in world.engine.names()


def test_a_release_command_that_does_not_finish_is_stopped(make_world):
    world = make_world("pipelines: {hello: {service: {release: [migrate]}, environments: {live: }}}")
    world.engine.hang("command")
    run = world.push("one")
    assert run.outcome == Outcome.FAILED
    assert "did not finish within 30m and was stopped; its result is unknown." in run.failure.message
    assert world.engine.ended == ["release-1"]
    assert "pushlive resume hello --env live" in run.failure.advice
    assert world.environment("live").hold is not None
    assert run.failure.whose == "application"
    assert world.environment("live").quarantine == ()  # its outcome is unknown


LIMITED = RELEASE.replace("[migrate]", "{command: [migrate], timeout: 90s}")


def hung(world):
    """A run whose release command hangs, beside two releases that are live and warm."""
    world.push("one")
    world.push("two")
    world.engine.hang("command")
    return world.accept(world.commit("three")).number


def test_the_limit_of_a_release_command_is_configured(make_world):
    world = make_world(LIMITED)
    world.engine.hang("command")
    began = world.clock.monotonic()
    assert "did not finish within 90s" in world.push("one").failure.message
    assert world.clock.monotonic() - began < 100


def test_a_release_command_that_cannot_be_stopped_may_still_run(make_world):
    world = make_world(LIMITED)
    world.engine.hang("command")
    world.engine.fail("end_command", EngineFailed("no answer"))
    said = world.push("one").failure.message
    assert "and may still run, because it could not be stopped (no answer); its result is unknown." in said
    assert world.environment("live").hold is not None


def test_a_cancellation_during_a_release_command_says_when_it_takes_effect(make_world):
    world = make_world(LIMITED)
    number = hung(world)
    asked = []

    def cancel():
        asked.append(world.commands.cancel("hello", number, "ann"))

    world.engine.before("command", cancel)
    world.work()
    text = "It takes effect when the release command in live has ended, in 1:30 at the latest"
    assert text in asked[0].cancelled_when(world.clock.now() - 90)
    [said] = [event.text for event in world.events(world.run(number), "warning")]
    assert said.startswith(
        f"hello#{number} was cancelled by ann. It takes effect when the release command in live"
    )
    assert world.run(number).busy_until == 0.0
    assert world.run(number).cancelled_when(world.clock.now()) == ""


def test_a_cancellation_takes_effect_once_the_release_command_has_ended(make_world):
    world = make_world(LIMITED)
    number = world.accept(world.commit("one")).number
    world.engine.before("command", lambda: world.commands.cancel("hello", number, "ann"))
    world.work()
    assert world.run(number).outcome == Outcome.CANCELLED
    assert world.run(number).passed("live", "release")
    assert "start" not in world.engine.names()


def test_a_revert_does_not_wait_for_a_release_command(make_world):
    world = make_world(LIMITED)
    number = hung(world)
    world.engine.before("command", lambda: world.commands.revert("hello", "ann", to=1, reason="too slow"))
    began = world.clock.monotonic()
    world.work()
    assert world.clock.monotonic() - began < 10
    run, hold = world.run(number), world.environment("live").hold
    assert run.outcome == Outcome.CANCELLED
    assert "takes precedence" in run.reason
    assert "The release command migrate was left. It is still running" in run.reason
    assert world.serving()["live"] == 1
    assert hold.by == "ann"
    assert hold.reason.startswith("too slow. hello#4 reverts live")


def test_an_unknown_outcome_of_a_release_command_holds_the_environment(make_world):
    world = make_world("pipelines: {hello: {service: {release: [./migrate]}, environments: {live: }}}")
    world.engine.fail("command", OutcomeUnknown("it may or may not have run."))
    run = world.push("one")
    assert run.failure.whose == "engine"
    assert world.environment("live").hold.by == run.id


def test_cancel_ends_a_run_at_its_next_safe_point(world):
    world.push("one")
    number = world.accept(world.commit("two")).number
    world.engine.before("start", lambda: world.commands.cancel("hello", number, "ann"))
    world.engine.hang("ready")
    world.work()
    run = world.run(number)
    assert run.outcome == Outcome.CANCELLED
    assert "by ann" in run.reason
    assert world.serving() == {"dev": 1, "qa": 1, "live": 1}


def test_fault_23_a_temporary_problem_is_retried(world):
    world.engine.fail("start", TryAgain("Docker does not answer."), times=2)
    run = world.push("one")
    assert run.outcome == Outcome.LIVE
    said = [event.text for event in world.events(run, "warning")]
    assert said == [
        "Docker does not answer. Trying again in 1 s.",
        "Docker does not answer. Trying again in 2 s.",
    ]


def test_fault_23_a_lasting_problem_fails_with_its_cause(world):
    world.engine.fail("start", TryAgain("Docker does not answer."), times=99)
    run = world.push("one")
    assert (run.outcome, run.failure.whose) == (Outcome.FAILED, "engine")
    assert "Docker does not answer" in run.failure.message


def test_fault_41_a_worker_that_lost_its_lease_stops_acting(world):
    world.push("one")
    number = world.accept(world.commit("two")).number
    stale = []

    def steal() -> None:
        world.store.client.set(
            f"{world.settings.instance}:lease:run:hello#{number}", "somebody:else", px=60_000
        )
        stale.append(len(world.engine.calls))

    world.engine.before("ready", steal)
    world.work()
    acted = [name for name, _ in world.engine.calls[stale[0] :] if name in ("switch", "stop", "unroute")]
    assert acted == []
    assert world.run(number).state == State.RUNNING
    world.store.client.delete(f"{world.settings.instance}:lease:run:hello#{number}")
    world.work()
    assert world.run(number).outcome == Outcome.LIVE


def test_fault_40_an_engine_that_does_not_answer_puts_no_release_in_quarantine(world):
    """Its checks are asked again, then the run goes the way again."""
    world.push("one")
    world.engine.fail("preview", EngineAway("The API does not answer."), times=3)
    run = world.push("two")
    assert run.outcome == Outcome.LIVE
    assert world.environment("live").quarantine == ()


def test_fault_40_an_engine_that_stays_unreachable_fails_only_the_run(world):
    world.push("one")
    ask = world.probe.get
    away = EngineAway("The API does not answer.")

    def get(route, path, timeout):
        if world.environment("qa").serving == 2:
            raise away
        return ask(route, path, timeout)

    world.probe.get = get
    run = world.push("two")
    assert (run.outcome, run.failure.whose, run.failure.stage) == (Outcome.FAILED, "engine", "qa")
    assert "does not answer" in run.failure.message
    assert world.serving()["live"] == 1
    assert all(world.environment(name).quarantine == () for name in ("dev", "qa", "live"))


def test_fault_40_the_traffic_stays_while_a_verification_gets_no_answer(world):
    """Its checks have just passed: the run comes back to verify, and does not switch to and fro."""
    world.push("one")
    public, refused = world.engine.public, iter(range(2))

    def away(spec):
        if spec.ref.environment == "live" and spec.release == 2 and next(refused, None) is not None:
            raise EngineAway("The API does not answer.")
        return public(spec)

    world.engine.public = away
    number = len(world.engine.calls)
    run = world.push("two")
    assert run.outcome == Outcome.LIVE
    switched = [what[0].ref.environment for name, what in world.engine.calls[number:] if name == "switch"]
    assert switched.count("live") == 1


def _stopped_after_the_switch(world, seconds):
    """The daemon takes the containers of r2 along right after the switch in live, for that long; the proxy runs on."""
    get, stopped = world.probe.get, []

    def halted(route, path, timeout):
        live = world.environment("live")
        if live and live.serving == 2:
            ref = next(
                ref for ref in world.engine.contents if (ref.environment, ref.slot) == ("live", live.active)
            )
            if not stopped:
                stopped.append(world.clock.monotonic())
                world.engine.halt(ref)
            if world.clock.monotonic() - stopped[0] > seconds:
                world.engine.resume(ref)
        return get(route, path, timeout)

    world.probe.get = halted


@pytest.mark.parametrize("seconds", [4, 20])
def test_fault_23_containers_that_stop_with_the_daemon_during_the_verification_are_waited_for(world, seconds):
    """The proxy answers 503 itself meanwhile, which says nothing against the release."""
    world.push("one")
    _stopped_after_the_switch(world, seconds)
    run = world.push("two")
    assert run.outcome == Outcome.LIVE, run.failure
    assert world.serving()["live"] == 2


def test_fault_23_containers_that_stay_stopped_are_the_engines_failure(world):
    world.push("one")
    _stopped_after_the_switch(world, 3600)
    run = world.push("two")
    assert (run.outcome, run.failure.whose, run.failure.stage) == (Outcome.FAILED, "engine", "live")
    assert "missing or were stopped" in run.failure.message
    assert world.environment("live").quarantine == ()
    assert world.serving()["live"] == 1


def test_a_switch_back_that_fails_once_is_done_by_the_keeper(world):
    world.push("one")
    real = world.engine.public
    world.engine.public = lambda spec: (
        replace(real(spec), expect=("nobody",))
        if spec.release == 2 and spec.ref.environment == "live"
        else real(spec)
    )

    def arm():
        pass

    real_switch = world.engine.switch
    n = []

    def switch(spec):
        if spec.ref.environment == "live" and spec.release == 1:
            n.append(1)
            if len(n) == 1:
                raise EngineFailed("the proxy hangs")
        real_switch(spec)

    world.engine.switch = switch
    run = world.push("two")
    assert run.outcome == Outcome.FAILED
    world.clock.sleep(10)
    world.reconcile()
    assert world.environment("live").serving == 1
    assert world.engine.active["hello", "live"] == "blue"


def test_a_run_set_aside_after_its_switch_moves_the_traffic_back(world):
    world.push("one")
    run = world.accept(world.commit("two"))
    real = world.engine.public

    def public(spec):
        if spec.ref.environment == "live":
            raise Killed("x")
        return real(spec)

    world.engine.public = public
    for _ in range(8):
        with contextlib.suppress(Killed):
            world.work()
    world.engine.public = real
    world.clock.sleep(700)
    world.reconcile()
    world.reconcile()
    assert world.run(run.number).outcome == Outcome.FAILED
    assert world.environment("live").serving == 1


def test_a_first_deploy_cancelled_after_a_crash_leaves_no_route(make_world):
    world = make_world(ONE)
    world.engine.kill("switch", after=True)
    with pytest.raises(Killed):
        world.push("one")
    world.commands.cancel("hello", 1, "ann")
    world.work()
    assert world.run(1).outcome == Outcome.CANCELLED
    world.clock.sleep(10)
    world.reconcile()
    env = world.environment("live")
    assert env.active is None
    assert world.engine.serving(SlotRef("hello", "live", env.index, "blue")) is None, world.store.facts.get(
        "problem:hello/live"
    )


def test_a_cancellation_does_not_cut_a_release_command(make_world):
    world = make_world(RELEASE)
    world.engine.hang("command")
    run = world.accept(world.commit("one"))

    def cancel():
        world.commands.cancel("hello", run.number, "ann")
        world.clock.sleep(1)

    world.engine.before("command", cancel)
    world.work()
    env = world.environment("live")
    # begun, cut, its outcome unknown: then there must be a hold
    assert world.run(run.number).outcome != Outcome.CANCELLED or env.hold


def test_a_slot_that_timed_out_in_live_is_kept_for_inspection(world):
    world.push("one")

    def hang():
        world.engine.hang("ready")

    run = world.accept(world.commit("two"))
    world.engine.before("fits", lambda: None, times=2)
    real = world.engine.fits

    def fits(spec):
        if spec.ref.environment == "live":
            world.engine.hang("ready")
        real(spec)

    world.engine.fits = fits
    world.work()
    assert world.run(run.number).outcome == Outcome.FAILED
    env = world.environment("live")
    slot = next(s for s in env.slots.values() if s.state == SlotState.FAILED)
    assert slot.until - slot.since == 600, slot


def test_advice_after_the_switch_does_not_claim_that_no_traffic_moved(world):
    world.push("one")
    real = world.engine.public
    world.engine.public = lambda spec: (
        replace(real(spec), expect=("nobody",)) if spec.release == 2 else real(spec)
    )
    run = world.push("two")
    assert "It got no traffic" not in run.failure.advice, run.failure


def test_a_route_that_is_wrong_for_a_moment_puts_no_release_in_quarantine(world):
    """Some requests of the verification are answered by another release, the later ones by the right one."""
    world.push("one")
    real, wrong = world.probe.get, []

    def get(route, path, timeout):
        answer = real(route, path, timeout)
        live = f"http://e{world.environment('live').index}.fake"
        if route.url != live or world.environment("live").serving != 2:
            return answer
        wrong.append(world.clock.monotonic())
        return replace(answer, served_by="other") if wrong[-1] - wrong[0] < 6 else answer

    world.probe.get = get
    run = world.push("two")
    assert (run.outcome, run.failure.step) == (Outcome.FAILED, "verify")
    assert [check.ok for check in run.checks["live"][-3:]] == [False, True, True]
    assert not world.environment("live").quarantine


def test_a_wrong_route_puts_no_release_in_quarantine(world):
    world.push("one")
    real = world.engine.public
    world.engine.public = lambda spec: (
        replace(real(spec), expect=("nobody",))
        if spec.release == 2 and spec.ref.environment == "live"
        else real(spec)
    )
    world.push("two")
    assert not world.environment("live").quarantine


def test_store_failures_do_not_count_as_dead_workers(world, monkeypatch):
    run = world.accept(world.commit("one"))
    world.builder.fail("build", StoreUnavailable("blip"), times=5)
    world.work()
    assert world.run(run.number).outcome == Outcome.LIVE, world.run(run.number).reason


def slot_of(world, name: str, slot: str, engine: str = "docker") -> SlotRef:
    return next(ref for ref in world.engine.contents if (ref.environment, ref.slot) == (name, slot))


def fails_its_checks(world):
    world.push("one")
    world.break_app(2)
    return world.push("two")


def test_a_failed_release_does_not_work_on_while_it_is_kept(world):
    assert fails_its_checks(world).outcome == Outcome.FAILED
    content = world.engine.contents[slot_of(world, "dev", "green")]
    assert (content.alive, content.exposed) == (False, False)
    assert world.commands.output("hello", environment="dev")[-4:-2] == (
        "── dev r2 (green, failed)",
        "a fake's last words",
    )
    world.clock.sleep(300)
    assert world.reconcile() == []  # it is neither started again nor removed
    assert not content.alive
    world.clock.sleep(301)
    assert "failed slot green (r2) was cleared" in world.reconcile()[0]


def test_the_keeper_stops_a_failed_release_that_its_worker_could_not_stop(world):
    world.engine.fail("stop_and_keep", EngineAway("Docker does not answer."))
    run = fails_its_checks(world)
    assert [event.text for event in world.events(run) if "is not stopped yet" in event.text] != []
    content = world.engine.contents[slot_of(world, "dev", "green")]
    assert content.alive
    assert world.reconcile() == [
        "hello/dev: green (r2) had failed and still ran; it was stopped and is kept for inspection"
    ]
    assert not content.alive


def test_a_revert_that_is_due_does_not_wait_until_a_failed_release_is_stopped(world):
    world.push("one")
    world.push("two")
    world.break_app(3)
    world.engine.before("logs", lambda: world.commands.revert("hello", "ann", environment="dev", to=1))
    world.push("three")
    assert world.serving()["dev"] == 1
    assert "stop_and_keep" not in world.engine.names()


def test_the_output_of_a_failed_release_is_kept_if_its_engine_removes_it(make_world):
    config = "pipelines: {hello: {registry: {repository: r.example.com/hello}, smoke: [{get: /}], "
    world = make_world(config + "environments: {dev: {engine: kubernetes}}}}")
    fails_its_checks(world)
    assert all(ref.slot == "blue" for ref in world.engine.contents)
    said = world.commands.output("hello", environment="dev")
    assert said[:2] == ("── dev r2 (green, failed)", "a fake's last words")
    world.clock.sleep(601)
    world.reconcile()
    assert world.store.facts.get("output:hello/dev:green") == ""
    assert all("r2" not in line for line in world.commands.output("hello", environment="dev"))
