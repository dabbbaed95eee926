"""Programs that print a cluster's credentials, as a kubeconfig names them under ``exec``.

The Kubernetes client waits for such a program without a limit, and if it fails, connects without credentials. Here it
has a limit, a failure is an error, and it is run again when its credentials have expired or were refused.
"""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from kubernetes.config.exec_provider import ExecProvider

from pipeline.errors import ConfigError, EngineAway, PushliveError
from pipeline.lib.retry import Backoff, Retry
from pipeline.lib.text import brief

EXEC_WITHIN = 10.0  # seconds for one run; then it is killed with all that it started
# Seconds for which a failure is remembered, so that not every environment on the cluster waits for the same program.
REMEMBERED = Backoff(1.0, ceiling=60.0)
BEFORE_EXPIRY = 30.0  # seconds before credentials expire at which they are renewed, …
SHARE = 0.1  # … or that part of their time, if it is short
ENDED_WITHIN = 1.0  # seconds until a killed program is gone

Status = dict[str, Any]  # ``status`` of an ExecCredential


@dataclass
class _Plugin:
    """One command. ``until``: seconds since the epoch; ``again``: on the monotonic clock."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    status: Status | None = None
    until: float = 0.0
    error: PushliveError | None = None
    again: float = 0.0
    retry: Retry = field(default_factory=lambda: Retry(REMEMBERED))


class CredentialPlugins:
    """Those of one process. What a program printed is shared by all who name the same one."""

    def __init__(self) -> None:
        self._plugins: dict[str, _Plugin] = {}
        self._owner = os.getpid()

    def status(self, provider: ExecProvider) -> Status:
        """What the program printed, now or the last time. Raises ConfigError if it cannot be run, EngineAway if it
        failed or did not end."""
        with self._locked(provider) as plugin:
            if plugin.status is not None and time.time() < plugin.until:
                return plugin.status
            if plugin.error and time.monotonic() < plugin.again:
                raise plugin.error
            try:
                plugin.status = _run(provider)
            except PushliveError as error:
                plugin.status, plugin.error = None, error
                plugin.again = time.monotonic() + (plugin.retry.pause() or 0.0)
                raise
            plugin.error, plugin.until = None, _until(plugin.status)
            plugin.retry.reset()
            return plugin.status

    def forget(self, provider: ExecProvider, status: Status) -> None:
        """The API server refuses these credentials. Newer ones stay."""
        with self._locked(provider) as plugin:
            if plugin.status is status:
                plugin.status = None

    @contextmanager
    def _locked(self, provider: ExecProvider) -> Iterator[_Plugin]:
        """One thread at a time runs a program; the others wait for what it prints."""
        if self._owner != os.getpid():  # after a fork no thread is left that would release a lock
            self._plugins, self._owner = {}, os.getpid()
        key = json.dumps([provider.args, provider.cwd, sorted(provider.env.items()), _info(provider)])
        plugin = self._plugins.setdefault(key, _Plugin())
        with plugin.lock:
            yield plugin


def _until(status: Status) -> float:
    """When the credentials have to be renewed, in seconds since the epoch."""
    stamp = status.get("expirationTimestamp")
    if not stamp:
        return math.inf
    now, end = time.time(), datetime.fromisoformat(str(stamp).replace("Z", "+00:00")).timestamp()
    return end - min(BEFORE_EXPIRY, SHARE * max(0.0, end - now))


def _info(provider: ExecProvider) -> str:
    """The program's input (KUBERNETES_EXEC_INFO), as for one that cannot ask a person."""
    spec: dict[str, Any] = {"interactive": False}
    if provider.cluster:
        spec["cluster"] = dict(provider.cluster.value)
        for extension in provider.cluster.value.get("extensions") or ():
            if extension["name"] == "client.authentication.k8s.io/exec":
                spec["cluster"]["config"] = extension["extension"]
    return json.dumps({"apiVersion": provider.api_version, "kind": "ExecCredential", "spec": spec})


def _run(provider: ExecProvider) -> Status:
    name = " ".join(provider.args)
    try:
        process = subprocess.Popen(
            provider.args,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=provider.cwd,
            env={**provider.env, "KUBERNETES_EXEC_INFO": _info(provider)},
            text=True,
            errors="replace",
            start_new_session=True,  # so that what it starts can be killed with it
        )
    except OSError as error:
        raise ConfigError(
            f"The program for the cluster's credentials cannot be run: {name}: {error.strerror}.",
            advice="Install it, or correct `exec` in the kubeconfig.",
        ) from error
    try:
        printed, said = process.communicate(timeout=EXEC_WITHIN)
    except subprocess.TimeoutExpired:
        raise _failed(name, f"did not end within {EXEC_WITHIN:g} s") from None
    finally:
        _end(process)
    if process.returncode:
        raise _failed(
            name, f"ended with exit code {process.returncode}: {brief(said.strip()) or 'no output'}"
        )
    return _read(name, printed, provider.api_version)


def _end(process: subprocess.Popen[str]) -> None:
    """Kills what is left of the program and of all that it started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    with suppress(subprocess.TimeoutExpired):
        process.wait(ENDED_WITHIN)
    for pipe in (process.stdout, process.stderr):
        if pipe:
            pipe.close()


def _read(name: str, printed: str, version: str) -> Status:
    try:
        document = json.loads(printed)
        status: Status = document["status"]
        if document["kind"] != "ExecCredential" or document["apiVersion"] != version:
            raise ValueError(
                f"it is {document['kind']} {document['apiVersion']}, not ExecCredential {version}"
            )
        if not (status.get("token") or (status.get("clientCertificateData") and status.get("clientKeyData"))):
            raise ValueError("it has neither a token nor a certificate with its key")
        _until(status)
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise _failed(name, f"printed no usable credentials ({brief(str(error))})") from None
    return status


def _failed(name: str, how: str) -> EngineAway:
    return EngineAway(
        f"The program for the cluster's credentials {how}: {name}.",
        advice="Run the command under `exec` in the kubeconfig by hand, as the service's user; it is tried again.",
    )
