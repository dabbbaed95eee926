"""What the keys of a service say of its Service and its Ingress. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from pipeline.adapters.kubernetes.api.objects import Manifest
from pipeline.config.address.entries import ANY, host_of, hosts_in, path_of
from pipeline.config.workload.kubernetes import IngressOptions, ServiceOptions


def with_service_options(manifest: Manifest, options: ServiceOptions) -> Manifest:
    """The Service with its type and annotations. What is not said is not set, so that it is left to others."""
    spec = {**manifest["spec"], **({"type": options.type} if options.type else {})}
    return {**_annotated(manifest, options.annotations), "spec": spec}


def with_ingress_options(manifest: Manifest, hosts: tuple[str, ...], options: IngressOptions) -> Manifest:
    """The Ingress with its annotations, and with the certificate for its host names."""
    names = [host for host in hosts_in(hosts) if host != ANY]
    tls = {"tls": [{"hosts": names, "secretName": options.tls}]} if options.tls and names else {}
    return {**_annotated(manifest, options.annotations), "spec": {**manifest["spec"], **tls}}


def ingress_rules(entries: Iterable[str], backend: Manifest) -> list[Manifest]:
    """One for each host, with its paths. The rule for ``*`` names no host."""
    entries = tuple(entries)
    rules: list[Manifest] = []
    for host in hosts_in(entries):
        paths = [
            {"path": path_of(entry) or "/", "pathType": "Prefix", "backend": backend}
            for entry in entries
            if host_of(entry) == host
        ]
        rules.append({**({} if host == ANY else {"host": host}), "http": {"paths": paths}})
    return rules


def entries_of(ingress: Manifest) -> tuple[str, ...]:
    """What ``ingress_rules`` were made of. A rule without paths, or with one that others wrote, counts as the host."""
    found: list[str] = []
    for rule in ingress["spec"].get("rules") or ():
        paths = [str(one.get("path") or "") for one in (rule.get("http") or {}).get("paths") or ()]
        found += [f"{rule.get('host') or ANY}{path.rstrip('/')}" for path in paths or ("",)]
    return tuple(dict.fromkeys(found))


def _annotated(manifest: Manifest, annotations: dict[str, str]) -> Manifest:
    if not annotations:
        return manifest
    return {**manifest, "metadata": {**manifest["metadata"], "annotations": dict(annotations)}}
