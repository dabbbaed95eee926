"""Slots on Docker compared with what they should be, and repaired."""

from __future__ import annotations

from functools import cached_property

from pipeline.adapters.docker.base import is_as_wanted
from pipeline.adapters.docker.networks import join_all, left_by, wanted_by
from pipeline.adapters.docker.parity import by_hand, seen
from pipeline.adapters.docker.parity.by_hand import Change
from pipeline.adapters.docker.parity.seen import Running
from pipeline.adapters.docker.processes import process_bodies, processes_by_container
from pipeline.adapters.docker.slots import DockerSlots
from pipeline.adapters.docker.traffic import DockerTraffic
from pipeline.adapters.docker_api import labels
from pipeline.adapters.docker_api.api import Found, name_of
from pipeline.adapters.docker_api.labels import Body
from pipeline.config.parity.properties import HOSTS, TLS, VERSION, Value, plain
from pipeline.domain.engine_types import SlotSpec
from pipeline.domain.parity.by_hand import ByHand
from pipeline.domain.parity.seen import Seen
from pipeline.errors import EngineFailed
from pipeline.lib.units import show_time

IMAGES_KNOWN = 200  # images whose own variables are remembered; they never change


class DockerDrift(DockerSlots, DockerTraffic):
    """See ``ports.Drift``. It repairs by the means of the other ports."""

    @cached_property
    def _images(self) -> dict[str, tuple[str, ...]]:
        """The own variables of images, by their ids."""
        return {}

    @cached_property
    def _settable(self) -> frozenset[str]:
        """The limits that the Engine can set."""
        return by_hand.limited(self._api.info())

    def missing(self, spec: SlotSpec) -> tuple[str, ...]:
        wanted = self._bodies(spec)
        found = {name_of(one): one for one in self._in_slot(spec.ref)}
        problems = [f"{name} does not belong there" for name in found if name not in wanted]
        for name, body in wanted.items():
            problems += self._problems(found.get(name), name, body)
        if not problems and not self._known_to_proxy(spec):
            problems.append("the proxy does not know its containers")
        return tuple(problems)

    def _problems(self, one: Found | None, name: str, body: Body) -> list[str]:
        if one is None:
            return [f"{name} is missing"]
        if one["State"] not in ("running", "restarting"):
            return [f"{name} is {one['State']}"]
        if not is_as_wanted(one, body):
            return [f"{name} has other settings"]
        found = self._api.container(name)
        return [*_wrong_address(found, name, body), *_left_networks(found, name)]

    def obstacles(self, spec: SlotSpec) -> tuple[str, ...]:  # noqa: ARG002
        return ()  # Docker starts a container or says at once why not

    def restore(self, spec: SlotSpec) -> bool:
        self._proxy.ensure()
        acted = self._fill(spec, None)
        for name, body in self._bodies(spec).items():
            found = self._api.container(name)
            if found and _left_networks(found, name):
                acted |= join_all(self._api, found)
            for problem in _wrong_address(found, name, body):
                advice = f"Run `docker rm -f {name}`; reconciliation creates it again."
                raise EngineFailed(f"{problem}.", advice=advice)
            if acted:
                self._api.restart_always(name)
        if not self._known_to_proxy(spec):
            self.expose(spec)
            acted = True
        return acted

    def drift(self, spec: SlotSpec) -> tuple[ByHand, ...]:
        return tuple(
            one.line.at(name, self._when(running, one))
            for name, running in self._made_of(spec).items()
            for one in self._changes(spec, running)
        )

    def revert_drift(self, spec: SlotSpec) -> None:
        self.restore(spec)
        for name, running in self._made_of(spec).items():
            found = self._changes(spec, running)
            if any(one.in_place and not one.network for one in found):
                self._api.update_limits(name, by_hand.limits_of(running.body, self._settable))
            for one in found:
                if one.network:
                    self._api.disconnect_by_name(running.found["Id"], one.network)
            for one in found:
                if not one.in_place:
                    raise EngineFailed(
                        f"{name} was made again by hand, and cannot be changed back while it runs: {one}.",
                        advice=f"Run `docker rm -f {name}`; reconciliation creates it again as it should be, within "
                        "seconds.",
                    )

    def seen(self, spec: SlotSpec) -> Seen:
        made = self._made_of(spec)
        beside = processes_by_container(self._settings, spec)
        inside = seen.inside(
            spec,
            (one for name, one in made.items() if name not in beside),
            ((beside[name][0], one) for name, one in made.items() if name in beside),
            self._settable,
        )
        scheme = self._proxy.schemes.of(spec.host) if spec.web else "http"
        around = {VERSION: plain(f"Docker {self._api.engine_version()}")}
        if spec.web:
            around[TLS] = plain("on" if scheme == "https" else "off")
        return Seen(inside | (self._other_hosts(spec) if inside else {}), around)

    def _other_hosts(self, spec: SlotSpec) -> dict[str, Value | None]:
        """Those that the proxy has for the environment, if they are not the release's."""
        routes = self._proxy.routes(spec.ref.index)
        hosts = set(routes.hosts) - {spec.ref.own_host} if routes else set()
        return (
            {}
            if not spec.web or hosts == set(spec.hosts)
            else {HOSTS: plain(", ".join(sorted(hosts)) or "none")}
        )

    def _made_of(self, spec: SlotSpec) -> dict[str, Running]:
        """The containers that run in the slot and say that they were made from the spec."""
        made: dict[str, Running] = {}
        bodies = {**self._bodies(spec), **process_bodies(self._settings, spec)}
        for name, body in bodies.items():
            found = self._api.container(name)
            label = (found["Config"]["Labels"] or {}).get(labels.SPEC) if found else None
            if found and found["State"]["Running"] and label == body["Labels"][labels.SPEC]:
                made[name] = Running(found, body, self._image_env(str(found["Image"])))
        return made

    def _image_env(self, image: str) -> tuple[str, ...] | None:
        if image not in self._images:
            found = self._api.image(image)
            if found is None:  # it was removed while its container runs, and tells nothing any more
                return None
            while len(self._images) >= IMAGES_KNOWN:
                self._images.pop(next(iter(self._images)))
            self._images[image] = tuple(found["Config"].get("Env") or ())
        return self._images[image]

    def _changes(self, spec: SlotSpec, running: Running) -> tuple[Change, ...]:
        found, body = running.found, running.body
        given = {*spec.given, *spec.filled}
        networks = {body["HostConfig"]["NetworkMode"], *wanted_by(found["Config"]["Labels"])}
        return by_hand.changes(found, body, running.image_env, given, networks, self._settable)

    def _when(self, running: Running, one: Change) -> str:
        """As far as the Engine knows: it keeps its last 256 events, and not whose they were."""
        at = None
        if one.in_place and not one.network:
            at = self._api.last_update(running.found)
        elif not one.in_place:
            at = self._api.created(running.found)
        return f" ({show_time(at)})" if at else ""


def _left_networks(found: Found | None, name: str) -> list[str]:
    left = left_by(found) if found and found["State"]["Running"] else []
    return [f"{name} is not in the network {one}" for one in left]


def _wrong_address(found: Found | None, name: str, body: Body) -> list[str]:
    """What is wrong if the container has another address than the one that the proxy knows."""
    networks = found["NetworkSettings"]["Networks"] if found else {}
    has = networks.get(body["HostConfig"]["NetworkMode"], {}).get("IPAddress", "")
    wanted = body["Labels"][labels.ADDRESS]
    state = found["State"] if found else {}
    # One that is about to be started again has no address meanwhile.
    wrong = bool(state and state["Running"] and not state["Restarting"] and has != wanted)
    return [f"{name} has the address {has or 'none'} instead of {wanted}"] if wrong else []
