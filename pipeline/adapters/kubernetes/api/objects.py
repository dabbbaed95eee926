"""The Kubernetes API's objects, as plain dictionaries."""

from __future__ import annotations

from typing import Any

KubeObject = dict[str, Any]  # as the API server returns it
Manifest = dict[str, Any]  # as it is sent
