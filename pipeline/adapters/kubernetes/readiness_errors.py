"""What is said of pods that do not become ready: of whom it is known, and of whom patience has come to its end."""

from __future__ import annotations

from contextlib import suppress

from pipeline.adapters.kubernetes import forward
from pipeline.adapters.kubernetes.api import Found, KubeApi
from pipeline.adapters.kubernetes.names import slot_name
from pipeline.adapters.kubernetes.pod_problems import (
    EXIT,
    Trouble,
    answered,
    containers,
    has_begun,
    is_ready,
    refusals,
    told,
    unready,
)
from pipeline.domain.engine_types import SlotSpec
from pipeline.errors import AppFailed, EngineAway, EngineFailed, PushliveError, TryAgain

LINES = 20  # of a container's output
SILENT = 0.5  # seconds after which it is not known any more what the pods do
REFUSED = "connection refused"
MORE = 2  # refusals after a connection inside the pod has stood


class Late:
    """One slot's pods, in words."""

    def __init__(self, api: KubeApi, spec: SlotSpec) -> None:
        self._api, self._spec = api, spec
        self._asked: dict[str, int] = {}  # pods: refusals when a connection inside stood, -1 where none did

    def failed(self, trouble: Trouble) -> PushliveError:
        """The trouble as an error, with what the cluster says and the last output beside it."""
        without = ("Unhealthy", "BackOff") if trouble.cause == EXIT else ()
        return trouble.error(self._evidence(trouble.subject, trouble.previous, without, trouble.text))

    def error(
        self, pods: list[Found], troubles: list[Trouble], silent: float, waited: float
    ) -> PushliveError:
        """The error at the deadline. ``silent``: seconds for which the API server has told nothing; ``waited``: seconds
        for which the containers have run."""
        name = slot_name(self._spec.ref)
        if silent >= SILENT:
            return EngineAway(f"{name}: the Kubernetes API has not answered for {silent:.0f} s.")
        if troubles:
            return self.failed(troubles[0])
        late = [pod for pod in pods if not is_ready(pod)]
        if not late or not has_begun(late[0]):
            said, pod = self.state(pods), late[0]["metadata"]["name"] if late else ""
            return EngineFailed(
                f"{name} has not begun: {said}.",
                advice=f"See `kubectl -n {self._api.namespace} describe pod`, then `pushlive retry`.",
                evidence=self._evidence(pod, previous=False) if pod else (),
            )
        return self._unready(late[0]["metadata"]["name"], waited)

    def _unready(self, pod: str, waited: float) -> AppFailed:
        service = self._spec.config.service
        events = self._api.events("Pod", pod)
        said = answered(events, REFUSED) or unready(events)
        text = f"{pod} is not ready after {waited:.1f} s: "
        advice = f"Look at its output below; `health` ({service.health}), `port` and `ready` are in pipelines.yaml."
        if REFUSED in said and self._listens_inside(pod):
            text += f"it listens on 127.0.0.1:{service.port} only, which nobody outside its container reaches"
            advice = f"Let the application listen on 0.0.0.0:{service.port}."
        elif REFUSED in said:
            text += f"nothing listens on 0.0.0.0:{service.port}"
            advice = f"Set `port` in pipelines.yaml to that of the application, or let it listen on {service.port}."
        else:
            text += (said and f"GET {service.health}: {said}") or "it has not been asked yet"
        return AppFailed(f"{text}.", advice=advice, evidence=self._evidence(pod, previous=False))

    def listens_to_itself(self, pods: list[Found]) -> bool:
        """True where a pod goes on refusing whoever is outside, although it answers on 127.0.0.1: one refusal may be
        from before it began to listen."""
        for pod in pods:
            name = pod["metadata"]["name"]
            if is_ready(pod) or self._asked.get(name, 0) < 0:
                continue
            count = refusals(self._api.events("Pod", name), REFUSED)
            if name not in self._asked:
                self._asked[name] = count if count and self._listens_inside(name) else -1
            elif count >= self._asked[name] + MORE:
                return True
        return False

    def _listens_inside(self, pod: str) -> bool:
        """A connection forwarded through the API server comes from inside the pod. False where that is not to be
        known: it is a right that not everybody has."""
        try:
            forward.insist(self._api, pod, self._spec.config.service.port, timeout=5.0)
        except (TryAgain, EngineFailed):
            return False
        return True

    def state(self, pods: list[Found]) -> str:
        """What is waited for."""
        wanted = self._spec.config.service.replicas
        late = [pod for pod in pods if not is_ready(pod)]
        if len(pods) < wanted:
            return f"the cluster has made {len(pods)} of {wanted} pods"
        if not late:
            return f"{wanted} pods are ready, the cluster has yet to say so"
        name = late[0]["metadata"]["name"]
        events = self._api.events("Pod", name)
        if not has_begun(late[0]):
            last = events[-1] if events else {}
            return f"{name} is {_phase(late[0])}" + (
                f" ({last.get('reason')}: {last.get('message')})" if last else ""
            )
        said = unready(events)
        return f"{name} is not ready yet: {said}" if said else f"{name} is {_phase(late[0])}"

    def _evidence(
        self, pod: str, previous: bool, without: tuple[str, ...] = (), said: str = ""
    ) -> tuple[str, ...]:
        """Events of other reasons than those, and that say more than was said already; then the last output."""
        events = told(self._api.events("Pod", pod), without)
        events = tuple(one for one in events if one.partition(": ")[2] not in said)
        output: tuple[str, ...] = ()
        with suppress(
            EngineFailed, TryAgain
        ):  # a diagnosis that cannot be had must not hide what is diagnosed
            output = self._api.output(pod, LINES, previous=previous)
        return (*events, *output)


def _phase(pod: Found) -> str:
    waiting = [(one.get("state") or {}).get("waiting") for one in containers(pod)]
    reason = next((one.get("reason", "") for one in waiting if one), "")
    return str(reason or pod.get("status", {}).get("phase", "unknown"))
