"""What the keys of a service say of its Service and its Ingress. Pure."""

from __future__ import annotations

from pipeline.adapters.kubernetes.api.objects import Manifest
from pipeline.config.workload.kubernetes import IngressOptions, ServiceOptions


def with_service_options(manifest: Manifest, options: ServiceOptions) -> Manifest:
    """The Service with its type and annotations. What is not said is not set, so that it is left to others."""
    spec = {**manifest["spec"], **({"type": options.type} if options.type else {})}
    return {**_annotated(manifest, options.annotations), "spec": spec}


def with_ingress_options(manifest: Manifest, hosts: tuple[str, ...], options: IngressOptions) -> Manifest:
    """The Ingress with its annotations, and with the certificate for its host names."""
    tls = {"tls": [{"hosts": list(hosts), "secretName": options.tls}]} if options.tls and hosts else {}
    return {**_annotated(manifest, options.annotations), "spec": {**manifest["spec"], **tls}}


def _annotated(manifest: Manifest, annotations: dict[str, str]) -> Manifest:
    if not annotations:
        return manifest
    return {**manifest, "metadata": {**manifest["metadata"], "annotations": dict(annotations)}}
