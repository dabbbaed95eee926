"""Smoke checks: ask the new release, by a way that proves who answered, before and after it takes traffic."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from pipeline.config.models import HttpCheck, RunCheck, SmokeCheck, TcpCheck
from pipeline.domain.engine_types import Answer, Replica, Route, SlotSpec
from pipeline.domain.events import Event
from pipeline.domain.run import Check
from pipeline.errors import AppFailed, EngineAway, TimedOut, TryAgain, WrongRelease
from pipeline.lib.retry import Backoff, Retry
from pipeline.lib.text import one_line
from pipeline.lib.units import bracketed, show_duration
from pipeline.ports.builder import Emit
from pipeline.ports.clock import Clock, Deadline, Watch
from pipeline.ports.engine import Engine

Mask = Callable[[str], str]
_EXCERPT = 200  # characters of a body that are shown
_MASKED = 1 << 18  # characters that are searched for secrets first: more than the longest of them
_AWAY = 5.0  # seconds that an engine which does not answer is asked again
_BACKOFF = Backoff(0.1, factor=1)  # between two tries of a failing check


class Checker:
    """Runs the checks of one release in one slot. ``mask`` takes secrets out of a body before it is cut."""

    def __init__(self, engine: Engine, clock: Clock, emit: Emit, watch: Watch, mask: Mask = str) -> None:
        self._engine, self._clock = engine, clock
        self._emit, self._watch, self._mask = emit, watch, mask
        self._seen = ""  # the last answer, as it is kept

    def run(self, spec: SlotSpec, checks: Iterable[SmokeCheck]) -> tuple[Check, ...]:
        """Every check in order, the first failure last. The caller looks at ``ok`` of each."""
        results: list[Check] = []
        for number, check in enumerate(checks):
            results.append(self._one(spec, check, number))
            if not results[-1].ok:
                break
        return tuple(results)

    def identity(self, spec: SlotSpec, route: Route, times: int = 1) -> tuple[Check, ...]:
        """Asks the health path over fresh connections; every answer must come from this very release."""
        check = HttpCheck(get=spec.config.service.health, within=5.0, retry=5.0)
        return tuple(self._http(route, check, healthy) for _ in range(times))

    def _one(self, spec: SlotSpec, check: SmokeCheck, number: int) -> Check:
        if isinstance(check, HttpCheck):
            return self._http(
                self._engine.traffic.preview(spec), check, partial(expectations, mask=self._mask)
            )
        if isinstance(check, TcpCheck):
            return self._tcp(self._engine.slots.replicas(spec.ref), check)
        return self._command(spec, check, number)

    def _http(self, route: Route, check: HttpCheck, judge: Callable[[HttpCheck, Answer], str]) -> Check:
        def ask() -> str:
            answer = self._engine.probe.get(route, check.get, check.within)
            self._seen = f"{answer.status} in {answer.seconds * 1000:.0f} ms"
            if route.expect and answer.served_by not in route.expect:
                asked, got = ", ".join(route.expect), answer.served_by or "nobody known"
                return f"{WRONG}: asked {asked}, answered by {got}"
            return judge(check, answer)

        return self._repeat(f"GET {check.get}", ask, check.retry)

    def _tcp(self, replicas: tuple[Replica, ...], check: TcpCheck) -> Check:
        def ask() -> str:
            for replica in replicas:
                seconds = self._engine.probe.tcp(replica.reach or replica.address, check.tcp, check.within)
                self._seen = f"connected in {seconds * 1000:.0f} ms"
            return "" if replicas else "no container is running"

        return self._repeat(f"TCP {check.tcp}", ask, check.retry)

    def _command(self, spec: SlotSpec, check: RunCheck, number: int) -> Check:
        name = f"smoke-{number}-{spec.run}"
        route = self._engine.traffic.preview(spec)
        env = {"PUSHLIVE_URL": inside_url(self._engine.slots.replicas(spec.ref), route)}
        self._engine.commands.forget_command(spec, name)
        began = self._clock.monotonic()
        watch = _Within(self._watch, self._clock, check.within)
        try:
            result = self._engine.commands.command(spec, name, check.run, env, self._emit, watch)
            last = one_line(result.output.strip().splitlines()[-1]) if result.output.strip() else ""
            ok, answer = result.exit_code == 0, f"exit {result.exit_code}" + (f": {last}" if last else "")
        except TimedOut:
            self._watch.check()  # the step's own end is another thing
            ok, answer = False, f"did not end within {show_duration(check.within)} and was ended"
        finally:
            self._engine.commands.forget_command(spec, name)
        seconds = self._clock.monotonic() - began
        return self._told(Check(f"run {' '.join(check.run)}", ok, answer, seconds))

    def _repeat(self, asked: str, ask: Callable[[], str], patience: float) -> Check:
        """Raises EngineAway where the way there is barred: that says nothing against the application."""
        began = self._clock.monotonic()
        retry = Retry(_BACKOFF, self._clock, timeout=patience)
        while True:
            away: EngineAway | None = None
            try:
                problem = ask()
            except EngineAway as error:
                away, problem = error, error.message
                retry.extend(_AWAY)
            except TryAgain as error:
                problem = error.message
            seconds = self._clock.monotonic() - began
            attempts = retry.failures + 1
            pause = retry.pause() if problem else None
            if pause is None:
                if away:
                    raise away
                return self._told(Check(asked, not problem, problem or self._seen, seconds, attempts))
            self._watch.wait(pause)

    def _told(self, check: Check) -> Check:
        text = f"{check.asked}: {check.answer}"
        self._emit(Event("check", self._clock.now(), text, data={"ok": check.ok, "seconds": check.seconds}))
        return check


class _Within:
    """A Watch whose deadline is a check's own, where that comes first."""

    def __init__(self, watch: Watch, clock: Clock, seconds: float) -> None:
        self._watch, self._own = watch, Deadline(clock, seconds, "The command")

    def check(self) -> None:
        self._watch.check()
        self._own.check()

    def remaining(self) -> float:
        return min(self._watch.remaining(), self._own.remaining())

    def wait(self, seconds: float) -> None:
        self._watch.wait(min(seconds, self._own.remaining()))
        self._own.check()


WRONG = "another release answered"


def inside_url(replicas: tuple[Replica, ...], route: Route) -> str:
    """The address a command on the environment's own network uses."""
    if replicas:
        return f"http://{bracketed(replicas[0].address)}:{replicas[0].port}"
    return route.url


def healthy(_check: HttpCheck, answer: Answer) -> str:
    """ "" for 2xx and 3xx."""
    return "" if 200 <= answer.status < 400 else f"status {answer.status}, expected 2xx or 3xx"


def expectations(check: HttpCheck, answer: Answer, mask: Mask = str) -> str:
    """What is wrong with the answer, or ""."""
    body = answer.body.decode("utf-8", "replace")
    if answer.status != check.status:
        to = answer.headers.get("location", "")
        status = f"status {answer.status}{f' (to {to})' if to else ''}"
        return f"{status}, expected {check.status}{_excerpt(body, mask)}"
    if answer.seconds > check.within:
        return f"took {show_duration(answer.seconds)}, allowed {show_duration(check.within)}"
    for name, wanted in check.headers.items():
        got = answer.headers.get(name.lower())
        if got != wanted:
            return f"header {name} is {got!r}, expected {wanted!r}"
    if check.contains and check.contains not in body:
        return f"the body does not contain {check.contains!r}{_excerpt(body, mask)}"
    return _json_problem(check.json_path, body, mask) if check.json_path else ""


def _excerpt(body: str, mask: Mask) -> str:
    first = one_line(mask(body.strip()[:_MASKED])[:_EXCERPT])
    return f"; body begins {first!r}" if first else ""


def _json_problem(wanted: dict[str, Any], body: str, mask: Mask) -> str:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return f"the body is not JSON{_excerpt(body, mask)}"
    for path, value in wanted.items():
        try:
            got = json_at(document, path)
        except LookupError:
            return f"JSON has no {path!r}"
        if got != value or isinstance(got, bool) != isinstance(value, bool):
            return f"JSON {path} is {got!r}, expected {value!r}"
    return ""


def json_at(document: Any, path: str) -> Any:
    """The value at a dotted path, list indices being numbers. Raises LookupError."""
    for part in path.split("."):
        if isinstance(document, dict):
            document = document[part]
        elif isinstance(document, list) and part.isdigit():
            document = document[int(part)]
        else:
            raise LookupError(path)
    return document


def must_pass(
    results: tuple[Check, ...], where: str, logs: Callable[[], tuple[str, ...]], traffic: str
) -> None:
    """Raises AppFailed (WrongRelease) with the failing check and the container's last lines. ``traffic`` says
    where the traffic is now."""
    bad = next((check for check in results if not check.ok), None)
    if bad is None:
        return
    kind = WrongRelease if bad.answer.startswith(WRONG) else AppFailed
    tried = f" ({bad.attempts} tries in {show_duration(bad.seconds)})" if bad.attempts > 1 else ""
    raise kind(
        f"{where}: {bad.asked} → {bad.answer}{tried}.",
        advice=f"{traffic} Fix it and push again; the container is kept for a while: `pushlive logs --app`.",
        evidence=logs(),
    )
