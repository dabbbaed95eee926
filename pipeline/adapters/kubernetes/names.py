"""What things are called on a cluster, within Kubernetes' limits for any pipeline's name. Pure."""

from __future__ import annotations

import hashlib

from pipeline.domain.engine_types import SlotRef, SlotSpec
from pipeline.domain.naming import LONGEST, service_name

MANAGER = "pushlive"  # our name as a field manager
CONTAINER = "app"  # the application's in a pod; others are somebody's sidecars

INSTANCE = "pushlive/instance"
PIPELINE = "pushlive/pipeline"
ENVIRONMENT = "pushlive/environment"
INDEX = "pushlive/index"
SLOT = "pushlive/slot"
RELEASE = "pushlive/release"
RUN = "pushlive/run"
COMMIT = "pushlive/commit"
SPEC = "pushlive/spec"  # hash of all that makes a pod what it is
COMMAND = "pushlive/command"
DETACHED = "pushlive/detached"  # annotation: of which switch the connections were ended
ASKED = "pushlive/asked"  # annotation: when the cluster was last asked to try again to make pods
ROUTE = "pushlive/route"  # of a Service: "public" or "preview"

RESULT = "pushlive/result"  # finalizer: a command's pod stays until its result was taken note of

NOWHERE = "none"  # the public Service's slot before the first switch: no pod has it


def base(ref: SlotRef) -> str:
    """``hello-live``: the environment's own name, the public Service's."""
    return service_name(ref.pipeline, ref.environment)


def slot_name(ref: SlotRef) -> str:
    """``hello-live-blue``: the slot's Deployment, and the preview Service of the same name."""
    return f"{base(ref)}-{ref.slot}"


def command_name(spec: SlotSpec, name: str) -> str:
    """The pod of a command of that release, equal for equal names."""
    whole = f"{slot_name(spec.ref)}/r{spec.release}/{name}"
    tail = hashlib.sha256(whole.encode()).hexdigest()[:10]
    readable = "".join(c if c.isascii() and c.isalnum() else "-" for c in name.lower())
    return f"{base(spec.ref)}-r{spec.release}-{readable}"[: LONGEST - 11].rstrip("-") + f"-{tail}"


def hashed(ref: SlotRef, what: str, fingerprint: str) -> str:
    """A ConfigMap's or Secret's name: another content has another one."""
    return f"{base(ref)}-{what}-{fingerprint}"


def environment_labels(instance: str, ref: SlotRef) -> dict[str, str]:
    """What everything in the environment carries, and what finds all of it."""
    return {INSTANCE: instance, PIPELINE: ref.pipeline, ENVIRONMENT: ref.environment}


def slot_labels(instance: str, ref: SlotRef) -> dict[str, str]:
    """What selects the slot's pods, whatever release they are."""
    return {**environment_labels(instance, ref), SLOT: ref.slot}


def selector(labels: dict[str, str]) -> str:
    """Labels as the API's query takes them."""
    return ",".join(f"{key}={value}" for key, value in labels.items())


def slot_ref(labels: dict[str, str], engine: str) -> SlotRef:
    """The place that something of ours belongs to."""
    index = int(labels.get(INDEX) or 0)
    return SlotRef(labels[PIPELINE], labels[ENVIRONMENT], index, labels[SLOT], engine)
