"""One command in a pod of its own: started once, found again after a crash, never guessed about."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta

from urllib3 import BaseHTTPResponse

from pipeline.adapters import output_lines
from pipeline.adapters.kubernetes.api import Found, KubeApi
from pipeline.adapters.kubernetes.client import status_of
from pipeline.adapters.kubernetes.manifests import Manifest
from pipeline.adapters.kubernetes.pod_problems import (
    Trouble,
    containers,
    has_begun,
    is_going,
    is_over,
    of_pod,
    of_refusal,
    told,
)
from pipeline.adapters.kubernetes.watch import BROKEN, Follow, cut
from pipeline.domain.engine_types import CommandResult
from pipeline.errors import EngineFailed, OutcomeUnknown, TryAgain
from pipeline.lib.retry import Backoff, Retry, poll
from pipeline.ports.builder import Emit
from pipeline.ports.clock import Clock, Watch

LOOK = 0.2  # seconds between two looks at the step's own patience
GONE = 10.0  # seconds in which a pod that was told to end is gone
BACKOFF = Backoff(0.1, ceiling=2.0)  # before an output that broke off is asked for again
RETRIES = 5  # without a byte more
_UNKNOWN = "ContainerStatusUnknown"  # what the kubelet writes where it lost sight of a container


def run(
    api: KubeApi, clock: Clock, name: str, made: Callable[[], Manifest], emit: Emit, watch: Watch
) -> CommandResult:
    """Runs the command, or awaits or looks up the one begun earlier under the same name. ``made`` gives the pod, and
    sees to what it needs. Raises OutcomeUnknown where it was begun and its result is not to be had; what the watch
    raises leaves the pod as it is, for the next call or ``forget``."""
    began = clock.monotonic()
    if api.get("Pod", name) is None:
        _create(api, name, made())
    with Follow(api, ("Pod",), {"fieldSelector": f"metadata.name={name}"}) as follow:
        _until(follow, name, has_begun, clock, watch, api)
        output = _Output(api, name)
        text = output_lines.follow(output.pieces(), output.close, name, clock, emit, watch)
        pod = _until(follow, name, _ended, clock, watch, api)
    return CommandResult(exit_code(pod), text, clock.monotonic() - began)


def forget(api: KubeApi, clock: Clock, names: Iterable[str]) -> None:
    """Removes those pods, and returns once they are gone, a bounded time. Twice."""
    ours = tuple(names)
    for name in ours:
        pod = api.get("Pod", name)
        if pod:  # of one whose container has ended there is nothing left to wait for
            _let_go(api, name, grace=0 if _ended(pod) else 1)
    poll(lambda: not any(api.get("Pod", name) for name in ours), LOOK / 4, clock, timeout=GONE)


def _let_go(api: KubeApi, name: str, grace: int) -> None:
    api.merge("Pod", name, {"metadata": {"finalizers": None}})
    api.delete("Pod", name, grace)


def exit_code(pod: Found) -> int:
    """With which its command ended. Raises OutcomeUnknown where somebody or something ended it before, and where it is
    gone."""
    end = _terminated(pod)
    if end is None or end.get("reason") == _UNKNOWN or _was_ended(pod, end):
        raise _unknown(pod["metadata"]["name"])
    return int(end["exitCode"])


def _create(api: KubeApi, name: str, manifest: Manifest) -> None:
    try:
        api.create(manifest)
    except EngineFailed as error:
        if status_of(error) == 403 and f'"{name}" is forbidden: ' in error.message:
            raise of_refusal(name, error.message.partition(" answered 403: ")[2]).error(()) from error
        raise


def _until(
    follow: Follow, name: str, done: Callable[[Found], bool], clock: Clock, watch: Watch, api: KubeApi
) -> Found:
    """The pod once that is true of it. Raises what keeps its container from being made, OutcomeUnknown where it is
    gone."""
    since: dict[str, float] = {}
    while True:
        follow.wait(LOOK)
        if follow.complete():
            pod = _only(follow, name)
            trouble = None if has_begun(pod) else of_pod(pod)
            if done(pod) or (is_over(pod) and not trouble):
                return pod
            now = clock.monotonic()
            since = {trouble.cause: since.get(trouble.cause, now)} if trouble else {}
            if trouble and (is_over(pod) or now - since[trouble.cause] >= trouble.wait):
                raise _never_begun(follow, trouble, api, clock)
        watch.check()


def _only(follow: Follow, name: str) -> Found:
    found = follow.objects("Pod")
    if not found:
        raise _unknown(name)
    return found[0]


def _never_begun(follow: Follow, trouble: Trouble, api: KubeApi, clock: Clock) -> Exception:
    """The trouble as an error. The pod is taken away: it must not run after all once the trouble has passed."""
    name = trouble.subject
    error = trouble.error(told(api.events("Pod", name)))
    _let_go(api, name, grace=1)
    end = clock.monotonic() + GONE
    while (found := follow.objects("Pod")) and clock.monotonic() < end:
        if has_begun(found[0]) and _terminated(found[0], _UNKNOWN) is None:
            return _unknown(name)
        follow.wait(LOOK)
    return error


def _ended(pod: Found) -> bool:
    return _terminated(pod) is not None or is_over(pod)


def _terminated(pod: Found, reason: str = "") -> Found | None:
    """How its container ended, for that reason where one is given."""
    for one in containers(pod):
        ended = (one.get("state") or {}).get("terminated")
        if ended and reason in ("", ended.get("reason")):
            return dict(ended)
    return None


def _was_ended(pod: Found, end: Found) -> bool:
    """True where the pod was told to end, or evicted, before its command had ended by itself."""
    status = pod.get("status", {})
    disrupted = [one for one in status.get("conditions") or () if one["type"] == "DisruptionTarget"]
    if status.get("reason") or any(one["status"] == "True" for one in disrupted):
        return True
    if not is_going(pod):
        return False
    grace = timedelta(seconds=int(pod["metadata"].get("deletionGracePeriodSeconds") or 0))
    told_to = datetime.fromisoformat(pod["metadata"]["deletionTimestamp"]) - grace
    return not end.get("finishedAt") or datetime.fromisoformat(end["finishedAt"]) >= told_to


class _Output:
    """A container's output, taken up again where the way to it broke; given up after some tries: the result is known
    all the same."""

    def __init__(self, api: KubeApi, name: str) -> None:
        self._api, self._name = api, name
        self._over = threading.Event()
        self._stream: BaseHTTPResponse | None = None
        self._seen = 0  # bytes

    def pieces(self) -> Iterator[bytes]:
        """Until the container ends, or ``close`` is called from elsewhere."""
        retry = Retry(BACKOFF, retries=RETRIES)
        while not self._over.is_set():
            before = self._seen
            try:
                yield from self._rest()
                return
            except EngineFailed as error:
                if status_of(error) != 400:  # 400: the node does not know of it yet
                    return  # no right to it, or the pod is gone
            except (TryAgain, *BROKEN):
                if self._seen > before:
                    retry.reset()
            pause = retry.pause()
            if pause is None:
                return
            self._over.wait(pause)

    def _rest(self) -> Iterator[bytes]:
        self._stream = self._api.follow(self._name)
        skip = self._seen
        try:
            while not self._over.is_set() and (piece := self._stream.read1()):
                fresh, skip = piece[skip:], max(0, skip - len(piece))
                self._seen += len(fresh)
                if fresh:
                    yield fresh
        finally:
            self._stream.close()

    def close(self) -> None:
        """Ends a read that another thread waits in."""
        self._over.set()
        if self._stream is not None:
            cut(self._stream)


def _unknown(name: str) -> OutcomeUnknown:
    return OutcomeUnknown(
        f"{name} was begun, and nobody knows how it ended.",
        advice="Look what the command has done, then `pushlive retry` or `pushlive revert`.",
    )
