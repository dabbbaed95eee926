"""Names and labels of the objects on a cluster, within Kubernetes' limits for any pipeline and environment. Pure."""

from __future__ import annotations

import hashlib

from pipeline.adapters.kubernetes.api.objects import KubeObject
from pipeline.domain.engine_types import SlotRef, SlotSpec
from pipeline.domain.naming import LONGEST, service_name

MANAGER = "pushlive"  # the field manager
CONTAINER = "app"  # the application's; any other container of a pod is a sidecar

INSTANCE = "pushlive/instance"
PIPELINE = "pushlive/pipeline"
ENVIRONMENT = "pushlive/environment"
INDEX = "pushlive/index"
SLOT = "pushlive/slot"
RELEASE = "pushlive/release"
RUN = "pushlive/run"
COMMIT = "pushlive/commit"
SPEC = "pushlive/spec"  # a hash of everything that a pod is made from
MADE = "pushlive/made"  # annotation: what the slot was made from, for a store that was lost
COMMAND = "pushlive/command"
VOLUME = "pushlive/volume"  # of a claim: the volume's name
ACCESSORY = "pushlive/accessory"  # of what belongs to an accessory: its name, instead of a pipeline's
ACCESSORY_IN = "pushlive/accessory-in"  # its environment; not ENVIRONMENT, by which environments are found
FORMER = "pushlive/former-accessory"  # of a Service: the name of its accessory before the last `accessory mv`
FORMER_NAMES = "pushlive/former-accessories"  # an annotation: the ids of all that it was, oldest first
FORMER_IN = "pushlive/former-accessory-in"
ATTACHED = "pushlive/attached"  # annotation: the environments that use it
ADDRESS = "pushlive/address"  # annotation: the address of its Service, for one that is made again
CLASS = "pushlive/class"  # annotation of a claim: the class that was asked for, "" for the cluster's own
SWAP_BEGUN = "pushlive/swap-begun"  # annotation of a claim: when a restore let its files change places
HELPER = "pushlive/helper"  # of a pod that only gives access to a claim
ONE_NODE = "pushlive/one-node"  # of a pod with a volume that can only be on one node
PROCESS = "pushlive/process"  # of a process beside the web one: its name
BESIDE = "-process"  # follows the slot in the slot's label of these: nothing of the slot selects them
ACTIVATOR = (
    "-activator"  # the same of the pods that pass the slot's connections on: the public Service selects them
)
ASLEEP = "pushlive/asleep"  # annotation: of the public Service while requests wait; of what was ended, its replicas
CRON = "pushlive/cron"  # of a job: its process
CRON_AT = "pushlive/cron-at"  # its time in the schedule, seconds since the epoch
SESSION = "pushlive/session"  # of a pod in which a person runs a command
DETACHED = "pushlive/detached"  # annotation: the switch after which its connections were ended
ASKED = "pushlive/asked"  # annotation: when the cluster was last told to try again what it could not do
HTTP_ROUTE = (
    "pushlive/http-route"  # annotation of the public Service: the HTTPRoute, and "/green" after it in a shift
)
ROUTE = "pushlive/route"  # of a Service: "public" or "preview"

RESULT = "pushlive/result"  # finalizer: keeps a command's pod until its result has been recorded

NOWHERE = "none"  # the slot in the public Service's selector before the first switch: no pod has it


def base(ref: SlotRef) -> str:
    """``hello-live``: the environment's public Service, and the start of all its names."""
    return service_name(ref.pipeline, ref.environment)


def slot_name(ref: SlotRef) -> str:
    """``hello-live-blue``: the slot's Deployment and its preview Service."""
    return f"{base(ref)}-{ref.slot}"


def command_name(spec: SlotSpec, name: str) -> str:
    """The pod of a command of that release: the same for the same name."""
    whole = f"{slot_name(spec.ref)}/r{spec.release}/{name}"
    tail = hashlib.sha256(whole.encode()).hexdigest()[:10]
    readable = "".join(c if c.isascii() and c.isalnum() else "-" for c in name.lower())
    return f"{base(spec.ref)}-r{spec.release}-{readable}"[: LONGEST - 11].rstrip("-") + f"-{tail}"


def hashed_name(ref: SlotRef, what: str, fingerprint: str) -> str:
    """The name of a ConfigMap or Secret; it changes with the content."""
    return f"{base(ref)}-{what}-{fingerprint}"


def environment_labels(instance: str, ref: SlotRef) -> dict[str, str]:
    """The labels that every object of the environment has."""
    return {INSTANCE: instance, PIPELINE: ref.pipeline, ENVIRONMENT: ref.environment}


def slot_labels(instance: str, ref: SlotRef) -> dict[str, str]:
    """The labels that select the slot's pods, of any release."""
    return {**environment_labels(instance, ref), SLOT: ref.slot}


def selector(labels: dict[str, str]) -> str:
    """A label selector for the API's query."""
    return ",".join(f"{key}={value}" for key, value in labels.items())


def slot_ref(labels: dict[str, str], engine: str) -> SlotRef:
    """The slot that an object with these labels belongs to."""
    index = int(labels.get(INDEX) or 0)
    return SlotRef(labels[PIPELINE], labels[ENVIRONMENT], index, labels[SLOT], engine)


def activator_name(ref: SlotRef) -> str:
    """``hello-live-blue-activator``: what passes the slot's connections on."""
    return slot_name(ref) + ACTIVATOR


def is_slots_own(deployment: KubeObject) -> bool:
    """True for the Deployment of a slot's web process; not for those beside it, nor for its activator."""
    labels = deployment["metadata"]["labels"]
    return PROCESS not in labels and not str(labels.get(SLOT, "")).endswith(ACTIVATOR)
