"""The objects of an accessory on a cluster: a StatefulSet, which never runs two pods on one volume, a Service whose
address its users know by the names under `uses`, and a Secret. Pure, except for reading Services."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

from pipeline.adapters.kubernetes.api.kube_api import KubeApi
from pipeline.adapters.kubernetes.api.objects import KubeObject, Manifest
from pipeline.adapters.kubernetes.cpu_rules import NO_RULES, CpuRules
from pipeline.adapters.kubernetes.manifests import literal
from pipeline.adapters.kubernetes.names import (
    ACCESSORY,
    ACCESSORY_IN,
    ADDRESS,
    ATTACHED,
    CONTAINER,
    FORMER,
    FORMER_IN,
    FORMER_NAMES,
    INSTANCE,
    MADE,
    SPEC,
)
from pipeline.adapters.kubernetes.workload.claims import GROUP, claim_name
from pipeline.adapters.workload import CAP_DROP, fingerprint
from pipeline.config.workload.accessory import Accessory
from pipeline.config.workload.kubernetes import toleration_of
from pipeline.domain.accessories import AccessoryRef, AccessorySpec, Attachment, remembered
from pipeline.domain.engine_types import SlotSpec
from pipeline.domain.naming import LONGEST
from pipeline.errors import EngineFailed
from pipeline.lib import codec
from pipeline.lib.secret import Secret

SUFFIX = 11  # characters that a StatefulSet's name grows by in a label of its pods
SUBFOLDER = "data"  # of the claim: the root of a new disk has a `lost+found`, which databases refuse
ANSWER = 10  # seconds for one try of `health`
STARTING_EVERY, RUNNING_EVERY = 1, 5  # seconds between two tries, until the first success and then
PATIENCE = 2**31 - 1  # failures: no probe ever ends a database; a run's own limit is `ready`


def accessory_name(instance: str, ref: AccessoryRef) -> str:
    """``pushlive-shop-db-live``: its StatefulSet and its Service; with a hash if that is too long."""
    name = f"{instance}-{ref.name}-{ref.environment}"
    if len(name) <= LONGEST - SUFFIX:
        return name
    tail = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{name[: LONGEST - SUFFIX - 9].rstrip('-')}-{tail}"


def accessory_labels(instance: str, ref: AccessoryRef) -> dict[str, str]:
    """They select its pod and everything else of it; nothing of a pipeline has them."""
    return {INSTANCE: instance, ACCESSORY: ref.name, ACCESSORY_IN: ref.environment}


def accessory_ref(found: KubeObject, engine: str) -> AccessoryRef:
    labels = found["metadata"]["labels"]
    return AccessoryRef(labels[ACCESSORY], labels[ACCESSORY_IN], engine)


def is_accessory(found: KubeObject, instance: str, ref: AccessoryRef) -> bool:
    labels = found["metadata"].get("labels") or {}
    return accessory_labels(instance, ref).items() <= labels.items()


def ports_of(config: Accessory) -> tuple[int, ...]:
    """Those that its Service passes on."""
    return tuple(sorted({port for port in (config.port, config.health.tcp) if port}))


def written(attached: tuple[Attachment, ...]) -> str:
    """As its StatefulSet remembers it."""
    return codec.dump_as(tuple[Attachment, ...], tuple(sorted(attached, key=lambda one: one.pipeline)))


class AccessoryManifests:
    """Those of one installation (``instance``) in one ``namespace``."""

    def __init__(self, instance: str, namespace: str, cpu: CpuRules = NO_RULES) -> None:
        self._instance, self._namespace, self._cpu = instance, namespace, cpu

    def spec_hash(self, spec: AccessorySpec) -> str:
        """Equal for pods and Services that are alike. Made from the spec and not from the manifest, so that an upgrade
        of Pushlive makes none look changed."""
        config = spec.config
        what = {
            "image": config.image,
            "command": list(config.command),
            "env": config.env,
            "secrets": spec.secrets,
            "volume": config.volume,
            "ports": list(ports_of(config)),
            "health": [list(config.health.run), config.tcp],
            "memory": config.memory,
            "cpu": config.cpu,
            "stop": config.stop,
        }
        if where := placed(config):
            what["placed"] = where
        return fingerprint({"accessory": accessory_labels(self._instance, spec.ref), "what": what})

    def stateful_set(self, spec: AccessorySpec, address: str) -> Manifest:
        """``address``: that of its Service."""
        labels = accessory_labels(self._instance, spec.ref)
        manifest = self._manifest("apps/v1", "StatefulSet", spec.ref)
        manifest["metadata"]["labels"][SPEC] = self.spec_hash(spec)
        notes = {MADE: remembered(spec), ATTACHED: written(spec.attached), ADDRESS: address}
        manifest["metadata"]["annotations"] = notes
        manifest["spec"] = {
            "replicas": 1,
            "serviceName": accessory_name(self._instance, spec.ref),
            "selector": {"matchLabels": labels},
            "updateStrategy": {"type": "OnDelete"},  # a new definition takes effect when it is applied
            "revisionHistoryLimit": 1,
            "template": {"metadata": {"labels": dict(labels)}, "spec": self._pod(spec)},
        }
        return manifest

    def service(self, spec: AccessorySpec, address: str = "") -> Manifest:
        """``address``: the one that it had, "" for any."""
        # Whether it is ready decides what a run waits for, and never whether it is reached: as on Docker.
        body: Manifest = {
            "selector": accessory_labels(self._instance, spec.ref),
            "publishNotReadyAddresses": True,
            "ports": [
                {"name": f"port-{port}", "port": port, "targetPort": port, "protocol": "TCP"}
                for port in ports_of(spec.config)
            ],
        }
        if address:
            body["clusterIP"] = address
        manifest = self._manifest("v1", "Service", spec.ref) | {"spec": body}
        if spec.moved_from:
            name, _, environment = spec.moved_from.partition("/")
            manifest["metadata"]["labels"] |= _former(name, environment)
        if spec.formerly:
            manifest["metadata"]["annotations"] = {FORMER_NAMES: " ".join(spec.formerly)}
        return manifest

    def secret(self, spec: AccessorySpec, values: dict[str, Secret]) -> Manifest:
        """Its name is made of the secrets' versions: one that is there goes on with its own."""
        data = {name: base64.b64encode(value.reveal().encode()).decode() for name, value in values.items()}
        manifest = self._manifest("v1", "Secret", spec.ref) | {"data": data, "immutable": True}
        manifest["metadata"]["name"] = self.secret_name(spec)
        return manifest

    def secret_name(self, spec: AccessorySpec) -> str:
        return f"{accessory_name(self._instance, spec.ref)}-{fingerprint(dict(spec.secrets))}"

    def _pod(self, spec: AccessorySpec) -> Manifest:
        config = spec.config
        container = self._container(spec)
        pod: Manifest = {
            "containers": [container],
            "terminationGracePeriodSeconds": max(1, round(config.stop)),
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
            **placed(config),
        }
        if config.volume:
            claim = claim_name(self._instance, spec.ref.volume)
            pod["volumes"] = [{"name": "volume", "persistentVolumeClaim": {"claimName": claim}}]
            mount = {"name": "volume", "mountPath": config.volume, "subPath": SUBFOLDER}
            container["volumeMounts"] = [mount]
            # An image whose user is not root may write; the folder itself stays as the image makes it.
            pod["securityContext"] |= {"fsGroup": GROUP, "fsGroupChangePolicy": "OnRootMismatch"}
        return pod

    def _container(self, spec: AccessorySpec) -> Manifest:
        config = spec.config
        cpu = round(config.cpu * 1000)
        container: Manifest = {
            "name": CONTAINER,
            "image": config.image,
            "imagePullPolicy": "IfNotPresent",
            "ports": [{"containerPort": port, "protocol": "TCP"} for port in ports_of(config)],
            "env": [{"name": name, "value": literal(text)} for name, text in config.env.items()],
            "resources": {
                "limits": {"cpu": f"{cpu}m", "memory": str(config.memory)},
                "requests": {"cpu": f"{self._cpu.requested(cpu)}m", "memory": str(config.memory)},
            },
            "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": list(CAP_DROP)}},
        }
        if config.command:
            container["args"] = [literal(word) for word in config.command]
        if spec.secrets:
            container["envFrom"] = [{"secretRef": {"name": self.secret_name(spec)}}]
        if probe := _probe(config):
            container["startupProbe"] = probe | {
                "periodSeconds": STARTING_EVERY,
                "failureThreshold": PATIENCE,
            }
            container["readinessProbe"] = probe | {"periodSeconds": RUNNING_EVERY, "failureThreshold": 2}
        return container

    def _manifest(self, version: str, kind: str, ref: AccessoryRef) -> Manifest:
        labels = accessory_labels(self._instance, ref) | {
            "app.kubernetes.io/managed-by": "pushlive",
            "app.kubernetes.io/name": ref.name,
        }
        name = accessory_name(self._instance, ref)
        metadata: dict[str, Any] = {"name": name, "namespace": self._namespace, "labels": labels}
        return {"apiVersion": version, "kind": kind, "metadata": metadata}


def placed(config: Accessory) -> Manifest:
    """On which nodes it runs, {} for any."""
    options, found = config.kubernetes, dict[str, Any]()
    if options.node_selector:
        found["nodeSelector"] = options.node_selector
    if options.tolerations:
        found["tolerations"] = [toleration_of(one) for one in options.tolerations]
    return found


def _probe(config: Accessory) -> Manifest:
    """As `health` says; {} if it only has to run."""
    if config.health.run:
        command = [literal(word) for word in config.health.run]
        return {"exec": {"command": command}, "timeoutSeconds": ANSWER}
    return {"tcpSocket": {"port": config.tcp}, "timeoutSeconds": ANSWER} if config.tcp else {}


# ── for those that use it ────────────────────────────────────────────────────


def addresses_of(service: KubeObject | None) -> tuple[str, ...]:
    """The addresses of a Service, the first one of its own family."""
    spec = (service or {}).get("spec") or {}
    found = spec.get("clusterIPs") or [spec.get("clusterIP")]
    return tuple(str(one) for one in found if one and one != "None")


def host_aliases(api: KubeApi, instance: str, spec: SlotSpec) -> list[Manifest]:
    """A pod's ``hostAliases`` for the accessories that its release uses. A name in DNS would be one for the whole
    namespace, in which another environment or pipeline means another accessory by it."""
    found: list[Manifest] = []
    for ref, names in _used(spec).items():
        service = _service_of(api, instance, ref)
        found += [{"ip": address, "hostnames": names} for address in addresses_of(service)]
    return found


def insist_on_services(api: KubeApi, instance: str, spec: SlotSpec) -> None:
    """Raises EngineFailed if a pod of that release would not reach an accessory, ever."""
    for ref, names in _used(spec).items():
        if not addresses_of(_service_of(api, instance, ref)):
            raise EngineFailed(
                f"the accessory {ref.id}, which is {' and '.join(names)} for {spec.ref.pipeline}/"
                f"{spec.ref.environment}, has no Service {accessory_name(instance, ref)} in the namespace "
                f"{api.namespace}.",
                advice=f"`pushlive accessory start {ref.name} {ref.environment}` makes it.",
                again=True,
            )


def _used(spec: SlotSpec) -> dict[AccessoryRef, list[str]]:
    """The accessories that a release uses, with their names there."""
    found: dict[AccessoryRef, list[str]] = {}
    for name, use in sorted(spec.config.uses.items()):
        if use.accessory:
            ref = AccessoryRef(use.accessory, spec.ref.environment, spec.ref.engine)
            found.setdefault(ref, []).append(name)
    return found


def _service_of(api: KubeApi, instance: str, ref: AccessoryRef) -> KubeObject | None:
    """Also that of one which has another name by now: releases from before know the old one."""
    found = api.get("Service", accessory_name(instance, ref))
    if found is None:
        every = api.find("Service", {INSTANCE: instance})
        return next((one for one in every if ref.id in former_ids(one)), None)
    return found if is_accessory(found, instance, ref) else None


def former_ids(service: KubeObject) -> tuple[str, ...]:
    """What its accessory was called before. An earlier version has noted the last name alone, as labels."""
    meta = service["metadata"]
    labels, noted = meta.get("labels") or {}, (meta.get("annotations") or {}).get(FORMER_NAMES, "")
    last = f"{labels[FORMER]}/{labels[FORMER_IN]}" if {FORMER, FORMER_IN} <= labels.keys() else ""
    return tuple(dict.fromkeys((*noted.split(), *([last] if last else ()))))


def _former(name: str, environment: str) -> dict[str, str]:
    """Labels of the Service of an accessory that has got another name: the one that it had."""
    return {FORMER: name, FORMER_IN: environment}
