"""One command in a pod of its own: started once, found again after a crash. Its outcome is never guessed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta

from urllib3 import BaseHTTPResponse

from pipeline.adapters import output_lines
from pipeline.adapters.kubernetes.api.client import Refused, status_of
from pipeline.adapters.kubernetes.api.kube_api import KubeApi
from pipeline.adapters.kubernetes.api.objects import KubeObject, Manifest
from pipeline.adapters.kubernetes.api.watch import STREAM_ERRORS, WatchedObjects, shut_down
from pipeline.adapters.kubernetes.pods.events import warnings
from pipeline.adapters.kubernetes.pods.problems import Cause, Problem, creation_problem
from pipeline.adapters.kubernetes.pods.state import app_containers, has_started, is_finished, is_terminating
from pipeline.adapters.kubernetes.workload.claim_problems import ClaimProblems
from pipeline.domain.engine_types import CommandResult
from pipeline.errors import EngineFailed, OutcomeUnknown, TryAgain
from pipeline.lib.retry import Backoff, Retry, poll
from pipeline.ports.builder import Emit
from pipeline.ports.clock import Clock, Watch

CHECK_EVERY = 0.2  # seconds between two checks of the step's deadline
REMOVED_WITHIN = 10.0  # seconds in which a deleted pod is gone
KUBELET_WITHIN = 30  # seconds in which a kubelet reports that a pod has ended
BACKOFF = Backoff(0.1, ceiling=2.0)  # before reading the output again after a break
RETRIES = 5  # without any new output
FORBIDDEN = 403
NOT_ON_NODE_YET = 400  # the answer to a request for output before the kubelet has the pod
_LOST = "ContainerStatusUnknown"  # the kubelet's reason if it lost track of a container


def run(
    api: KubeApi, clock: Clock, name: str, manifest: Callable[[], Manifest], emit: Emit, watch: Watch
) -> CommandResult:
    """Runs the command, or waits for the one that was started under this name. ``manifest`` returns the pod, after it
    has created what the pod needs. Raises OutcomeUnknown if the command started and its result is lost. If the watch
    raises, the pod stays for the next call or for ``remove``."""
    start = clock.monotonic()
    if api.get("Pod", name) is None:
        _create(api, name, manifest())
    with WatchedObjects(api, ("Pod",), {"fieldSelector": f"metadata.name={name}"}) as watched:
        wait_for(watched, name, has_started, clock, watch, api)
        output = _Output(api, name)
        text = output_lines.follow(output.pieces(), output.close, name, clock, emit, watch)
        pod = wait_for(watched, name, _has_ended, clock, watch, api)
    return CommandResult(exit_code(pod), text, clock.monotonic() - start)


def remove(api: KubeApi, clock: Clock, names: Iterable[str]) -> None:
    """Deletes those pods and waits until they are gone, for a limited time. Idempotent."""
    names = tuple(names)
    for name in names:
        pod = api.get("Pod", name)
        if pod:  # if its container has ended there is nothing to wait for
            _delete(api, name, grace=0 if _has_ended(pod) else 1)
    poll(
        lambda: not any(api.get("Pod", name) for name in names),
        CHECK_EVERY / 4,
        clock,
        timeout=REMOVED_WITHIN,
    )


def end(api: KubeApi, name: str) -> None:
    """Lets the pod's command end within the pod's own limit. What it printed stays until ``remove``. Idempotent."""
    pod = api.get("Pod", name)
    if pod and not _has_ended(pod) and not is_terminating(pod):
        api.delete("Pod", name, int(pod["spec"]["terminationGracePeriodSeconds"]))


def _delete(api: KubeApi, name: str, grace: int) -> None:
    api.merge("Pod", name, {"metadata": {"finalizers": None}})
    api.delete("Pod", name, grace)


def exit_code(pod: KubeObject) -> int:
    """The exit code of the pod's command. Raises OutcomeUnknown if the pod was ended before its command, or is lost."""
    terminated = _terminated(pod)
    if terminated is None or terminated.get("reason") == _LOST or _was_ended(pod, terminated):
        raise _outcome_unknown(pod["metadata"]["name"])
    return int(terminated["exitCode"])


def _create(api: KubeApi, name: str, manifest: Manifest) -> None:
    try:
        api.create(manifest)
    except Refused as error:
        # Only a refusal by an admission rule names the pod; a missing permission is about pods in general.
        if error.status == FORBIDDEN and error.object_name == name:
            raise creation_problem(name, error.said).error(()) from error
        raise


def wait_for(
    watched: WatchedObjects,
    name: str,
    done: Callable[[KubeObject], bool],
    clock: Clock,
    watch: Watch,
    api: KubeApi,
    explain: Callable[[Problem], Problem] = lambda problem: problem,
) -> KubeObject:
    """The pod once ``done`` is true of it. Raises the problem that keeps its container from starting, as ``explain``
    returns it; OutcomeUnknown if the pod is gone."""
    since: dict[Cause, float] = {}
    problems = ClaimProblems(api, clock)
    while True:
        watched.wait(CHECK_EVERY)
        if watched.complete():
            pod = _only_pod(watched, name)
            problem = None if has_started(pod) else problems.of(pod)
            if done(pod) or (is_finished(pod) and not problem):
                return pod
            now = clock.monotonic()
            since = {problem.cause: since.get(problem.cause, now)} if problem else {}
            if problem and (is_finished(pod) or now - since[problem.cause] >= problem.grace):
                raise _never_started(watched, explain(problem), api, clock)
        watch.check()


def _only_pod(watched: WatchedObjects, name: str) -> KubeObject:
    found = watched.objects("Pod")
    if not found:
        raise _outcome_unknown(name)
    return found[0]


def _never_started(watched: WatchedObjects, problem: Problem, api: KubeApi, clock: Clock) -> Exception:
    """The problem as an error. The pod is deleted, so that it does not run after all once the problem has passed."""
    name = problem.subject
    facts = tuple(warning.text for warning in warnings(api.events("Pod", name)))
    _delete(api, name, grace=1)
    end = clock.monotonic() + REMOVED_WITHIN
    while (found := watched.objects("Pod")) and clock.monotonic() < end:
        if has_started(found[0]) and _terminated(found[0], _LOST) is None:
            return _outcome_unknown(name)
        watched.wait(CHECK_EVERY)
    return problem.error(facts)


def _has_ended(pod: KubeObject) -> bool:
    return _terminated(pod) is not None or is_finished(pod)


def _terminated(pod: KubeObject, reason: str = "") -> KubeObject | None:
    """How its container ended, if it ended for that reason ("" for any)."""
    for container in app_containers(pod):
        terminated = (container.get("state") or {}).get("terminated")
        if terminated and reason in ("", terminated.get("reason")):
            return dict(terminated)
    return None


def _was_ended(pod: KubeObject, terminated: KubeObject) -> bool:
    """True if the pod was deleted or evicted before its command ended by itself."""
    status = pod.get("status", {})
    disrupted = [one for one in status.get("conditions") or () if one["type"] == "DisruptionTarget"]
    if status.get("reason") or any(one["status"] == "True" for one in disrupted):
        return True
    if not is_terminating(pod):
        return False
    finished_at = terminated.get("finishedAt")
    return not finished_at or datetime.fromisoformat(finished_at) >= _earliest_deletion(pod)


def _earliest_deletion(pod: KubeObject) -> datetime:
    """When the pod may have been deleted, at the earliest. While it has time left to end, its timestamp lies that much
    after the deletion. Once it has none, the API server may have moved it up to when the kubelet was done."""
    left = int(pod["metadata"].get("deletionGracePeriodSeconds") or 0)
    before = left or int(pod["spec"]["terminationGracePeriodSeconds"]) + KUBELET_WITHIN
    return datetime.fromisoformat(pod["metadata"]["deletionTimestamp"]) - timedelta(seconds=before)


class _Output:
    """A container's output, read on after a broken connection. After some failed tries it ends early: the result does
    not depend on it."""

    def __init__(self, api: KubeApi, name: str) -> None:
        self._api, self._name = api, name
        self._closed = threading.Event()
        self._stream: BaseHTTPResponse | None = None
        self._read = 0  # bytes

    def pieces(self) -> Iterator[bytes]:
        """Until the container ends, or another thread calls ``close``."""
        retry = Retry(BACKOFF, retries=RETRIES)
        while not self._closed.is_set():
            before = self._read
            try:
                yield from self._rest()
                return
            except EngineFailed as error:
                if status_of(error) != NOT_ON_NODE_YET:
                    return  # not permitted, or the pod is gone
            except (TryAgain, *STREAM_ERRORS):
                if self._read > before:
                    retry.reset()
            pause = retry.pause()
            if pause is None:
                return
            self._closed.wait(pause)

    def _rest(self) -> Iterator[bytes]:
        self._stream = self._api.follow(self._name)
        skip = self._read
        try:
            while not self._closed.is_set() and (piece := self._stream.read1()):
                fresh, skip = piece[skip:], max(0, skip - len(piece))
                self._read += len(fresh)
                if fresh:
                    yield fresh
        finally:
            self._stream.close()

    def close(self) -> None:
        """Ends a read that another thread is blocked in."""
        self._closed.set()
        if self._stream is not None:
            shut_down(self._stream)


def _outcome_unknown(name: str) -> OutcomeUnknown:
    return OutcomeUnknown(f"The command {name} started, but its result is unknown.")
