"""Why pods wait for their volumes, asked of the cluster from time to time."""

from __future__ import annotations

import math

from pipeline.adapters.kubernetes.api.kube_api import KubeApi
from pipeline.adapters.kubernetes.api.objects import KubeObject
from pipeline.adapters.kubernetes.pods.claims import claim_problem, claims_of, missing_claim, waits_for_node
from pipeline.adapters.kubernetes.pods.problems import Cause, Problem, pod_problem
from pipeline.adapters.kubernetes.pods.state import is_terminating
from pipeline.adapters.kubernetes.workload.claims import KIND
from pipeline.ports.clock import Clock

ASK_EVERY = 1.0  # seconds between two looks at the claims of one pod; also before the first
_ABOUT_A_NODE = (None, Cause.NO_NODE, Cause.VOLUME)


class ClaimProblems:
    """What is wrong with pods, with what their claims say."""

    def __init__(self, api: KubeApi, clock: Clock) -> None:
        self._api, self._clock = api, clock
        self._asked: dict[str, float] = {}  # when, by pod
        self._found: dict[str, Problem | None] = {}

    def of(self, pod: KubeObject) -> Problem | None:
        """See ``pod_problem``."""
        problem = pod_problem(pod)
        if not waits_for_node(pod) or not claims_of(pod):
            return problem
        if (problem.cause if problem else None) not in _ABOUT_A_NODE:
            return problem
        name, now = pod["metadata"]["name"], self._clock.monotonic()
        if now - self._asked.setdefault(name, now if problem is None else -math.inf) >= ASK_EVERY:
            self._asked[name], self._found[name] = now, self._ask(pod, problem)
        if name not in self._found:
            return problem
        # Once its claims are bound, a pod says for a moment longer that they are not.
        return self._found[name] or (None if problem and problem.cause is Cause.VOLUME else problem)

    def _ask(self, pod: KubeObject, known: Problem | None) -> Problem | None:
        name = pod["metadata"]["name"]
        for one in claims_of(pod):
            claim = self._api.get(KIND, one)
            if claim is None or is_terminating(claim):
                return missing_claim(name, one, self._api.namespace)
            if problem := claim_problem(name, claim, self._api.events(KIND, one), known):
                return problem
        return None
