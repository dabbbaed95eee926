"""From a SlotSpec to what a cluster is told: plain data in the Kubernetes API's own terms. Pure.

A slot is a Deployment with a preview Service of its own; the environment's public Service chooses between the two by
one label, which is the switch. Values of secrets join in at one place alone (``secret``).
"""

from __future__ import annotations

import base64
import json
from typing import Any

from pipeline.adapters.kubernetes.names import (
    COMMAND,
    COMMIT,
    CONTAINER,
    INDEX,
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
    hashed,
    slot_labels,
    slot_name,
)
from pipeline.adapters.workload import CAP_DROP, environment, fingerprint
from pipeline.domain.engine_types import SlotRef, SlotSpec
from pipeline.lib.secret import Secret

Manifest = dict[str, Any]

PRE_STOP = 3  # whole seconds: until every node knows that a pod takes no new connections
CPU_SHARE = 0.1  # of the CPU limit is asked for when a node is chosen
SMALLEST_CPU = 10  # thousandths of a core
PROBE_PATIENCE = 5  # seconds that one readiness probe may take
_ELSEWHERE = {"drain", "keep_warm", "ready", "release", "replicas"}  # of a service: no pod is otherwise by it
PORT = "http"  # the name of the container's port, so that a Service need not know its number


class Maker:
    """Makes manifests for one installation (``instance``) in one ``namespace``."""

    def __init__(self, instance: str, namespace: str) -> None:
        self._instance, self._namespace = instance, namespace

    # ── the environment ──────────────────────────────────────────────────────

    def public(self, ref: SlotRef, slot: str) -> Manifest:
        """The public Service, which sends the traffic to that slot; ``NOWHERE`` for none."""
        chosen = {**environment_labels(self._instance, ref), SLOT: slot}
        return self._service(base(ref), ref, "public", chosen)

    def ingress(self, ref: SlotRef, hosts: tuple[str, ...], kind: str) -> Manifest:
        """The host names' way to the public Service. ``kind``: the IngressClass, "" for the cluster's default."""
        backend = {"service": {"name": base(ref), "port": {"name": PORT}}}
        path = {"path": "/", "pathType": "Prefix", "backend": backend}
        spec: Manifest = {"rules": [{"host": host, "http": {"paths": [path]}} for host in hosts]}
        if kind:
            spec["ingressClassName"] = kind
        return self._made("networking.k8s.io/v1", "Ingress", base(ref), self._labels(ref), spec=spec)

    # ── the slot ─────────────────────────────────────────────────────────────

    def preview(self, spec: SlotSpec) -> Manifest:
        """The slot's own Service, for the checks: only pods of this very spec answer there."""
        chosen = {**slot_labels(self._instance, spec.ref), SPEC: self.spec_hash(spec)}
        return self._service(slot_name(spec.ref), spec.ref, "preview", chosen)

    def deployment(self, spec: SlotSpec) -> Manifest:
        """The slot's pods."""
        template = self._template(spec)
        labels = {**self._labels(spec.ref), SLOT: spec.ref.slot, RELEASE: str(spec.release)}
        made = self._made("apps/v1", "Deployment", slot_name(spec.ref), labels)
        made["metadata"]["annotations"] = {RUN: str(spec.run), COMMIT: spec.commit}
        made["spec"] = {
            "replicas": spec.config.service.replicas,
            "revisionHistoryLimit": 2,
            "progressDeadlineSeconds": max(60, round(spec.config.service.ready) + 60),
            # Whoever changes it by hand while it serves takes no capacity away by it.
            "strategy": {"rollingUpdate": {"maxSurge": "100%", "maxUnavailable": 0}},
            "selector": {"matchLabels": slot_labels(self._instance, spec.ref)},
            "template": template,
        }
        return made

    def disruption(self, spec: SlotSpec) -> Manifest:
        """At most one pod of a slot with several is taken away at once, by whoever empties a node."""
        chosen = {"matchLabels": slot_labels(self._instance, spec.ref)}
        return self._made(
            "policy/v1",
            "PodDisruptionBudget",
            slot_name(spec.ref),
            {**self._labels(spec.ref), SLOT: spec.ref.slot},
            spec={"maxUnavailable": 1, "selector": chosen},
        )

    def config_map(self, spec: SlotSpec) -> Manifest:
        """The variables of the configuration, under a name that holds their hash."""
        data = dict(spec.config.service.env)
        name = hashed(spec.ref, "env", fingerprint(data))
        return self._made("v1", "ConfigMap", name, self._labels(spec.ref), data=data, immutable=True)

    def secret(self, spec: SlotSpec, values: dict[str, Secret]) -> Manifest:
        """The secrets' values, under a name made from their versions: a hash of a value would tell whoever guesses it
        that he is right."""
        data = {key: base64.b64encode(value.reveal().encode()).decode() for key, value in values.items()}
        return self._made(
            "v1", "Secret", self._secret_name(spec), self._labels(spec.ref), data=data, immutable=True
        )

    def pull_secret(self, spec: SlotSpec, username: str, password: Secret) -> Manifest:
        """What the nodes log in to the registry with."""
        both = base64.b64encode(f"{username}:{password.reveal()}".encode()).decode()
        server = spec.remote.partition("/")[0]
        document = {"auths": {server: {"username": username, "password": password.reveal(), "auth": both}}}
        data = {".dockerconfigjson": base64.b64encode(json.dumps(document).encode()).decode()}
        return self._made(
            "v1",
            "Secret",
            f"{base(spec.ref)}-pull",
            self._labels(spec.ref),
            type="kubernetes.io/dockerconfigjson",
            data=data,
        )

    def spec_hash(self, spec: SlotSpec) -> str:
        """Equal for pods that are alike: which run asked for them says nothing. Made from what was asked for, not from
        how this version writes it down: an upgrade of Pushlive makes nothing look changed."""
        login = bool(spec.config.registry and spec.config.registry.username)
        service = spec.config.service.model_dump(mode="json", exclude_defaults=True, exclude=_ELSEWHERE)
        what = [spec.release, spec.commit, spec.remote, service, spec.secrets, login]
        return fingerprint({"labels": slot_labels(self._instance, spec.ref), "what": what})

    # ── commands ─────────────────────────────────────────────────────────────

    def command(self, spec: SlotSpec, name: str, argv: tuple[str, ...], more: dict[str, str]) -> Manifest:
        """A pod that runs a command once, in the release's own image and variables."""
        container = self._container(spec, more) | {"command": [_literal(word) for word in argv]}
        for key in ("args", "ports", "readinessProbe", "lifecycle"):
            container.pop(key, None)
        pod = self._pod(spec, container) | {"restartPolicy": "Never"}
        labels = {
            **slot_labels(self._instance, spec.ref),
            INDEX: str(spec.ref.index),
            RELEASE: str(spec.release),
            RUN: str(spec.run),
            # Not the slot's own label: no Service and no Deployment may take it for one of the slot's pods.
            SLOT: f"{spec.ref.slot}-command",
            COMMAND: spec.ref.slot,
        }
        made = self._made("v1", "Pod", command_name(spec, name), labels)
        # Whoever takes the pod away (a node that is emptied, its garbage collection) leaves what became of it.
        made["metadata"]["finalizers"] = [RESULT]
        return made | {"spec": pod}

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
        labels = {**slot_labels(self._instance, spec.ref), INDEX: str(spec.ref.index)}
        labels |= {RELEASE: str(spec.release)}
        labels[SPEC] = self.spec_hash(spec)
        return {"metadata": {"labels": labels}, "spec": pod}

    def _pod(self, spec: SlotSpec, container: Manifest) -> Manifest:
        pod: Manifest = {
            "containers": [container],
            "terminationGracePeriodSeconds": PRE_STOP + max(1, round(spec.config.service.stop)),
            # As Docker's `init`: the application is not the first process, so a signal it does not handle ends it.
            "shareProcessNamespace": True,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,  # else every Service of the namespace would be in its environment
            "securityContext": {
                "seccompProfile": {"type": "RuntimeDefault"},
                # As Docker's: whoever is not root may listen on port 80, too.
                "sysctls": [{"name": "net.ipv4.ip_unprivileged_port_start", "value": "0"}],
            },
        }
        if spec.config.registry and spec.config.registry.username:
            pod["imagePullSecrets"] = [{"name": f"{base(spec.ref)}-pull"}]
        if spec.config.service.security == "strict":
            pod["securityContext"]["runAsNonRoot"] = True
            # As Docker's: counted as the container's memory, so bounded by its limit.
            pod["volumes"] = [{"name": "tmp", "emptyDir": {"medium": "Memory"}}]
        return pod

    def _container(self, spec: SlotSpec, more: dict[str, str]) -> Manifest:
        service = spec.config.service
        cpu = round(service.cpu * 1000)
        strict = service.security == "strict"
        container: Manifest = {
            "name": CONTAINER,
            "image": spec.remote,
            "imagePullPolicy": "IfNotPresent",
            "ports": [{"name": PORT, "containerPort": service.port, "protocol": "TCP"}],
            "env": self._variables(spec, more),
            "envFrom": self._sources(spec),
            "resources": {
                "limits": {"cpu": f"{cpu}m", "memory": _memory(service.memory)},
                "requests": {
                    "cpu": f"{max(SMALLEST_CPU, round(cpu * CPU_SHARE))}m",
                    "memory": _memory(service.memory),
                },
            },
            "readinessProbe": {
                "httpGet": {"path": service.health, "port": PORT, "scheme": "HTTP"},
                "periodSeconds": 1,
                "timeoutSeconds": PROBE_PATIENCE,
                "failureThreshold": 3,
                "successThreshold": 1,
            },
            "lifecycle": {"preStop": {"sleep": {"seconds": PRE_STOP}}},
            "securityContext": {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"] if strict else list(CAP_DROP)},
            },
        }
        if service.command:
            container["args"] = [_literal(word) for word in service.command]
        if strict:
            container["securityContext"] |= {"runAsNonRoot": True, "readOnlyRootFilesystem": True}
            container["volumeMounts"] = [{"name": "tmp", "mountPath": "/tmp"}]  # noqa: S108 - in the container
        return container

    def _variables(self, spec: SlotSpec, more: dict[str, str]) -> list[dict[str, str]]:
        """Ours, and a command's own; the rest comes from ConfigMap and Secret."""
        own = dict(entry.split("=", 1) for entry in environment(spec, more))
        wanted = [key for key in own if key in more or key.startswith("PUSHLIVE_")]
        return [{"name": key, "value": _literal(own[key])} for key in wanted]

    def _sources(self, spec: SlotSpec) -> list[Manifest]:
        """Later ones win: the configuration over the secrets, as on Docker."""
        sources: list[Manifest] = []
        if spec.secrets:
            sources.append({"secretRef": {"name": self._secret_name(spec)}})
        if spec.config.service.env:
            sources.append({"configMapRef": {"name": self.config_map(spec)["metadata"]["name"]}})
        return sources

    def _secret_name(self, spec: SlotSpec) -> str:
        return hashed(spec.ref, "secrets", fingerprint(dict(spec.secrets)))

    def _service(self, name: str, ref: SlotRef, route: str, chosen: dict[str, str]) -> Manifest:
        labels = {**self._labels(ref), ROUTE: route}
        if route == "preview":
            labels[SLOT] = ref.slot
        ports = [{"name": PORT, "port": 80, "targetPort": PORT, "protocol": "TCP"}]
        return self._made("v1", "Service", name, labels, spec={"selector": chosen, "ports": ports})

    def _labels(self, ref: SlotRef) -> dict[str, str]:
        return {
            **environment_labels(self._instance, ref),
            INDEX: str(ref.index),
            "app.kubernetes.io/managed-by": "pushlive",
            "app.kubernetes.io/name": ref.pipeline,
        }

    def _made(self, version: str, kind: str, name: str, labels: dict[str, str], **rest: Any) -> Manifest:
        metadata = {"name": name, "namespace": self._namespace, "labels": labels}
        return {"apiVersion": version, "kind": kind, "metadata": metadata, **rest}


def selected(service: Manifest | None) -> str | None:
    """The slot that a public Service sends its traffic to, None for none."""
    slot = ((service or {}).get("spec", {}).get("selector") or {}).get(SLOT)
    return None if slot in (None, NOWHERE) else str(slot)


def _literal(value: str) -> str:
    """Kubernetes replaces $(NAME) in a value, and $$ by $; Docker does not, and neither shall this."""
    return value.replace("$", "$$")


def _memory(size: int) -> str:
    """``64Mi`` where it is whole, as people write it; bytes otherwise."""
    return str(size) if size % (1 << 20) else f"{size >> 20}Mi"
