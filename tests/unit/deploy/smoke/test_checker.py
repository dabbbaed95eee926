"""A failing check is repeated, and whose fault it is is decided by what happened, not by words."""

from __future__ import annotations

import math
from typing import Any

import pytest

from pipeline.config.checks import HttpCheck, RunCheck, TcpCheck
from pipeline.deploy.smoke.checker import Checker, LastLines
from pipeline.domain.engine_types import Answer, CommandResult, Replica, Route, SlotRef, SlotSpec
from pipeline.errors import AppFailed, EngineAway, NothingListens, TimedOut, TryAgain, WrongRelease
from pipeline.ports.clock import Deadline
from tests.support.specs import slot_spec

SPEC = slot_spec(SlotRef("hello", "dev", 0, "blue"), 2, 7, health="/healthz")
ROUTE = Route("http://p", expect=("r2",))
OK = Answer(200, {}, b"", 0.01, served_by="r2")


def no_lines() -> LastLines:
    return (), ()


class Clock:
    def __init__(self) -> None:
        self.at = 0.0

    def now(self) -> float:
        return self.at

    monotonic = now

    def sleep(self, seconds: float) -> None:
        self.at += seconds


class Engine:
    """Gives the answers in turn, the last one for ever; an exception is raised."""

    def __init__(self, *answers: Any, preview: Exception | None = None) -> None:
        self.slots = self.traffic = self.probe = self.commands = self
        self._answers, self._preview = list(answers), preview
        self.forgotten = 0
        self.given: dict[str, str] = {}

    def _next(self) -> Any:
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def preview(self, spec: SlotSpec) -> Route:
        if self._preview:
            raise self._preview
        return ROUTE

    def replicas(self, ref: SlotRef) -> tuple[Replica, ...]:
        return (Replica("a", "fd00::1", 8080, 2, "running"),)

    def get(self, route: Route, path: str, timeout: float) -> Answer:
        return self._next()

    def tcp(self, address: str, port: int, timeout: float) -> float:
        return self._next()

    def forget_command(self, spec: SlotSpec, name: str) -> None:
        self.forgotten += 1

    def command(self, spec: Any, name: str, argv: Any, env: dict[str, str], emit: Any, watch: Any) -> Any:
        self.given = env
        watch.wait(1.0)
        return self._next()


def checker(engine: Any, clock: Clock | None = None, step: float = 100.0) -> Checker:
    clock = clock or Clock()
    return Checker(engine, clock, lambda event: None, Deadline(clock, step, "smoke"))


def test_a_failing_check_is_repeated_until_it_passes() -> None:
    engine = Engine(TryAgain("refused"), Answer(503, {}, b"", 0.0, "r2"), OK)
    [found] = checker(engine).run(SPEC, [HttpCheck(get="/")])
    assert (found.ok, found.asked, found.answer, found.attempts) == (True, "GET /", "200 in 10 ms", 3)


def test_it_counts_as_failed_after_its_time_and_the_next_is_not_performed() -> None:
    clock = Clock()
    results = checker(Engine(TryAgain("refused")), clock).run(SPEC, [TcpCheck(tcp=80), TcpCheck(tcp=81)])
    assert [(one.ok, one.answer) for one in results] == [(False, "refused")]
    assert clock.at == pytest.approx(3.0, abs=0.2)


@pytest.mark.parametrize(
    ("last", "error"),
    [
        (Answer(200, {}, b"", 0.0, "r1"), WrongRelease),
        (Answer(500, {}, b"another release answered", 0.0, "r2"), AppFailed),
    ],
)
def test_an_answer_of_another_release_is_not_this_ones_failure(last: Answer, error: type[Exception]) -> None:
    one = checker(Engine(Answer(200, {}, b"", 0.0, "r1"), last))
    results = one.identity(SPEC, ROUTE)
    with pytest.raises(AppFailed) as raised:
        one.must_pass(results, SPEC, "dev r2", lambda: (("code 3",), ("boom",)), "No traffic went there.")
    assert type(raised.value) is error
    assert (raised.value.facts, raised.value.evidence) == (1, ("code 3", "boom"))
    assert raised.value.message.startswith("dev r2: GET /healthz → ")
    assert f"`pushlive logs {SPEC.ref.pipeline} --app --env {SPEC.ref.environment}`" in raised.value.advice


def test_what_passed_raises_nothing() -> None:
    one = checker(Engine(OK))
    results = one.identity(SPEC, ROUTE, 3)
    assert [found.ok for found in results] == [True] * 3
    one.must_pass(results, SPEC, "dev r2", no_lines, "")


def test_an_engine_that_is_away_is_not_the_applications_fault() -> None:
    clock = Clock()
    with pytest.raises(EngineAway):
        checker(Engine(EngineAway("no API")), clock).run(SPEC, [HttpCheck(get="/", retry=0.5)])
    assert clock.at == pytest.approx(5.0, abs=0.2)


PROXY = Answer(503, {}, b"503: the application does not answer", 0.0)  # its own: no server is named


class Stopping(Engine):
    """Its container is stopped for that many looks."""

    def __init__(self, *answers: Any, looks: float = 0) -> None:
        super().__init__(*answers)
        self.looks = looks

    def replicas(self, ref: SlotRef) -> tuple[Replica, ...]:
        self.looks -= 1
        stopped = self.looks >= 0
        return (Replica("a", "fd00::1", 8080, 2, "exited" if stopped else "running", stopped=stopped),)


def test_an_answer_of_the_proxy_while_containers_are_stopped_is_not_the_applications() -> None:
    clock = Clock()
    with pytest.raises(EngineAway, match="1 of 1 containers are missing or were stopped"):
        checker(Stopping(PROXY, looks=math.inf), clock).identity(SPEC, ROUTE)
    assert clock.at == pytest.approx(5.0, abs=0.2)


def test_containers_that_were_stopped_have_all_the_time_of_the_check_once_they_are_back() -> None:
    """Stopped for 4.5 s, then 4 s until the application listens: more than the 5 s of the check together."""
    engine = Stopping(*[PROXY] * 85, OK, looks=45)
    clock = Clock()
    [found] = checker(engine, clock).identity(SPEC, ROUTE)
    assert (found.ok, found.attempts) == (True, 86)
    assert clock.at == pytest.approx(8.5, abs=0.2)


def test_an_answer_of_the_proxy_although_the_containers_run_fails_and_says_so() -> None:
    one = checker(Stopping(PROXY))
    results = one.identity(SPEC, ROUTE)
    with pytest.raises(WrongRelease, match="status 503 did not come from the application"):
        one.must_pass(results, SPEC, "dev r2", no_lines, "")


def test_a_port_of_a_stopped_container_says_nothing_against_the_application() -> None:
    with pytest.raises(EngineAway):
        checker(Stopping(NothingListens("refused"), looks=math.inf)).run(SPEC, [TcpCheck(tcp=80)])
    [found] = checker(Stopping(NothingListens("refused"), 0.1, looks=2)).run(SPEC, [TcpCheck(tcp=80)])
    assert found.ok
    [found] = checker(Stopping(NothingListens("refused"))).run(SPEC, [TcpCheck(tcp=80)])
    assert (found.ok, found.answer) == (False, "refused")


def test_a_failing_preview_is_the_engines_failure_and_not_repeated() -> None:
    clock = Clock()
    with pytest.raises(TryAgain, match="busy"):
        checker(Engine(OK, preview=TryAgain("busy")), clock).run(SPEC, [HttpCheck(get="/")])
    assert clock.at == 0.0


def test_a_command_runs_once_with_the_releases_address_and_is_cleaned_up() -> None:
    engine = Engine(CommandResult(1, "no\n", 1.0))
    [found] = checker(engine).run(SPEC, [RunCheck(run=("./smoke.sh",))])
    assert (found.ok, found.answer, found.attempts, found.seconds) == (False, "exit 1: no", 1, 1.0)
    assert engine.given == {"PUSHLIVE_URL": "http://[fd00::1]:8080"}
    assert engine.forgotten == 2


def test_the_commands_timeout_fails_the_check_and_the_steps_timeout_ends_the_step() -> None:
    engine = Engine(CommandResult(0, "", 1.0))
    [found] = checker(engine).run(SPEC, [RunCheck(run=("a",), within=0.5)])
    assert (found.ok, found.answer) == (False, "did not end within 0.50s and was stopped")
    with pytest.raises(TimedOut):
        checker(engine, step=0.4).run(SPEC, [RunCheck(run=("a",), within=0.5)])
    assert engine.forgotten == 4
