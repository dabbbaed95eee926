"""One command in a pod of its own: started once, found again after a crash, never guessed about."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from urllib3 import BaseHTTPResponse
from urllib3.exceptions import HTTPError

from pipeline.adapters import output_lines
from pipeline.adapters.kube_calls import Calls, Found
from pipeline.adapters.kube_manifests import Manifest
from pipeline.adapters.kube_trouble import of_pod, told
from pipeline.adapters.kube_watch import Follow, cut
from pipeline.errors import OutcomeUnknown
from pipeline.model import CommandResult
from pipeline.ports import Clock, Emit, Watch

LOOK = 0.2  # seconds between two looks at the step's own patience
_UNKNOWN = "ContainerStatusUnknown"  # what the kubelet writes where it lost sight of a container


def run(
    calls: Calls, clock: Clock, name: str, made: Callable[[], Manifest], emit: Emit, watch: Watch
) -> CommandResult:
    """Runs the command, or awaits or looks up the one begun earlier under the same name. ``made`` gives the pod, and
    sees to what it needs. Raises OutcomeUnknown where it was begun and its result is not to be had; what the watch
    raises leaves the pod as it is, for the next call or ``forget_command``."""
    began = clock.monotonic()
    if calls.get("Pod", name) is None:
        calls.create(made())
    with Follow(calls, ("Pod",), {"fieldSelector": f"metadata.name={name}"}) as follow:
        _until(follow, name, _begun, clock, watch, calls)
        stream = calls.follow(name)
        pieces = _pieces(stream)
        text = output_lines.follow(pieces, lambda: cut(stream), name, clock, emit, watch)
        pod = _until(follow, name, _ended, clock, watch, calls)
    end = _terminated(pod)
    if end is None or end.get("reason") == _UNKNOWN:
        raise _unknown(name)
    return CommandResult(int(end["exitCode"]), text, clock.monotonic() - began)


def _until(
    follow: Follow, name: str, done: Callable[[Found], bool], clock: Clock, watch: Watch, calls: Calls
) -> Found:
    """The pod once that is true of it. Raises what keeps its container from being made, OutcomeUnknown where it is
    gone."""
    since = clock.monotonic()
    while True:
        follow.wait(LOOK)
        if follow.complete():
            found = follow.objects("Pod")
            if not found:
                raise _unknown(name)
            if done(found[0]):
                return found[0]
            trouble = of_pod(found[0])
            if trouble and _terminated(found[0]) is None and clock.monotonic() - since >= trouble.wait:
                raise trouble.error(told(calls.events("Pod", name)))
        watch.check()


def _begun(pod: Found) -> bool:
    states = [one.get("state") or {} for one in pod.get("status", {}).get("containerStatuses") or ()]
    return any("running" in state or "terminated" in state for state in states) or _ended(pod)


def _ended(pod: Found) -> bool:
    return pod.get("status", {}).get("phase") in ("Succeeded", "Failed")


def _terminated(pod: Found) -> Found | None:
    for one in pod.get("status", {}).get("containerStatuses") or ():
        if (one.get("state") or {}).get("terminated"):
            return dict(one["state"]["terminated"])
    return None


def _pieces(stream: BaseHTTPResponse) -> Iterator[bytes]:
    """Until it ends, or breaks: then the rest of the output is not shown, the result is known all the same."""
    try:
        while piece := stream.read1():
            yield piece
    except (HTTPError, OSError, ValueError):
        return


def _unknown(name: str) -> OutcomeUnknown:
    return OutcomeUnknown(
        f"{name} was begun, and nobody knows how it ended.",
        advice="Look what the command has done, then `pushlive retry` or `pushlive revert`.",
    )
