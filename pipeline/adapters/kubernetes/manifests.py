"""Makes Kubernetes manifests from a SlotSpec. Pure.

A slot is a Deployment with a preview Service of its own. The environment's public Service selects one of the two slots
by a label: changing it is the switch. Only ``secret`` contains the values of secrets.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

from pipeline.adapters.kubernetes.api.objects import Manifest
from pipeline.adapters.kubernetes.cpu_rules import NO_RULES, CpuRules
from pipeline.adapters.kubernetes.names import (
    ACTIVATOR,
    ASLEEP,
    COMMAND,
    COMMIT,
    CONTAINER,
    INDEX,
    MADE,
    NOWHERE,
    RELEASE,
    RESULT,
    ROUTE,
    RUN,
    SLOT,
    SPEC,
    base,
    command_name,
    environment_labels,
    hashed_name,
    slot_labels,
    slot_name,
)
from pipeline.adapters.kubernetes.workload.claims import one_node_label, with_volumes
from pipeline.adapters.kubernetes.workload.options import with_options
from pipeline.adapters.kubernetes.workload.probes import PROBES, probes
from pipeline.adapters.kubernetes.workload.routes import (
    ingress_rules,
    with_ingress_options,
    with_service_options,
)
from pipeline.adapters.workload import CAP_DROP, environment, fingerprint, port
from pipeline.config.workload.kubernetes import IngressOptions, ServiceOptions
from pipeline.domain.adoption import remembered
from pipeline.domain.engine_types import SlotRef, SlotSpec
from pipeline.lib.secret import Secret

Hosts = Callable[[SlotSpec], list[Manifest]]
PRE_STOP = 3  # whole seconds: until every node knows that a pod takes no new connections
INT32 = 2**31 - 1
# Settings of a service that change no pod.
_NOT_IN_PODS: Any = {
    **dict.fromkeys(("drain", "ignore", "keep_warm", "one", "ready", "release", "replicas", "timeout"), True),
    "kubernetes": {"service", "ingress"},
}
NO_HOST = "no-host.invalid"  # in an Ingress that routes nothing: no such name can exist (RFC 2606)
PORT = "http"  # the name of the container's port, so that a Service does not need its number


class Manifests:
    """The manifests of one installation (``instance``) in one ``namespace``. ``cpu``: what the namespace demands of
    containers; ``hosts``: a pod's ``hostAliases`` for the accessories that a release uses."""

    def __init__(
        self, instance: str, namespace: str, cpu: CpuRules = NO_RULES, hosts: Hosts = lambda _: []
    ) -> None:
        self._instance, self._namespace, self._cpu, self._hosts = instance, namespace, cpu, hosts

    # ── the environment ──────────────────────────────────────────────────────

    def public(self, ref: SlotRef, slot: str, options: ServiceOptions = ServiceOptions()) -> Manifest:  # noqa: B008
        """The public Service, which sends the traffic to that slot, or to none with ``NOWHERE``."""
        labels = {**environment_labels(self._instance, ref), SLOT: slot}
        return with_service_options(self._service(base(ref), ref, "public", labels), options)

    def ingress(
        self,
        ref: SlotRef,
        hosts: tuple[str, ...],
        ingress_class: str,
        options: IngressOptions = IngressOptions(),  # noqa: B008
    ) -> Manifest:
        """Routes the host names to the public Service. ``ingress_class``: "" for the cluster's default. Without host
        names it routes nothing; the API does not accept an Ingress without a rule."""
        backend = {"service": {"name": base(ref), "port": {"name": PORT}}}
        spec: Manifest = {"rules": ingress_rules(hosts, backend) or [{"host": NO_HOST}]}
        if ingress_class:
            spec["ingressClassName"] = ingress_class
        manifest = self._manifest("networking.k8s.io/v1", "Ingress", base(ref), self._labels(ref), spec=spec)
        return with_ingress_options(manifest, hosts, options)

    # ── the slot ─────────────────────────────────────────────────────────────

    def preview(self, spec: SlotSpec) -> Manifest:
        """The slot's own Service, for the checks: it selects only pods of exactly this spec."""
        labels = {**slot_labels(self._instance, spec.ref), SPEC: self.spec_hash(spec)}
        return self._service(slot_name(spec.ref), spec.ref, "preview", labels)

    def deployment(self, spec: SlotSpec) -> Manifest:
        """The Deployment of the slot's pods."""
        template = self._template(spec)
        own = spec.config.service.labels
        labels = {**own, **self._labels(spec.ref), SLOT: spec.ref.slot, RELEASE: str(spec.release)}
        manifest = self._manifest("apps/v1", "Deployment", slot_name(spec.ref), labels)
        manifest["metadata"]["annotations"] = {
            RUN: str(spec.run),
            COMMIT: spec.commit,
            MADE: remembered(spec),
        }
        manifest["spec"] = {
            "replicas": spec.replicas,
            "revisionHistoryLimit": 2,
            "progressDeadlineSeconds": min(INT32, max(60, round(spec.config.service.ready) + 60)),
            # A change by hand while it serves must not reduce its capacity.
            "strategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxSurge": "100%", "maxUnavailable": 0},
            },
            "paused": False,
            "selector": {"matchLabels": slot_labels(self._instance, spec.ref)},
            "template": template,
        }
        return manifest

    def disruption(self, spec: SlotSpec) -> Manifest:
        """Lets a drained node evict at most one pod of the slot at a time, and any that is not ready: a release that
        does not come up must not keep a node from being drained."""
        selected = {"matchLabels": slot_labels(self._instance, spec.ref)}
        # Pods that have to be on one node start on another once all of them have left.
        unavailable: Any = "100%" if one_node_label(spec.config.service) else 1
        return self._manifest(
            "policy/v1",
            "PodDisruptionBudget",
            slot_name(spec.ref),
            {**self._labels(spec.ref), SLOT: spec.ref.slot},
            spec={
                "maxUnavailable": unavailable,
                "selector": selected,
                "unhealthyPodEvictionPolicy": "AlwaysAllow",
            },
        )

    def config_map(self, spec: SlotSpec) -> Manifest:
        """The configuration's variables, under a name that contains their hash."""
        data = plain_env(spec)
        name = hashed_name(spec.ref, "env", fingerprint(data))
        return self._manifest("v1", "ConfigMap", name, self._labels(spec.ref), data=data, immutable=True)

    def secret(self, spec: SlotSpec, values: dict[str, Secret]) -> Manifest:
        """The secrets' values, under a name made from their versions: with a hash of the values, a guess could be
        checked against the name."""
        data = {key: base64.b64encode(value.reveal().encode()).decode() for key, value in values.items()}
        return self._manifest(
            "v1", "Secret", self._secret_name(spec), self._labels(spec.ref), data=data, immutable=True
        )

    def pull_secret(self, spec: SlotSpec, username: str, password: Secret) -> Manifest:
        """The nodes' login for the registry."""
        both = base64.b64encode(f"{username}:{password.reveal()}".encode()).decode()
        server = spec.remote.partition("/")[0]
        document = {"auths": {server: {"username": username, "password": password.reveal(), "auth": both}}}
        data = {".dockerconfigjson": base64.b64encode(json.dumps(document).encode()).decode()}
        return self._manifest(
            "v1",
            "Secret",
            f"{base(spec.ref)}-pull",
            self._labels(spec.ref),
            type="kubernetes.io/dockerconfigjson",
            data=data,
        )

    def spec_hash(self, spec: SlotSpec) -> str:
        """Equal for pods that are alike, whichever run asked for them. Made from the spec and not from the manifest, so
        that an upgrade of Pushlive makes no pod look changed."""
        login = bool(spec.config.registry and spec.config.registry.username)
        service = spec.config.service.model_dump(mode="json", exclude_defaults=True, exclude=_NOT_IN_PODS)
        what = [spec.release, spec.commit, spec.remote, service, spec.secrets, login]
        if service.get("kubernetes") == {}:
            del service["kubernetes"]
        if told := port(spec):
            what.append(told)
        return fingerprint({"labels": slot_labels(self._instance, spec.ref), "what": what})

    # ── commands ─────────────────────────────────────────────────────────────

    def command(
        self,
        spec: SlotSpec,
        name: str,
        argv: tuple[str, ...],
        more: dict[str, str],
        entrypoint: bool = False,
    ) -> Manifest:
        """A pod that runs a command once, with the release's image and variables. ``entrypoint``: the command is given
        to the image's own."""
        container = self._container(spec, more)
        for key in ("args", "ports", *PROBES, "lifecycle"):
            container.pop(key, None)
        container["args" if entrypoint else "command"] = [literal(word) for word in argv]
        pod = self._pod(spec, container) | {"restartPolicy": "Never"}
        labels = {
            **spec.config.service.labels,
            **slot_labels(self._instance, spec.ref),
            INDEX: str(spec.ref.index),
            RELEASE: str(spec.release),
            RUN: str(spec.run),
            # Not the slot's own label: no Service and no Deployment may select it.
            SLOT: f"{spec.ref.slot}-command",
            COMMAND: spec.ref.slot,
            **one_node_label(spec.config.service),
        }
        manifest = self._manifest("v1", "Pod", command_name(spec, name), labels)
        # Keeps the result if the pod is deleted, by a drained node or by garbage collection.
        manifest["metadata"]["finalizers"] = [RESULT]
        return manifest | {"spec": pod}

    # ── parts ────────────────────────────────────────────────────────────────

    def _template(self, spec: SlotSpec) -> Manifest:
        pod = self._pod(spec, self._container(spec, {}))
        pod["topologySpreadConstraints"] = [
            {
                "maxSkew": 1,
                "topologyKey": "kubernetes.io/hostname",
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": slot_labels(self._instance, spec.ref)},
            }
        ]
        service = spec.config.service
        labels = {**service.labels, **slot_labels(self._instance, spec.ref), INDEX: str(spec.ref.index)}
        labels |= {RELEASE: str(spec.release), **one_node_label(service)}
        labels[SPEC] = self.spec_hash(spec)
        metadata: Manifest = {"labels": labels}
        if service.annotations:
            metadata["annotations"] = service.annotations
        return {"metadata": metadata, "spec": pod}

    def _pod(self, spec: SlotSpec, container: Manifest) -> Manifest:
        pod: Manifest = {
            "containers": [container],
            "terminationGracePeriodSeconds": PRE_STOP + max(1, round(spec.config.service.stop)),
            # Like Docker's `init`: the application is not PID 1, so that a signal it does not handle ends it.
            "shareProcessNamespace": spec.config.service.init,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,  # otherwise every Service of the namespace is in its environment
            "securityContext": {
                "seccompProfile": {"type": "RuntimeDefault"},
                # Like Docker: a user who is not root may listen on port 80.
                "sysctls": [{"name": "net.ipv4.ip_unprivileged_port_start", "value": "0"}],
            },
        }
        if spec.config.registry and spec.config.registry.username:
            pod["imagePullSecrets"] = [{"name": f"{base(spec.ref)}-pull"}]
        if spec.config.service.security == "strict":
            pod["securityContext"]["runAsNonRoot"] = True
            # Like Docker: it counts as the container's memory, within its limit.
            pod["volumes"] = [{"name": "tmp", "emptyDir": {"medium": "Memory"}}]
        pod = with_options(pod, spec.config.service)
        if hosts := self._hosts(spec):
            pod["hostAliases"] = [*pod.get("hostAliases", ()), *hosts]
        return with_volumes(pod, spec, self._instance)

    def _container(self, spec: SlotSpec, more: dict[str, str]) -> Manifest:
        service = spec.config.service
        cpu, asked = round(service.cpu * 1000), service.requests
        strict = service.security == "strict"
        container: Manifest = {
            "name": CONTAINER,
            "image": spec.remote,
            "imagePullPolicy": "IfNotPresent",
            "ports": [{"name": PORT, "containerPort": service.port, "protocol": "TCP"}],
            "env": self._variables(spec, more),
            "envFrom": self._env_from(spec),
            "resources": {
                "limits": {"cpu": f"{cpu}m", "memory": _memory(service.memory)},
                "requests": {
                    "cpu": f"{round(asked.cpu * 1000) if asked.cpu else self._cpu.requested(cpu)}m",
                    "memory": _memory(asked.memory or service.memory),
                },
            },
            **probes(service, PORT, _probe_headers(spec)),
            "lifecycle": {"preStop": {"sleep": {"seconds": PRE_STOP}}},
            "securityContext": {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"] if strict else list(CAP_DROP)},
            },
        }
        if service.command:
            container["args"] = [literal(word) for word in service.command]
        if strict:
            container["securityContext"] |= {"runAsNonRoot": True, "readOnlyRootFilesystem": True}
            container["volumeMounts"] = [{"name": "tmp", "mountPath": "/tmp"}]  # noqa: S108 - in the container
        return container

    def _variables(self, spec: SlotSpec, more: dict[str, str]) -> list[dict[str, str]]:
        """Pushlive's variables and a command's own; all others come from the ConfigMap and the Secret."""
        told = port(spec)
        own = dict(entry.split("=", 1) for entry in environment(spec, more))
        wanted = [key for key in own if key in more or key in told or key.startswith("PUSHLIVE_")]
        return [{"name": key, "value": literal(own[key])} for key in wanted]

    def _env_from(self, spec: SlotSpec) -> list[Manifest]:
        """The last one wins: configuration over secrets, as on Docker."""
        sources: list[Manifest] = []
        if has_secrets(spec):
            sources.append({"secretRef": {"name": self._secret_name(spec)}})
        if plain_env(spec):
            sources.append({"configMapRef": {"name": self.config_map(spec)["metadata"]["name"]}})
        return sources

    def _secret_name(self, spec: SlotSpec) -> str:
        what: dict[str, Any] = dict(spec.given)
        if spec.filled:  # as they were written: releases may write them in other ways
            what = {"versions": what, "filled": {name: spec.config.service.env[name] for name in spec.filled}}
        return hashed_name(spec.ref, "secrets", fingerprint(what))

    def _service(self, name: str, ref: SlotRef, route: str, selected: dict[str, str]) -> Manifest:
        labels = {**self._labels(ref), ROUTE: route}
        if route == "preview":
            labels[SLOT] = ref.slot
        ports = [{"name": PORT, "port": 80, "targetPort": PORT, "protocol": "TCP"}]
        return self._manifest("v1", "Service", name, labels, spec={"selector": selected, "ports": ports})

    def _labels(self, ref: SlotRef) -> dict[str, str]:
        return {
            **environment_labels(self._instance, ref),
            INDEX: str(ref.index),
            "app.kubernetes.io/managed-by": "pushlive",
            "app.kubernetes.io/name": ref.pipeline,
        }

    def _manifest(self, version: str, kind: str, name: str, labels: dict[str, str], **rest: Any) -> Manifest:
        metadata = {"name": name, "namespace": self._namespace, "labels": labels}
        return {"apiVersion": version, "kind": kind, "metadata": metadata, **rest}


def plain_env(spec: SlotSpec) -> dict[str, str]:
    """The configuration's variables, except those with references: their values are secret."""
    return {name: text for name, text in spec.config.service.env.items() if name not in spec.filled}


def has_secrets(spec: SlotSpec) -> bool:
    """True if its pods have a Secret with variables."""
    return bool(spec.given or spec.filled)


def selected_label(service: Manifest | None) -> str:
    """What a public Service selects: a slot, ``NOWHERE``, or the pods that pass a slot's connections on."""
    return str(((service or {}).get("spec", {}).get("selector") or {}).get(SLOT) or NOWHERE)


def awaits_request(service: Manifest | None) -> bool:
    """True if the slot behind a public Service sleeps, or is to."""
    return selected_label(service).endswith(ACTIVATOR) and is_marked(service)


def is_marked(service: Manifest | None) -> bool:
    """True if it has the mark of a sleep, which may be over."""
    return ASLEEP in ((service or {}).get("metadata", {}).get("annotations") or {})


def selected_slot(service: Manifest | None) -> str | None:
    """The slot that a public Service sends its traffic to, straight or by what passes it on; or None."""
    return None if awaits_request(service) else leads_to(service)


def leads_to(service: Manifest | None) -> str | None:
    """The same, and the slot that sleeps."""
    label = selected_label(service)
    return None if label == NOWHERE else label.removesuffix(ACTIVATOR)


def _probe_headers(spec: SlotSpec) -> dict[str, str]:
    """As a visitor's, under the name that kubelets give themselves."""
    return {
        name: value for name, value in spec.health_headers.items() if name not in ("User-Agent", "Accept")
    }


def literal(value: str) -> str:
    """Kubernetes expands $(NAME) in a value, and $$ to $; Docker does not. Escaped, the value stays as written."""
    return value.replace("$", "$$")


def _memory(size: int) -> str:
    """``64Mi`` for whole mebibytes; bytes otherwise."""
    return str(size) if size % (1 << 20) else f"{size >> 20}Mi"
