"""Slots on Docker compared with what they should be, and repaired."""

from __future__ import annotations

from pipeline.adapters.docker.base import is_as_wanted
from pipeline.adapters.docker.networks import join_all, left_by
from pipeline.adapters.docker.slots import DockerSlots
from pipeline.adapters.docker.traffic import DockerTraffic
from pipeline.adapters.docker_api import labels
from pipeline.adapters.docker_api.api import Found, name_of
from pipeline.adapters.docker_api.labels import Body
from pipeline.domain.engine_types import SlotSpec
from pipeline.errors import EngineFailed


class DockerDrift(DockerSlots, DockerTraffic):
    """See ``ports.Drift``. It repairs by the means of the other ports."""

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
        return [*self._wrong_address(name, body), *self._left_networks(name)]

    def obstacles(self, spec: SlotSpec) -> tuple[str, ...]:  # noqa: ARG002
        return ()  # Docker starts a container or says at once why not

    def restore(self, spec: SlotSpec) -> bool:
        self._proxy.ensure()
        acted = self._fill(spec, None)
        for name, body in self._bodies(spec).items():
            if self._left_networks(name) and (found := self._api.container(name)):
                acted |= join_all(self._api, found)
            for problem in self._wrong_address(name, body):
                advice = f"Run `docker rm -f {name}`; reconciliation creates it again."
                raise EngineFailed(f"{problem}.", advice=advice)
            if acted:
                self._api.restart_always(name)
        if not self._known_to_proxy(spec):
            self.expose(spec)
            acted = True
        return acted

    def drift(self, spec: SlotSpec) -> tuple[str, ...]:  # noqa: ARG002
        return ()  # only a container's limits can be changed in place; ``missing`` finds one with other settings

    def revert_drift(self, spec: SlotSpec) -> None:
        self.restore(spec)

    def _left_networks(self, name: str) -> list[str]:
        found = self._api.container(name)
        left = left_by(found) if found and found["State"]["Running"] else []
        return [f"{name} is not in the network {one}" for one in left]

    def _wrong_address(self, name: str, body: Body) -> list[str]:
        """What is wrong if the container has another address than the one that the proxy knows."""
        found = self._api.container(name)
        networks = found["NetworkSettings"]["Networks"] if found else {}
        has = networks.get(body["HostConfig"]["NetworkMode"], {}).get("IPAddress", "")
        wanted = body["Labels"][labels.ADDRESS]
        state = found["State"] if found else {}
        # One that is about to be started again has no address meanwhile.
        wrong = bool(state and state["Running"] and not state["Restarting"] and has != wanted)
        return [f"{name} has the address {has or 'none'} instead of {wanted}"] if wrong else []
