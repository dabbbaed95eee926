"""Restarts on Docker: the proxy sends nothing to a replica while it is started again."""

from __future__ import annotations

from pipeline.adapters.docker import containers
from pipeline.adapters.docker.processes import DockerProcesses, processes_by_container
from pipeline.adapters.docker.readiness import LINES, exited
from pipeline.adapters.docker.start import create, start
from pipeline.adapters.docker.tools.one_off import at, with_free_address
from pipeline.adapters.docker.tools.terminals import DockerTerminals
from pipeline.adapters.docker_api import labels
from pipeline.adapters.docker_api.api import name_of
from pipeline.adapters.haproxy.config import Server
from pipeline.adapters.haproxy.control import Resting
from pipeline.adapters.health_page import HealthPage
from pipeline.config.settings import Settings
from pipeline.domain.engine_types import SlotRef, SlotSpec
from pipeline.domain.events import Event
from pipeline.errors import AppFailed, LeaseLost, PushliveError, TimedOut
from pipeline.ports.builder import Emit
from pipeline.ports.clock import Deadline, Watch

LOOK = 0.1  # seconds between two looks


class DockerRestarts(DockerTerminals, DockerProcesses):
    """See ``ports.outputs.Restarts``."""

    def restart_slot(self, spec: SlotSpec, mark: str, emit: Emit, watch: Watch) -> None:
        if spec.config.service.one:
            self._restart_alone(spec, emit, watch)
        elif spec.config.service.web:
            self._restart_beside(spec, mark, emit, watch)
        self._restart_processes(spec, emit, watch)

    def revive(self, spec: SlotSpec, name: str) -> None:
        """Its connections are not waited for: it answers none of them. It keeps its address."""
        if name in self._bodies(spec):
            self._api.restart(name, containers.stop_seconds(spec))

    def _restart_processes(self, spec: SlotSpec, emit: Emit, watch: Watch) -> None:
        """One container after another, so that a queue keeps a worker. The keeper creates what is missing."""
        there = {name_of(one): one for one in self._of_slot(spec.ref)}
        for name, process in processes_by_container(self._settings, spec).items():
            if one := there.get(name):
                watch.check()
                self._api.restart(name, int(one["Labels"].get(labels.STOP) or 10))
                self._until_ready(spec, {name: process}, lambda _: None, watch)
                emit(Event("line", self._clock.now(), f"{name} was restarted"))

    def _restart_alone(self, spec: SlotSpec, emit: Emit, watch: Watch) -> None:
        """Of what must never run twice: requests wait in the proxy. If it does not become well, they get its answer."""
        [name], [server] = list(self._bodies(spec)), self._servers(spec)
        began, waits = self._clock.monotonic(), self._proxy.pause(spec.ref.index, spec.config.service.timeout)
        try:
            self._restart_one(spec, name, server, watch)
        except PushliveError:  # after a lost lease, the traffic is for others to move
            self._proxy.switch(spec.ref.index, spec.ref.slot)
            raise
        watch.check()
        self._proxy.switch(spec.ref.index, spec.ref.slot)
        took, what = self._clock.monotonic() - began, "requests waited" if waits else "visitors got a 503"
        emit(Event("line", self._clock.now(), f"{name} was restarted; {what} for {took:.1f} s at most"))

    def _restart_beside(self, spec: SlotSpec, mark: str, emit: Emit, watch: Watch) -> None:
        names, servers = list(self._bodies(spec)), self._servers(spec)
        extra = self._extra(spec, mark, watch) if len(names) == 1 else None
        try:
            if extra:
                self._expose(spec, [*servers, extra])
                self._until_up(spec, extra, watch)
            for name, server in zip(names, servers, strict=True):
                self._restart_one(spec, name, server, watch)
                emit(Event("line", self._clock.now(), f"{name} was restarted"))
        except LeaseLost:  # another process decides what the proxy knows, and the keeper removes what is left
            extra = None
            raise
        finally:
            if extra:
                self._drained(spec, extra, watch)
                self._expose(spec, servers)
                self.forget_restart(spec.ref, mark)

    def forget_restart(self, ref: SlotRef, mark: str) -> None:
        self._api.remove(_extra_name(self._settings, ref, mark))

    def _extra(self, spec: SlotSpec, mark: str, watch: Watch) -> Server:
        """A second replica, for as long as the first is away."""
        self._fits_one_more(
            spec,
            "a second replica while the only one is started again",
            "Lower `memory`, or use a larger machine.",
        )
        body = containers.slot_body(self._settings, spec, 1)
        own = {key: text for key, text in body["Labels"].items() if key not in _OF_REPLICAS}
        body = {**body, "Labels": {**own, labels.SESSION: mark}}
        body = containers.with_secrets(body, spec.reveal(), spec.filled)
        network, name = (
            containers.network_name(self._settings, spec.ref),
            _extra_name(self._settings, spec.ref, mark),
        )

        def begin(address: str) -> Server:
            watch.check()
            create(self._api, name, at(body, network, address), spec.config.uses)
            try:
                start(self._api, name)
                self._until_well(spec, name, address, watch)
            except PushliveError:
                self._api.remove(name)
                raise
            return address, spec.config.service.port

        return with_free_address(self._api, self._settings, spec.ref, begin)

    def _restart_one(self, spec: SlotSpec, name: str, server: Server, watch: Watch) -> None:
        """Without the lease its server stays as it is: the next to look at the slot gives it requests again."""
        watch.check()
        try:
            self._drained(spec, server, watch)
            watch.check()
            self._api.restart(name, containers.stop_seconds(spec))
            self._until_well(spec, name, server[0], watch)
        except PushliveError:
            self._resting(spec).rest(server, resting=False)
            raise
        self._resting(spec).rest(server, resting=False)
        self._until_up(spec, server, watch)

    def _drained(self, spec: SlotSpec, server: Server, watch: Watch) -> None:
        """Takes the server out, and waits for its open requests as long as the service's `drain` allows."""
        resting = self._resting(spec)
        resting.rest(server, resting=True)
        end = self._clock.monotonic() + spec.config.service.drain
        while resting.sessions(server) and self._clock.monotonic() < end:
            watch.wait(LOOK / 2)

    def _until_well(self, spec: SlotSpec, name: str, address: str, watch: Watch) -> None:
        page, asked = HealthPage(self._probe, self._visited(spec)), None
        limit = Deadline(self._clock, spec.config.service.ready, f"{name}: becoming healthy")
        try:
            while not (asked := page.ask(address)).ok:
                found = self._api.container(name)
                if found and not found["State"]["Running"] and not found["State"]["Restarting"]:
                    raise exited(found, name, self._api.output(name, LINES))
                watch.check()
                limit.wait(LOOK)
        except TimedOut as error:
            said = asked.said if asked else ""
            others = "" if spec.config.service.one else " The others serve on."
            raise AppFailed(
                f"{error.message}{others}",
                advice=f"`{spec.ref.output_command}` prints its output.",
                facts=(said,),
                evidence=self._api.output(name, LINES),
            ) from error

    def _until_up(self, spec: SlotSpec, server: Server, watch: Watch) -> None:
        """Until the proxy's own checks have seen it well."""
        while not self._resting(spec).is_up(server):
            watch.wait(LOOK)

    def _resting(self, spec: SlotSpec) -> Resting:
        return self._proxy.resting(spec.ref.index, spec.ref.slot)


_OF_REPLICAS = (labels.REPLICA, labels.ADDRESS, labels.SPEC)


def _extra_name(settings: Settings, ref: SlotRef, mark: str) -> str:
    return f"{containers.network_name(settings, ref)}-session-{mark}"
