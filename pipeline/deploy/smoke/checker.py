"""Performs smoke checks on the new release, by a way that proves who answered, before and after it takes traffic."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType

from pipeline.config.checks import CheckModel, HttpCheck, health
from pipeline.config.checks.base import Answer as HttpAnswer
from pipeline.config.checks.base import Verdict
from pipeline.deploy.smoke.asker import Redact, SlotAsker
from pipeline.domain.engine_types import Route, SlotSpec
from pipeline.domain.events import Event
from pipeline.domain.run import Check
from pipeline.errors import AppFailed, EngineAway, TryAgain, WrongRelease
from pipeline.lib.units import show_duration
from pipeline.ports.builder import Emit
from pipeline.ports.clock import Clock, Watch
from pipeline.ports.engine import Engine

LastLines = tuple[tuple[str, ...], tuple[str, ...]]  # facts and evidence, as in ``errors``

_AWAY = 5.0  # seconds for which an engine that does not answer is asked again
_PAUSE = 0.1  # seconds between two tries of a failing check


class Checker:
    """Performs the checks of one release in one slot. ``redact`` takes secrets out of a body before it is cut;
    ``trace``: headers that are sent with each request."""

    def __init__(
        self,
        engine: Engine,
        clock: Clock,
        emit: Emit,
        watch: Watch,
        redact: Redact = str,
        trace: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self._trace = trace
        self._engine, self._clock = engine, clock
        self._emit, self._watch, self._redact = emit, watch, redact
        self._wrong_release: list[Check] = []  # failed ones whose last answer came from another release

    def run(self, spec: SlotSpec, checks: Iterable[CheckModel]) -> tuple[Check, ...]:
        """Every check in order, the first failure last. The caller looks at ``ok`` of each."""
        results: list[Check] = []
        for number, check in enumerate(checks):
            asker = self._asker(spec)
            asker.command_name = f"smoke-{number}-{spec.run}"
            results.append(self._one(check, asker))
            if not results[-1].ok:
                break
        return tuple(results)

    def identity(self, spec: SlotSpec, route: Route, times: int = 1) -> tuple[Check, ...]:
        """Asks the health path over fresh connections; every answer must come from this very release."""
        check = _health_of(spec, route)
        asker = self._asker(spec, route)
        return tuple(self._one(check, asker) for _ in range(times))

    def must_pass(
        self,
        results: tuple[Check, ...],
        spec: SlotSpec,
        where: str,
        logs: Callable[[], LastLines],
        traffic: str,
    ) -> None:
        """Raises AppFailed (WrongRelease) with the failing check of this checker's results and the container's last
        lines. ``spec``: what was checked; ``where``: the same in words; ``traffic``: a sentence that says where the
        traffic is now."""
        bad = next((check for check in results if not check.ok), None)
        if bad is None:
            return
        kind = WrongRelease if any(bad is one for one in self._wrong_release) else AppFailed
        tried = f" ({bad.attempts} tries in {show_duration(bad.seconds)})" if bad.attempts > 1 else ""
        facts, output = logs()
        raise kind(
            f"{where}: {bad.asked} → {bad.answer}{tried}.",
            advice=f"{traffic} Fix it and push again; the container is stopped and kept for a while, and "
            f"`{spec.ref.output_command}` prints its output.",
            facts=facts,
            evidence=output,
        )

    def _asker(self, spec: SlotSpec, route: Route | None = None) -> SlotAsker:
        given = self._engine, self._clock, self._emit, self._watch, self._redact
        return SlotAsker(*given, spec, route, trace=self._trace)

    def _one(self, check: CheckModel, asker: SlotAsker) -> Check:
        """Raises EngineAway if the engine stays away: that says nothing against the application, which has all of the
        check's time once the engine is back."""
        repeat_for = check.repeat_for
        began = since = self._clock.monotonic()
        gone: float | None = None  # when the engine went away
        attempts = 0
        while True:
            attempts += 1
            wrong_release = False
            away: EngineAway | None = None
            try:
                verdict = check.perform(asker)
            except WrongRelease as error:
                wrong_release = True
                verdict = Verdict(False, error.message)
            except TryAgain as error:
                if repeat_for is None or error is asker.trouble:
                    raise
                away = error if isinstance(error, EngineAway) else None
                verdict = Verdict(False, error.message)
            now = self._clock.monotonic()
            if away:
                gone, since = now if gone is None else gone, now
                if now - gone + _PAUSE > max(repeat_for or 0.0, _AWAY):
                    raise away
            elif verdict.ok or repeat_for is None or now - since + _PAUSE > repeat_for:
                found = Check(check.show(), verdict.ok, verdict.answer, now - began, attempts)
                if wrong_release:
                    self._wrong_release.append(found)
                return self._told(found)
            else:
                gone = None
            self._watch.wait(_PAUSE)

    def _told(self, check: Check) -> Check:
        text = f"{check.asked}: {check.answer}"
        self._emit(Event("check", self._clock.now(), text, data={"ok": check.ok, "seconds": check.seconds}))
        return check


class _Health(HttpCheck):
    """The health check, through the proxy. Its host and scheme are those that it is sent with."""

    def show(self) -> str:
        return f"GET {self.get}"

    def problem(self, answer: HttpAnswer, redact: Redact = str) -> str:
        location = redact(answer.headers.get("location", ""))
        return health.problem(answer.status, location, self.host or "", self.scheme or "")


def _health_of(spec: SlotSpec, route: Route) -> _Health:
    check, sent = spec.config.service.health, {**spec.visitor_headers, **route.headers}
    host, scheme = check.host or sent["Host"], check.scheme or sent["X-Forwarded-Proto"]
    asked = {"get": check.path, "host": host, "scheme": scheme, "send": check.send}
    return _Health.model_validate({**asked, "within": float(health.ANSWER), "retry": 5.0})
