"""The account with which pods wake what sleeps: Pushlive may not make it, since it may give no one permissions."""

from __future__ import annotations

from pipeline.adapters.kubernetes.api.client import status_of
from pipeline.adapters.kubernetes.api.kube_api import KubeApi
from pipeline.adapters.kubernetes.capacity import FORBIDDEN
from pipeline.errors import EngineFailed

NAME = "pushlive-activator"  # made with its Role by docker/kubernetes/namespace
ADVICE = "Apply docker/kubernetes/namespace of this version there: it has that account, its Role, and the permission."


def problem(api: KubeApi) -> str:
    """Why no pod of the namespace can have it, without a full stop; "" if one can."""
    try:
        found = api.get("ServiceAccount", NAME)
    except EngineFailed as error:
        if status_of(error) != FORBIDDEN:
            raise
        return f"this account may not read ServiceAccounts in the namespace {api.namespace}"
    return "" if found else f"the namespace {api.namespace} has no ServiceAccount {NAME}"
