"""The traffic of environments on Docker: the proxy moves it."""

from __future__ import annotations

from pipeline.adapters.docker.base import EngineBase, name_of_environment
from pipeline.adapters.haproxy.config import backend, server_name
from pipeline.adapters.haproxy.rules.sharing import Shared
from pipeline.domain.engine_types import Answered, ReplicaHealth, Route, Share, SlotRef, SlotSpec
from pipeline.domain.judging.latency.times import Timed
from pipeline.domain.visitors.maintenance import Notice
from pipeline.errors import RequestError
from pipeline.ports.clock import Watch


class DockerTraffic(EngineBase):
    """See ``ports.Traffic``; ``serving`` is in ``EngineBase``."""

    def expose(self, spec: SlotSpec) -> None:
        self._expose(spec, self._servers(spec))

    def preview(self, spec: SlotSpec) -> Route:
        ref = spec.ref
        return Route(
            f"http://127.0.0.1:{self._settings.preview_port}",
            {**self._visited(spec).visitor_headers, "X-Pushlive-Slot": backend(ref.index, ref.slot)},
            self._expected(spec),
            self._key,
        )

    def public(self, spec: SlotSpec) -> Route:
        ref = spec.ref
        return Route(
            f"http://127.0.0.1:{self._settings.port_range[ref.index]}",
            {**self._visited(spec).visitor_headers, "X-Pushlive-Probe": self._proxy.token},
            self._expected(spec),
            self._key,
        )

    def _expected(self, spec: SlotSpec) -> tuple[str, ...]:
        return tuple(server_name(spec.ref.index, spec.ref.slot, one) for one in self._servers(spec))

    def switch(self, spec: SlotSpec) -> None:
        self._insist_on_exposed(spec)
        self._proxy.switch(spec.ref.index, spec.ref.slot)

    def _insist_on_exposed(self, spec: SlotSpec) -> None:
        if not self._known_to_proxy(spec):
            raise RequestError(
                f"{name_of_environment(spec.ref)}: the proxy does not know r{spec.release} in {spec.ref.slot}.",
                advice="A release must be started, ready and exposed before it gets traffic.",
            )

    def can_share(self, ref: SlotRef, route: str, percent: float) -> None:
        """The proxy can; one that an earlier version started says so when it is asked."""

    def share(self, spec: SlotSpec, percent: float, route: str = "") -> None:  # noqa: ARG002 - its proxy divides them
        self._insist_on_exposed(spec)
        shared = Shared(spec.ref.slot, round(percent * 10), f"r{spec.release} #{spec.run}")
        self._proxy.share(spec.ref.index, shared)

    def unshare(self, ref: SlotRef) -> None:
        self._proxy.share(ref.index, None)

    def shared(self, ref: SlotRef) -> Share | None:
        self._proxy.ensure()
        found = self._proxy.shared(ref.index)
        return Share(found[0], found[1] / 10) if found else None

    def unroute(self, ref: SlotRef) -> None:
        self._proxy.switch(ref.index, None)

    def pause(self, ref: SlotRef, seconds: float) -> bool:
        return self._proxy.pause(ref.index, seconds)

    def can_have_notice(self, ref: SlotRef) -> None:  # noqa: ARG002 - its proxy has all environments
        self._proxy.insist_on_notices()

    def set_notice(self, ref: SlotRef, notice: Notice | None) -> None:
        self._proxy.set_notice(ref.index, notice)

    def has_notice(self, ref: SlotRef, notice: Notice | None) -> bool:
        self._proxy.ensure()
        return self._proxy.has_notice(ref.index, notice)

    def waited(self, ref: SlotRef) -> int:
        return self._proxy.waited(ref.index)

    def renew_checks(self, spec: SlotSpec) -> None:
        known = self._proxy.checks_as(spec.ref.index, spec.ref.slot, self._check(spec))
        if not known and self._known_to_proxy(spec):
            self.expose(spec)

    def health(self, spec: SlotSpec) -> tuple[ReplicaHealth, ...]:
        if not self._known_to_proxy(spec):
            return ()
        found, now = (
            self._proxy.health(spec.ref.index, spec.ref.slot, f"GET {spec.config.service.health.path}"),
            self._clock.now(),
        )
        return tuple(
            ReplicaHealth(name, one.healthy, now - one.seconds, one.said, tried=True)
            for number, name in enumerate(self._bodies(spec), 1)
            if (one := found.get(number))
        )

    def answered(self, ref: SlotRef) -> Answered | None:
        return self._proxy.answered(ref.index, ref.slot)

    def sent(self, ref: SlotRef) -> int | None:
        return self._proxy.sent(ref.index, ref.slot)

    def timed(self, ref: SlotRef) -> Timed | None:
        return self._proxy.timed(ref.index, ref.slot)

    def open_sessions(self, ref: SlotRef) -> int:
        return self._proxy.sessions(ref.index, ref.slot)

    def drain(self, ref: SlotRef, limit: float, watch: Watch) -> int:
        self._refuse_serving(ref, "drained")
        end = self._clock.monotonic() + limit
        while count := self.open_sessions(ref):
            left = end - self._clock.monotonic()
            if left <= 0:
                self._proxy.shutdown_sessions(ref.index, ref.slot)
                return count
            watch.wait(min(0.05, left))
        return 0

    def detach(self, ref: SlotRef, mark: str) -> int:  # noqa: ARG002 - there is nothing to remember
        self._refuse_serving(ref, "detached")
        return 0  # the proxy sends the next request of every connection to the slot that serves
