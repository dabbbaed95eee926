"""Traffic in memory."""

from __future__ import annotations

from pipeline.adapters.fake.engine_state import EngineState, environment_key, same_containers
from pipeline.adapters.fake.script import require
from pipeline.adapters.haproxy.config import backend
from pipeline.domain.engine_types import Answered, ReplicaHealth, Route, Share, SlotRef, SlotSpec
from pipeline.domain.environment import Slot
from pipeline.domain.judging.latency.times import Timed
from pipeline.domain.visitors.maintenance import Notice
from pipeline.errors import RequestError
from pipeline.ports.clock import Watch

DRAIN_STEP = 0.05  # seconds between two looks


class FakeTraffic(EngineState):
    """Refuses to expose a slot that is not ready, to switch to one that is not exposed or to share the traffic with it,
    and to drain or detach one that serves."""

    def expose(self, spec: SlotSpec) -> None:
        with self.call("expose", spec):
            require(self._require_content(spec, "expose before start").ready, "expose before ready")
            passwords = spec.passwords()
            require(
                passwords.keys() == set(spec.config.service.http.basic.values()), "expose without passwords"
            )
            self.contents[spec.ref].exposed, self.contents[spec.ref].passwords = True, passwords

    def preview(self, spec: SlotSpec) -> Route:
        with self.call("preview", spec):
            name = backend(spec.ref.index, spec.ref.slot)
            return Route("http://preview.fake", {"X-Pushlive-Slot": name}, self._servers(spec))

    def public(self, spec: SlotSpec) -> Route:
        with self.call("public", spec):
            return Route(f"http://e{spec.ref.index}.fake", {}, self._servers(spec))

    def switch(self, spec: SlotSpec) -> None:
        with self.call("switch", spec):
            require(self._require_content(spec, "switch to an empty slot").exposed, "switch before expose")
            key = environment_key(spec.ref)
            self.active[key] = spec.ref.slot
            self.paused.discard(key)
            self.sleeping.discard(key)
            self.knocking.discard(key)
            self.shares.pop(key, None)
            coming = self.wanted.pop(key, ())
            for other, names in self.hosts.items():
                self.hosts[other] = tuple(host for host in names if host not in coming)
            self.hosts[key] = (*self.hosts.get(key, ()), *coming)

    def can_share(self, ref: SlotRef, route: str, percent: float) -> None:
        with self.call("can_share", ref, route, percent):
            pass

    def share(self, spec: SlotSpec, percent: float, route: str = "") -> None:
        with self.call("share", spec, percent, *filter(None, (route,))):
            require(self._require_content(spec, "share with an empty slot").exposed, "share before expose")
            key = environment_key(spec.ref)
            require(self.active.get(key) not in (None, spec.ref.slot), "share with nothing that serves")
            require(0 < percent < 100, "a share of nothing, or of all")
            self.shares[key] = Share(spec.ref.slot, percent)

    def unshare(self, ref: SlotRef) -> None:
        with self.call("unshare", ref):
            self.shares.pop(environment_key(ref), None)

    def shared(self, ref: SlotRef) -> Share | None:
        with self.call("shared", ref):
            return self.shares.get(environment_key(ref))

    def unroute(self, ref: SlotRef) -> None:
        with self.call("unroute", ref):
            self.shares.pop(environment_key(ref), None)
            self.paused.discard(environment_key(ref))
            self.sleeping.discard(environment_key(ref))
            if environment_key(ref) in self.active:
                self.active[environment_key(ref)] = None

    def pause(self, ref: SlotRef, seconds: float) -> bool:
        with self.call("pause", ref, seconds):
            self.active[environment_key(ref)] = None
            self.shares.pop(environment_key(ref), None)
            self.paused.add(environment_key(ref))
            self.sleeping.discard(environment_key(ref))
            return True

    def can_have_notice(self, ref: SlotRef) -> None:
        with self.call("can_have_notice", ref):
            pass

    def set_notice(self, ref: SlotRef, notice: Notice | None) -> None:
        with self.call("set_notice", ref, notice):
            key = environment_key(ref)
            if notice is None:
                self.notices.pop(key, None)
                return
            if key not in self.active:
                raise RequestError(f"{ref.environment}: a notice before prepare.")
            self.notices[key] = notice

    def has_notice(self, ref: SlotRef, notice: Notice | None) -> bool:
        with self.call("has_notice", ref, notice):
            return self.notices.get(environment_key(ref)) == notice

    def waited(self, ref: SlotRef) -> int:
        with self.call("waited", ref):
            return sum(name == "pause" for name, _ in self.calls)

    def serving(self, ref: SlotRef) -> Slot | None:
        with self.call("serving", ref):
            return self.active.get(environment_key(ref))

    def renew_checks(self, spec: SlotSpec) -> None:
        with self.call("renew_checks", spec):
            pass

    def health(self, spec: SlotSpec) -> tuple[ReplicaHealth, ...]:
        with self.call("health", spec):
            current = self.contents.get(spec.ref)
            if current is None or not current.exposed or not same_containers(current.spec, spec):
                return ()
            said = {
                name: current.sick.get(name, "") for name in (one.name for one in self._replicas(spec.ref))
            }
            return tuple(ReplicaHealth(name, not why, 0.0, why, tried=True) for name, why in said.items())

    def answered(self, ref: SlotRef) -> Answered | None:
        with self.call("answered", ref):
            return self.counted.get(ref, Answered(0, 0))

    def sent(self, ref: SlotRef) -> int | None:
        with self.call("sent", ref):
            return self.bytes.get(ref, 0)

    def timed(self, ref: SlotRef) -> Timed | None:
        with self.call("timed", ref):
            return self.times.get(ref, Timed(1))

    def open_sessions(self, ref: SlotRef) -> int:
        with self.call("open_sessions", ref):
            return self.contents[ref].sessions if ref in self.contents else 0

    def drain(self, ref: SlotRef, limit: float, watch: Watch) -> int:
        with self.call("drain", ref, limit, watch=watch):
            require(not self._serves(ref), "drain of the serving slot")
            current = self.contents.get(ref)
            if current is None:
                return 0
            for _ in range(int(limit / DRAIN_STEP)):
                if not current.sessions:
                    break
                watch.wait(DRAIN_STEP)
                current.sessions -= 1
            closed, current.sessions = current.sessions, 0
            return closed

    def detach(self, ref: SlotRef, mark: str) -> int:
        with self.call("detach", ref, mark):
            require(not self._serves(ref), "detach of the serving slot")
            return 0
