"""The keys of a service that only a cluster has."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    WithJsonSchema,
)

from pipeline.config.fields import CpuLimit, MemoryLimit, Model, Name, Size, Words
from pipeline.config.workload.labels import Annotations, is_label_value, is_qualified

EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
_DNS_NAME = r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$"
_TOLERATION = re.compile(r"(?P<key>[^=:]+)(=(?P<value>[^=:]*))?(:(?P<effect>[A-Za-z]+))?")


def _node_label(text: str) -> str:
    if not is_qualified(text):
        raise ValueError(
            f"{text[:80]!r} is not the name of a node's label; `kubectl get nodes --show-labels` shows them"
        )
    return text


def _node_value(text: str) -> str:
    if not is_label_value(text):
        raise ValueError(
            f"{text[:80]!r} is not the value of a label; `kubectl get nodes --show-labels` shows them"
        )
    return text


def toleration_of(text: str) -> dict[str, str]:
    """``dedicated=gpu:NoSchedule`` as a pod says it. Raises ValueError."""
    match = _TOLERATION.fullmatch(text)
    good = match and is_qualified(match["key"]) and is_label_value(match["value"] or "")
    if not match or not good or match["effect"] not in (None, *EFFECTS):
        raise ValueError(
            f"{text[:80]!r} is not a toleration; write it as `kubectl taint` does: dedicated=gpu:NoSchedule, "
            f"spot:NoExecute or spot, with the effect {', '.join(EFFECTS[:2])} or {EFFECTS[2]}, or none for all"
        )
    found = {"key": match["key"]}
    found |= (
        {"operator": "Exists"} if match["value"] is None else {"operator": "Equal", "value": match["value"]}
    )
    return found | ({"effect": match["effect"]} if match["effect"] else {})


def _toleration(text: str) -> str:
    toleration_of(text)
    return text


Toleration = Annotated[
    str, AfterValidator(_toleration), Words("a toleration such as dedicated=gpu:NoSchedule or spot:NoExecute")
]
NodeLabel = Annotated[str, AfterValidator(_node_label), Words("the name of a node's label")]
NodeValue = Annotated[str, AfterValidator(_node_value), Words("the value of a node's label")]
AccountName = Annotated[
    str, StringConstraints(pattern=_DNS_NAME, max_length=253), Words("the name of a ServiceAccount")
]
ClassName = Annotated[
    str, StringConstraints(pattern=_DNS_NAME, max_length=253), Words("the name of a StorageClass")
]
SecretName = Annotated[
    str, StringConstraints(pattern=_DNS_NAME, max_length=253), Words("the name of a Secret")
]


AUTO = "auto"
MOST = 12  # replicas; the proxy declares as many servers for each slot


def _replicas(value: object) -> object:
    number = value if isinstance(value, int) and not isinstance(value, bool) else None
    if value == AUTO or (number is not None and 1 <= number <= MOST):
        return value
    wrong = "not allowed" if number is None else "too large" if number > MOST else "too small"
    raise ValueError(f"{str(value)[:60]!r} is {wrong}; write a whole number from 1 to {MOST}, or {AUTO}")


Replicas = Annotated[
    int | Literal["auto"],
    BeforeValidator(_replicas),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 1, "maximum": MOST}, {"const": AUTO}]}),
    Words(f"a whole number from 1 to {MOST}, or {AUTO}"),
]
USUAL_REQUEST = 0.1  # of the CPU limit, unless `requests` or a LimitRange of the namespace says otherwise


class Requests(Model):
    """What the scheduler reserves for each replica on a cluster. Docker reserves nothing."""

    cpu: CpuLimit | None = None
    """Default: a tenth of `cpu`, or what a LimitRange of the namespace demands."""
    memory: MemoryLimit | None = None
    """Default: `memory`. With less, a node that runs out of memory ends pods that use more than this first."""


class ServiceOptions(Model):
    """The environment's public Service."""

    type: Literal["ClusterIP", "NodePort", "LoadBalancer"] | None = None
    """Default: ClusterIP, or what others set."""
    annotations: Annotations = {}
    """Annotations, as those of a cloud's load balancer."""


class IngressOptions(Model):
    """The environment's Ingress, which has its host names."""

    annotations: Annotations = {}
    """Annotations, as those of an Ingress controller or of cert-manager."""
    tls: SecretName | None = None
    """The Secret with the certificate for the host names. It is not created: cert-manager does, or you do."""


class ClaimOptions(Model):
    """What is asked for when the PersistentVolumeClaim of a volume is made."""

    size: Annotated[Size, Field(ge=1 << 20)] = 1 << 30
    """How much room it has. A larger one makes an existing claim grow, if its class allows that; none ever shrinks."""
    storage_class: ClassName | None = Field(default=None, alias="class")
    """The StorageClass. Default: the cluster's own. A claim that exists keeps the one that it has."""
    access: Literal["ReadWriteOnce", "ReadWriteMany"] = "ReadWriteOnce"
    """`ReadWriteOnce`: on one node at a time, on which all pods of the environment are kept then. `ReadWriteMany`: on
    any number of them, if the class can do that. A claim that exists keeps the one that it has."""

    model_config = ConfigDict(populate_by_name=True, serialize_by_alias=True)


class KubernetesOptions(Model):
    """What only a cluster has. Fields of the objects that are not set here are left to those who set them."""

    node_selector: Annotated[dict[NodeLabel, NodeValue], Field(max_length=32)] = {}
    """Labels that a node must have to run a pod: `{disktype: ssd}`."""
    tolerations: Annotated[tuple[Toleration, ...], Field(max_length=32)] = ()
    """Taints of nodes that do not matter, as `kubectl taint` writes them: `[dedicated=gpu:NoSchedule]`."""
    service_account: AccountName | None = None
    """The ServiceAccount of the pods, whose token they are given then. Default: the namespace's, without a token."""
    service: ServiceOptions = ServiceOptions()
    ingress: IngressOptions = IngressOptions()
    volumes: dict[Name, ClaimOptions] = {}
    """The claims of `volumes`, by the volume's name. One that is not named here asks for the defaults."""

    def claim(self, volume: str) -> ClaimOptions:
        return self.volumes.get(volume, ClaimOptions())


class AccessoryOptions(Model):
    """What only a cluster has, of an accessory. Docker leaves it out of account."""

    volume: ClaimOptions = ClaimOptions()
    """The claim of its `volume`."""
    node_selector: Annotated[dict[NodeLabel, NodeValue], Field(max_length=32)] = {}
    """Labels that a node must have to run its pod: `{disktype: ssd}`."""
    tolerations: Annotated[tuple[Toleration, ...], Field(max_length=32)] = ()
    """Taints of nodes that do not matter, as `kubectl taint` writes them: `[dedicated=databases:NoSchedule]`."""


class ClusterOptions(Model):
    """The groups of keys of a service that only a cluster has."""

    requests: Requests = Requests()
    kubernetes: KubernetesOptions = KubernetesOptions()
