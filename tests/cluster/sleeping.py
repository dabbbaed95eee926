"""What an environment on the test cluster needs to sleep."""

from __future__ import annotations

import docker
from tests.conftest import push
from tests.support.clusterbench import kubectl
from tests.support.paths import ROOT

IMAGE = "python:3.11-slim"  # scripts/images has it for the service's own image
ACCOUNT = ROOT / "docker" / "kubernetes" / "namespace" / "activator.yaml"


def activator_image(client: docker.DockerClient, registry: str) -> str:
    """In the registry that the cluster pulls from."""
    return push(client, IMAGE, f"{registry}/activator")


def account(namespace: str) -> None:
    """The activator's, as kustomize makes it in a namespace. Idempotent."""
    subject = "    name: pushlive-activator\n"
    text = ACCOUNT.read_text().removesuffix(subject) + f"{subject}    namespace: {namespace}\n"
    kubectl(namespace, "apply", "-f", "-", stdin=text)
