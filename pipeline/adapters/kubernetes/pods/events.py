"""What the cluster's events say about a pod. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from pipeline.adapters.kubernetes.api.objects import KubeObject
from pipeline.adapters.kubernetes.pods.messages import one_line, unwrapped

PULL_REASONS = (
    "ErrImagePull",
    "ImagePullBackOff",
    "InvalidImageName",
    "ErrImageNeverPull",
    "ErrImagePullBackOff",
)
CREATE_REASONS = ("CreateContainerConfigError", "CreateContainerError", "RunContainerError", "StartError")
SHOWN = 5  # warnings
_PROBE = "Readiness probe failed: "
# 'Readiness probe failed: Get "http://10.244.0.7:8080/healthz": dial tcp 10.244.0.7:8080: connect: connection refused'
_CONNECTION_REFUSED = "connection refused"
_STATUS = re.compile(r"HTTP probe failed with statuscode: (\d{3})")  # the kubelet's words


@dataclass(frozen=True)
class PodWarning:
    """A warning event. ``message``: the cluster's own; ``count``: how often it was reported."""

    reason: str
    message: str
    count: int

    @property
    def text(self) -> str:
        return f"{self.reason}: {self.message}" + (f" (×{self.count})" if self.count > 1 else "")


@dataclass(frozen=True)
class ProbeFailure:
    """A failed readiness probe. ``refused``: nothing accepted the connection; ``count``: how often it was reported."""

    message: str
    refused: bool
    count: int

    @property
    def status(self) -> int:
        """What the application answered; 0 if it did not, or nothing says what."""
        found = _STATUS.search(self.message)
        return int(found[1]) if found else 0


def warnings(events: Iterable[KubeObject], without: tuple[str, ...] = ()) -> tuple[PodWarning, ...]:
    """The last few different warnings, in order; those of the reasons in ``without`` are left out."""
    found: dict[tuple[str, str], PodWarning] = {}
    for event in events:
        if event.get("type") == "Warning" and event.get("reason") not in without:
            message = unwrapped(one_line(event.get("message")))
            if message in (*PULL_REASONS, *CREATE_REASONS):  # "Error: ErrImagePull": another event says why
                continue
            warning = PodWarning(str(event.get("reason")), message, _count(event))
            found.pop((warning.reason, message), None)
            found[warning.reason, message] = warning
    return tuple(found.values())[-SHOWN:]


def probe_failures(events: Iterable[KubeObject]) -> list[ProbeFailure]:
    """The failures of its readiness probe, oldest first."""
    messages = [
        (one_line(one.get("message")), _count(one)) for one in events if one.get("reason") == "Unhealthy"
    ]
    return [
        ProbeFailure(message.removeprefix(_PROBE), _CONNECTION_REFUSED in message, count)
        for message, count in messages
    ]


def last_probe_failure(events: Iterable[KubeObject]) -> ProbeFailure | None:
    """The last failure of its readiness probe, None if there is none."""
    return next(reversed(probe_failures(events)), None)


def telling_probe_failure(events: Iterable[KubeObject]) -> ProbeFailure | None:
    """The failure that says most: the last answer, or a refused connection if the application never answered. One that
    answers 500 may have refused connections while it started."""
    failures = probe_failures(events)
    answered = [one for one in failures if not one.refused]
    return next(reversed(answered or failures), None)


def refused_connections(events: Iterable[KubeObject]) -> int:
    """How often its readiness probe was refused a connection."""
    return sum(one.count for one in probe_failures(events) if one.refused)


def is_scaling_up(events: Iterable[KubeObject]) -> bool:
    """True if the cluster is adding a node for the pod: an event of the cluster autoscaler or of Karpenter."""
    return any(one.get("reason") in ("TriggeredScaleUp", "Nominated") for one in events)


def _count(event: KubeObject) -> int:
    return int(event.get("count") or (event.get("series") or {}).get("count") or 1)
