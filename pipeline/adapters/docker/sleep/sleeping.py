"""Sleep on Docker: containers are stopped and kept, and the proxy lets the next request wait while they start.

A stopped container keeps its address, its files and its settings, so that waking it is one `docker start`.
"""

from __future__ import annotations

from functools import partial

from pipeline.adapters.docker.base import is_as_wanted, name_of_environment
from pipeline.adapters.docker.drift import DockerDrift
from pipeline.adapters.docker.readiness import Readiness
from pipeline.adapters.docker.start import start
from pipeline.adapters.docker_api.api import Found, name_of
from pipeline.adapters.docker_api.labels import Body
from pipeline.domain.engine_types import SlotRef, SlotSpec
from pipeline.errors import RequestError
from pipeline.lib.parallel import together
from pipeline.lib.retry import Backoff
from pipeline.ports.clock import Watch
from pipeline.ports.sleep.sleeping import Activity

OFTEN = Backoff(0.01, factor=1.1, ceiling=0.03)  # seconds between two requests: someone waits


class DockerSleeping(DockerDrift):
    """See ``ports.sleep.Sleeping``."""

    def can_sleep(self, ref: SlotRef) -> None:  # noqa: ARG002
        self._proxy.insist_on_sleep()

    def activity(self, ref: SlotRef) -> Activity | None:
        return self._proxy.activity(ref.index, ref.slot)

    def await_request(self, ref: SlotRef, seconds: float) -> None:
        self._proxy.sleep(ref.index, seconds)

    def end_sleeping(self, spec: SlotSpec) -> None:
        ref = spec.ref
        if not self.awaits_request(ref):
            raise RequestError(
                f"{name_of_environment(ref)}: its requests do not wait, so nothing that serves is ended.",
                advice="`pushlive status` shows what serves.",
            )
        self._proxy.set_servers(ref.index, ref.slot, [])
        together([partial(self._api.stop, one) for one in self._whole_slot(ref) if one["State"] != "exited"])

    def wake(self, spec: SlotSpec, watch: Watch) -> None:
        """What was stopped was ready before, so that nothing is left but to start it. What is gone is made again."""
        wanted = self._bodies(spec)
        fits = {name_of(one): one for one in self._in_slot(spec.ref) if _is_kept(one, wanted)}
        asleep = [name for name, one in fits.items() if one["State"] == "exited"]
        watch.check()
        together([partial(start, self._api, name) for name in asleep], watch.check)
        if fits.keys() == wanted.keys():
            visited = self._visited(spec)
            one = Readiness(self._api, self._probe, self._clock, self._settings, visited, OFTEN, once=True)
            one.wait(list(wanted), lambda _: None, watch)
        else:
            self._fill(spec, watch)
            self.ready(spec, lambda _: None, watch)
        self.expose(spec)

    def awaits_request(self, ref: SlotRef) -> bool:
        self._proxy.ensure()
        return self._proxy.sleeps(ref.index)

    def is_wanted(self, ref: SlotRef) -> bool:
        return self._proxy.knocked(ref.index)

    def still_awake(self, spec: SlotSpec) -> tuple[str, ...]:
        running = ("running", "restarting", "paused")
        return tuple(sorted(name_of(one) for one in self._whole_slot(spec.ref) if one["State"] in running))


def _is_kept(one: Found, wanted: dict[str, Body]) -> bool:
    """True if it was made from one of those bodies, whether it runs or not."""
    return is_as_wanted({**one, "State": "created"}, wanted.get(name_of(one)))
