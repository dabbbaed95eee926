"""Errors about pods that do not become ready, with the cluster's warnings and the last output as evidence."""

from __future__ import annotations

from contextlib import suppress

from pipeline.adapters.health_page import REFUSALS, HealthPage
from pipeline.adapters.kubernetes.api import port_forward
from pipeline.adapters.kubernetes.api.kube_api import KubeApi
from pipeline.adapters.kubernetes.api.objects import KubeObject
from pipeline.adapters.kubernetes.names import slot_name
from pipeline.adapters.kubernetes.pod_probe import PodProbe
from pipeline.adapters.kubernetes.pods.events import (
    last_probe_failure,
    refused_connections,
    telling_probe_failure,
    warnings,
)
from pipeline.adapters.kubernetes.pods.problems import Cause, Problem
from pipeline.adapters.kubernetes.pods.state import has_started, is_ready, unready_added, waiting_reason
from pipeline.domain.engine_types import SlotSpec
from pipeline.errors import AppFailed, EngineAway, EngineFailed, PushliveError, TryAgain

OUTPUT_LINES = 20  # of a container
SILENT = 0.5  # seconds without news from the API server after which the state of the pods is unknown
MORE_REFUSALS = 2  # after a connection from inside the pod was accepted
_NEVER_ACCEPTED = -1


class ReadinessErrors:
    """Explains why the pods of one slot are not ready."""

    def __init__(self, api: KubeApi, spec: SlotSpec) -> None:
        self._api, self._spec = api, spec
        # By pod: the refused connections when one from inside was accepted, or _NEVER_ACCEPTED.
        self._refused: dict[str, int] = {}
        self._page = HealthPage(PodProbe(api), spec)
        self._asked: set[str] = set()  # pods that were asked whether they refuse the host name

    def for_problem(self, problem: Problem) -> PushliveError:
        """The problem as an error, with its evidence."""
        without = ("Unhealthy", "BackOff") if problem.cause is Cause.EXIT else ()
        facts = self._warnings(problem.subject, without, problem.quoted)
        return problem.error(facts, self._output(problem.subject, problem.previous))

    def at_deadline(
        self, pods: list[KubeObject], problems: list[Problem], silence: float, waited: float
    ) -> PushliveError:
        """The error at the deadline. ``silence``: seconds without news from the API server; ``waited``: seconds for
        which the containers have run."""
        name = slot_name(self._spec.ref)
        if silence >= SILENT:
            return EngineAway(f"{name}: the Kubernetes API has not answered for {silence:.0f} s.")
        if problems:
            return self.for_problem(problems[0])
        unready = [pod for pod in pods if not is_ready(pod)]
        if not unready or not has_started(unready[0]):
            pod = unready[0]["metadata"]["name"] if unready else ""
            return EngineFailed(
                f"{name} has not started: {self.progress(pods)}.",
                advice=f"See `kubectl -n {self._api.namespace} describe pod`.",
                again=True,
                facts=self._warnings(pod) if pod else (),
                evidence=self._output(pod) if pod else (),
            )
        if waiting := unready_added(unready[0]):
            return self._held_up(unready[0]["metadata"]["name"], waiting)
        return self._unready(unready[0]["metadata"]["name"], waited)

    def _held_up(self, pod: str, containers: str) -> EngineFailed:
        """The application is ready, and what the cluster put beside it is not."""
        return EngineFailed(
            f"{pod} is not ready, although the application is: {containers}, which the cluster added, is not.",
            advice=f"See its output (`kubectl -n {self._api.namespace} logs {pod} -c {containers}`), and what adds it.",
            facts=self._warnings(pod),
        )

    def _unready(self, pod: str, waited: float) -> AppFailed:
        service = self._spec.config.service
        failure = telling_probe_failure(self._api.events("Pod", pod))
        advice = (
            f"`{self._spec.ref.output_command}` prints its output; check `health` ({service.health.path}), `port` and "
            "`ready` in pipelines.yaml."
        )
        if failure is None:
            text = "its health path has not been checked yet"
        elif not failure.refused:
            text = f"GET {service.health.path}: {failure.message}"
        elif self._accepts_inside(pod):
            text = f"it listens only on 127.0.0.1:{service.port} or over IPv6, where no one reaches it"
            advice = f"Let the application listen on 0.0.0.0:{service.port}."
        else:
            text = f"nothing listens on 0.0.0.0:{service.port}"
            advice = f"Set `port` in pipelines.yaml to the application's port, or let it listen on port {service.port}."
        message = f"{pod} is not ready after {waited:.1f} s: {text}."
        return AppFailed(message, advice=advice, facts=self._warnings(pod), evidence=self._output(pod))

    def listens_on_loopback_only(self, pods: list[KubeObject]) -> bool:
        """True if a pod keeps refusing connections from outside, although it accepts one from inside. A single refusal
        may date from before it listened."""
        for pod in pods:
            name = pod["metadata"]["name"]
            if is_ready(pod) or self._refused.get(name, 0) == _NEVER_ACCEPTED:
                continue
            count = refused_connections(self._api.events("Pod", name))
            if name not in self._refused:
                self._refused[name] = count if count and self._accepts_inside(name) else _NEVER_ACCEPTED
            elif count >= self._refused[name] + MORE_REFUSALS:
                return True
        return False

    def refused_host(self, pods: list[KubeObject]) -> AppFailed | None:
        """If a pod refuses the host name with which its health page is asked for. Each is asked once."""
        for pod in pods:
            name = pod["metadata"]["name"]
            if is_ready(pod) or not has_started(pod) or name in self._asked:
                continue
            failure = last_probe_failure(self._api.events("Pod", name))
            if failure is None or failure.status not in REFUSALS:
                continue
            self._asked.add(name)
            address = str(pod["status"].get("podIP", "")) if self._api.cluster.inside else name
            try:
                found = self._page.refused_host(address, self._page.ask(address))
            except EngineFailed:  # not every account may forward ports
                continue
            if found:
                return found.error(name, self._output(name))
        return None

    def _accepts_inside(self, pod: str) -> bool:
        """True if the pod accepts a forwarded connection, which comes from inside the pod. False if that is unknown:
        not every account may forward ports."""
        try:
            port_forward.check_port(self._api, pod, self._spec.config.service.port, timeout=5.0)
        except (TryAgain, EngineFailed):
            return False
        return True

    def progress(self, pods: list[KubeObject]) -> str:
        """What the slot is waiting for."""
        wanted = self._spec.replicas
        unready = [pod for pod in pods if not is_ready(pod)]
        if len(pods) < wanted:
            return f"the cluster has created {len(pods)} of {wanted} pods"
        if not unready:
            return f"{wanted} pods are ready, but the Deployment does not report them yet"
        name = unready[0]["metadata"]["name"]
        events = self._api.events("Pod", name)
        if not has_started(unready[0]):
            last = f" ({events[-1].get('reason')}: {events[-1].get('message')})" if events else ""
            return f"{name} is {_state(unready[0])}{last}"
        failure = last_probe_failure(events)
        return f"{name} is not ready yet: {failure.message}" if failure else f"{name} is {_state(unready[0])}"

    def _warnings(self, pod: str, without: tuple[str, ...] = (), quoted: str = "") -> tuple[str, ...]:
        """The pod's warnings, except for reasons in ``without`` and messages that ``quoted`` contains."""
        found = warnings(self._api.events("Pod", pod), without)
        return tuple(warning.text for warning in found if warning.message not in quoted)

    def _output(self, pod: str, previous: bool = False) -> tuple[str, ...]:
        """Its last output."""
        with suppress(EngineFailed, TryAgain):  # missing evidence must not hide the error
            return self._api.output(pod, OUTPUT_LINES, previous=previous)
        return ()


def _state(pod: KubeObject) -> str:
    return waiting_reason(pod) or str(pod.get("status", {}).get("phase", "unknown"))
