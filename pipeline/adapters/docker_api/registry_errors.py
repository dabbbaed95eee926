"""What the Engine says of a registry, and what that means. These texts are read here alone."""

from __future__ import annotations

import re

from pipeline.domain.engine_types import Login
from pipeline.errors import ConfigError, EngineFailed, PushliveError, TryAgain

# "unauthorized: authentication required", "denied: requested access to the resource is denied", "no basic auth
# credentials", "insufficient_scope: authorization failed"
_LOGIN = re.compile(r"unauthorized|denied|no basic auth credentials|authorization failed|403 Forbidden", re.I)
# "name unknown: The repository with name 'x' does not exist in the registry", "manifest unknown"
_ABSENT = re.compile(r"name unknown|manifest unknown|manifest for \S+ not found|does not exist", re.I)
# "http: server gave HTTP response to HTTPS client"
_PLAIN = re.compile(r"server gave HTTP response to HTTPS client")
# "x509: certificate signed by unknown authority"
_CERTIFICATE = re.compile(r"x509: |certificate", re.I)
# "dial tcp 10.0.0.1:443: connect: connection refused", "lookup registry.example.com: no such host", "EOF"
_AWAY = re.compile(
    r"connection refused|no such host|i/o timeout|timeout|\bEOF\b|connection reset|no route to host|unreachable|"
    r"deadline exceeded|server misbehaving|temporary failure|broken pipe",
    re.I,
)


class Failing(TryAgain):
    """The registry answers, but with an error of its own (full, overloaded). Worth a retry; in the end an
    EngineFailed."""


def meaning(doing: str, said: str, login: Login | None) -> PushliveError:
    """Our error for what the Engine ``said`` while ``doing`` ("Pushing to registry.example.com/team/hello"). Only
    TryAgain is worth a retry."""
    text = f"{doing}: {' '.join(said.split()).rstrip('.')}."
    if _LOGIN.search(said):
        return ConfigError(text, advice=_login_advice(login))
    if _ABSENT.search(said):
        advice = "Check `registry:` in pipelines.yaml. If the registry no longer has the image, deploy again."
        return EngineFailed(text, advice=advice)
    if _PLAIN.search(said):
        advice = (
            "The registry speaks plain HTTP. Give it TLS, or add it to `insecure-registries` in daemon.json."
        )
        return EngineFailed(text, advice=advice)
    if _CERTIFICATE.search(said):
        advice = "Put the CA certificate into /etc/docker/certs.d/HOST/ca.crt on the Engine's machine."
        return EngineFailed(text, advice=advice)
    if _AWAY.search(said):
        advice = "Check that the registry runs and can be reached from the Engine's machine."
        return TryAgain(text, advice=advice)
    return Failing(text, advice="Check the registry's log and its free disk space.")


def _login_advice(login: Login | None) -> str:
    if login is None:
        return (
            "Give `registry:` in pipelines.yaml a `username`, and as `password` the name of a secret; or run "
            "`docker login` as the user that Pushlive runs as."
        )
    secret = f" (`pushlive secret set {login.name}`)" if login.name else ""
    return f"Check the user {login.username} in the registry, its permissions, and its password's secret{secret}."
