"""How a smoke check reaches the release in a slot: the engine's side of ``pipeline.config.checks.base.Asker``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

from pipeline.config.checks.visitor import with_headers
from pipeline.deploy.deadline import Within
from pipeline.domain.engine_types import Answer, CommandResult, Replica, Route, SlotSpec
from pipeline.errors import EngineAway, EngineFailed, TimedOut, TryAgain, WrongRelease
from pipeline.lib.bounded import LIMIT, Late, TooManyLeft, bounded
from pipeline.lib.units import bracketed
from pipeline.ports.builder import Emit
from pipeline.ports.clock import Clock, Watch
from pipeline.ports.engine import Engine

LEEWAY = 30.0  # seconds that an engine may take on top, to open a way there and to say who answered

Redact = Callable[[str], str]
T = TypeVar("T")


@dataclass
class SlotAsker:
    """Asks by ``route``, or by the preview of the slot if there is none."""

    engine: Engine
    clock: Clock
    emit: Emit
    watch: Watch
    redact: Redact
    spec: SlotSpec
    route: Route | None = None
    command_name: str = ""  # unique for each check and run: a command called again finds its container by it
    trouble: TryAgain | None = None  # the engine's own, while it was asked for the way: no answer to a check
    trace: Mapping[str, str] = field(default_factory=dict)  # headers of the step, for who is asked
    _replicas: tuple[Replica, ...] | None = None

    def get(self, path: str, headers: Mapping[str, str], within: float) -> Answer:
        """Raises WrongRelease if something other than this release answered; EngineAway if that was because its
        containers were stopped."""
        route = self._route()
        route = replace(route, headers=with_headers({**self.trace, **route.headers}, headers))
        answer = self._in_time(lambda: self.engine.probe.get(route, path, within), within, f"GET {path}")
        if not route.expect or answer.served_by in route.expect:
            return answer
        if answer.served_by:
            asked = ", ".join(route.expect)
            raise WrongRelease(f"another release answered: asked {asked}, answered by {answer.served_by}")
        problem = f"status {answer.status} did not come from the application"
        self._must_be_there(problem)
        raise WrongRelease(f"{problem}, although its containers were not stopped")

    def connect(self, port: int, within: float) -> float:
        """Raises EngineAway if its containers were stopped."""
        self._must_be_there("no connection")
        try:
            return [self._connect(one.reach or one.address, port, within) for one in self._running()][-1]
        except TryAgain as error:
            self._must_be_there(error.message)
            raise

    def _connect(self, address: str, port: int, within: float) -> float:
        probe = self.engine.probe
        return self._in_time(lambda: probe.tcp(address, port, within), within, f"TCP {address}:{port}")

    def _must_be_there(self, problem: str) -> None:
        """Raises EngineAway if a container is missing or was stopped, as while a Docker daemon restarts."""
        wanted = self.spec.config.service.web_replicas
        there = sum(one.release == self.spec.release and not one.stopped for one in self._there())
        if there < wanted:
            raise EngineAway(
                f"{problem}: {wanted - there} of {wanted} containers are missing or were stopped"
            )

    def command(self, words: tuple[str, ...], within: float) -> CommandResult | None:
        """Removes the command's container before and after. Raises what the step's own watch does."""
        commands, name = self.engine.commands, self.command_name
        env = {"PUSHLIVE_URL": inside_url(self._running(), self._route())} if self.spec.web else {}
        env |= {name.upper(): value for name, value in self.trace.items()}
        commands.forget_command(self.spec, name)
        try:
            limit = Within(self.watch, self.clock, within, "The command")
            return commands.command(self.spec, name, words, env, self.emit, limit)
        except TimedOut:
            self.watch.check()  # raises if it was the step that ran out of time
            return None
        finally:
            commands.forget_command(self.spec, name)

    def without_secrets(self, text: str) -> str:
        return self.redact(text)

    def _in_time(self, ask: Callable[[], T], within: float, doing: str) -> T:
        """A probe keeps to its own limit. If one does not, or the run has to stop meanwhile, it is left behind: neither
        the end of a run nor a revert waits for an application."""
        try:
            return bounded(ask, within + LEEWAY, self.watch.check, name=doing)
        except Late:
            raise TryAgain(
                f"{doing}: no answer after {within + LEEWAY:g} s; the check was abandoned."
            ) from None
        except TooManyLeft:
            raise EngineFailed(
                f"{doing}: {LIMIT} earlier checks of this run were abandoned and have not ended yet.",
                advice="See whether the engine answers (`pushlive doctor`), then "
                f"`pushlive retry '{self.spec.ref.pipeline}#{self.spec.run}'`.",
            ) from None

    def _route(self) -> Route:
        if self.route is None:
            self.route = self._asked(lambda: self.engine.traffic.preview(self.spec))
        return self.route

    def _running(self) -> tuple[Replica, ...]:
        if self._replicas is None:
            self._replicas = self._there()
        return self._replicas

    def _there(self) -> tuple[Replica, ...]:
        return self._asked(lambda: self.engine.slots.replicas(self.spec.ref))

    def _asked(self, ask: Callable[[], T]) -> T:
        try:
            return ask()
        except TryAgain as error:
            self.trouble = error
            raise


def inside_url(replicas: tuple[Replica, ...], route: Route) -> str:
    """The address that a command on the environment's own network uses."""
    if replicas:
        return f"http://{bracketed(replicas[0].address)}:{replicas[0].port}"
    return route.url
