"""Waits until every replica answers its health path, and says why one does not."""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from pipeline.adapters.docker.containers import address
from pipeline.adapters.docker.diagnosis import Finding, explain, listeners, table_of
from pipeline.adapters.docker_api.api import DockerApi, Found
from pipeline.adapters.health_page import SAME, Asked, HealthPage, Refused
from pipeline.config.settings import Settings
from pipeline.domain.engine_types import SlotSpec
from pipeline.domain.events import Event
from pipeline.errors import AppFailed, TimedOut
from pipeline.lib.retry import Backoff, Retry
from pipeline.ports.builder import Emit
from pipeline.ports.clock import Clock, Watch
from pipeline.ports.probe import Probe

BACKOFF = Backoff(0.02, factor=1.5, ceiling=0.25)  # between two requests
LOOK = 0.1  # seconds between two looks at the containers' states
SETTLED = 8.0  # seconds after which an application that listens in the wrong place will not move any more
NOTE = 5.0  # seconds until a note says what is waited for; then twice as many
LINES = 20
KILLED = 137  # the exit code of a process that SIGKILL ended
_NOT_YET = Asked(False, "no request was made yet", refused=True)


@dataclass
class _Replica:
    name: str
    address: str
    asked: Asked = _NOT_YET  # the last answer
    since: float = 0.0  # when its status was first the last one's
    stays: bool = False  # it has answered with the same 4xx for long
    refused: Refused | None = None  # then, see ``HealthPage.refused_host``

    def keep(self, asked: Asked, now: float) -> None:
        self.since = self.since if asked.status == self.asked.status else now
        self.asked = asked


class Readiness:
    """One wait for one slot. ``pauses``: between two requests; ``once``: a container that ends has exited, although
    Docker starts it again."""

    def __init__(
        self,
        api: DockerApi,
        probe: Probe,
        clock: Clock,
        settings: Settings,
        spec: SlotSpec,
        pauses: Backoff = BACKOFF,
        *,
        once: bool = False,
    ) -> None:
        self._pauses, self._once = pauses, once
        self._api, self._clock = api, clock
        self._settings, self._spec = settings, spec
        self._service = spec.config.service
        self._page = HealthPage(probe, spec)
        self._told: set[str] = set()
        self._over = threading.Event()

    def wait(self, names: list[str], emit: Emit, watch: Watch) -> None:
        """Returns once the containers of those names answer. Raises AppFailed if one exits, at the deadline, or once
        one has settled in the wrong place."""
        replicas = [
            _Replica(name, address(self._settings, self._spec.ref, self._spec.release, number))
            for number, name in enumerate(names, 1)
        ]
        if not replicas:
            return
        pool = ThreadPoolExecutor(len(replicas), thread_name_prefix="ready")
        try:
            waits = {pool.submit(self._poll, one): one for one in replicas}
            self._oversee(waits, emit, watch)
        finally:
            self._over.set()
            pool.shutdown(wait=False, cancel_futures=True)

    def _oversee(self, waits: dict[Future[None], _Replica], emit: Emit, watch: Watch) -> None:
        began = looked = self._clock.monotonic()
        ready: set[str] = set()
        note = NOTE
        while True:
            for future, one in waits.items():
                if future.done() and one.name not in ready:
                    future.result()
                    ready.add(one.name)
                    emit(Event("line", self._clock.now(), f"{one.name} is ready"))
            now = self._clock.monotonic()
            if now - looked >= LOOK or len(ready) == len(waits):
                looked = now
                self._refuse_exited([one.name for one in waits.values()])
            if len(ready) == len(waits):
                return
            left = [one for one in waits.values() if one.name not in ready]
            self._tell_same(left, emit)
            if now - began >= note:
                note *= 2
                rest = max(0.0, self._service.ready - (now - began))
                said = left[0].asked.said.rstrip(".")
                text = f"{left[0].name} is not ready yet: {said}; {rest:.0f} s of `ready` are left"
                emit(Event("note", self._clock.now(), text))
            self._pause(left[0], now - began, watch)

    def _tell_same(self, left: list[_Replica], emit: Emit) -> None:
        """Says that an application gives the same 4xx all the while. Raises AppFailed if it refuses the host name."""
        for one in left:
            if one.stays and one.name not in self._told:
                self._told.add(one.name)
                if one.refused:
                    raise one.refused.error(one.name, self._api.output(one.name, LINES))
                said = one.asked.said.rstrip(".")
                text = f"{one.name}: {said} for {SAME:.0f} s; `health` in pipelines.yaml says what is asked"
                emit(Event("note", self._clock.now(), text))

    def _pause(self, one: _Replica, waited: float, watch: Watch) -> None:
        if waited >= self._service.ready:
            raise self._late(one, waited)
        if waited >= SETTLED and one.asked.refused and int(waited / LOOK) % 10 == 0:
            finding = self._finding(one)
            if finding and finding.settled:
                raise self._not_ready(one, finding, waited)
        try:
            watch.wait(0.01)
        except TimedOut:
            raise self._late(one, waited) from None

    def _poll(self, one: _Replica) -> None:
        """Asks for the health page until it is well. In a thread of its own: an answer may take long."""
        retry = Retry(self._pauses)
        while not self._over.is_set():
            asked = self._page.ask(one.address)
            if asked.ok:
                return
            one.keep(asked, self._clock.monotonic())
            if not one.stays and 400 <= asked.status < 500 and self._clock.monotonic() - one.since >= SAME:
                one.refused = self._page.refused_host(one.address, asked)
                one.stays = True
            self._over.wait(retry.pause())

    def _refuse_exited(self, names: list[str]) -> None:
        for name in names:
            found = self._api.container(name)
            if found is None:
                raise AppFailed(f"{name} was removed while it started.", advice="Deploy again.")
            if not found["State"]["Running"] or (self._once and found["State"].get("Restarting")):
                raise exited(found, name, self._api.output(name, LINES))

    def _late(self, one: _Replica, waited: float) -> AppFailed:
        return self._not_ready(one, self._finding(one) or Finding(one.asked.said), waited)

    def _finding(self, one: _Replica) -> Finding | None:
        found = self._api.container(one.name)
        if found is None or not found["State"]["Running"]:
            return None
        table = table_of(self._api, self._settings, found)
        if not table:
            return None
        return explain(listeners(table), self._service.port, lambda: self._page.ask(one.address).refused)

    def _not_ready(self, one: _Replica, finding: Finding, waited: float) -> AppFailed:
        default = (
            f"`{self._spec.ref.output_command}` prints its output; `health` ({self._service.health}) and `ready` are "
            "set in pipelines.yaml."
        )
        return AppFailed(
            f"{one.name} is not ready after {waited:.1f} s: {finding.text}.",
            advice=finding.advice or default,
            facts=(one.asked.said,),
            evidence=self._api.output(one.name, LINES),
        )


def exited(found: Found, name: str, output: tuple[str, ...]) -> AppFailed:
    """Why a container ended."""
    state = found["State"]
    code = int(state["ExitCode"])
    if state.get("OOMKilled"):
        why = f"it was killed because it ran out of memory (exit code {code})"
        advice = "Raise `memory` in pipelines.yaml."
    elif code == KILLED:
        # On a busy machine the kernel's report can be lost with the container's cgroup, before the Engine has read it.
        why = f"it was killed (exit code {code})"
        advice = "If no person did that, its memory limit did: raise `memory` in pipelines.yaml."
    else:
        why = f"it exited with code {code}"
        advice = f"{'Its last lines of output say why.' if output else 'It wrote no output.'} Push a fix."
    return AppFailed(f"{name}: {why}.", advice=advice, facts=(f"exit code {code}",), evidence=output)
