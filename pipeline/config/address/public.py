"""The service behind its own proxy: under which host name the page, the API, git and the webhooks answer there."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlsplit

from pipeline.config.address.entries import hosts_in

if TYPE_CHECKING:
    from pipeline.config.models import Config
    from pipeline.config.settings import Settings

_URL = "PUSHLIVE_PUBLIC_URL"
_PROXIED = "PUSHLIVE_SERVE_PUBLIC=true"
_EXAMPLE = "https://deploy.example.com"
_LABEL = "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_NAME = re.compile(rf"(?=.{{1,253}}$){_LABEL}(\.{_LABEL})*")


def own_hosts(settings: Settings) -> tuple[str, ...]:
    """The host names that the applications' proxy leads to the service itself; none without PUSHLIVE_SERVE_PUBLIC."""
    host = (_split(settings.public_url).hostname or "").rstrip(".") if settings.serve_public else ""
    return (host,) if host else ()


def is_encrypted(settings: Settings) -> bool:
    """True if people reach the service over HTTPS, as its URL says."""
    return settings.url.startswith("https://")


def problems(settings: Settings) -> Iterator[str]:
    """What keeps the service from answering at its public URL through the proxy: a line each."""
    if not settings.serve_public:
        return
    if not settings.public_url:
        yield f"{_PROXIED} needs {_URL}, the URL under which the service answers, e.g. {_EXAMPLE}"
        return
    parts = _split(settings.public_url)
    said = f"{_URL} with {_PROXIED}:"
    if parts.username or parts.path not in ("", "/") or parts.query or parts.fragment:
        yield f"{said} write only https://HOST or https://HOST:PORT, e.g. {_EXAMPLE}: the service has no path"
    if problem := _of_host(parts):
        yield f"{said} {problem}"
    if parts.scheme == "https" and not settings.proxy_https and not settings.proxy_trusted:
        yield (
            f"{said} the proxy does not listen for HTTPS. Set PUSHLIVE_PROXY_HTTPS=0.0.0.0:443, or, if another proxy "
            "in front of it does, PUSHLIVE_PROXY_TRUSTED to its address"
        )


def _of_host(parts: SplitResult) -> str:
    host = (parts.hostname or "").rstrip(".")
    try:
        ipaddress.ip_address(host)
        return f"{host} is an address. The proxy tells sites apart by their names: use a name that leads here"
    except ValueError:
        pass
    if host == "localhost":
        return (
            "localhost is only this machine's name: use a name such as pushlive.localhost to try it out here"
        )
    try:
        port = parts.port
    except ValueError:
        return "the port is not between 1 and 65535"
    if port == 0 or not _NAME.fullmatch(host):
        return f"{host[:60]!r} is not a host name in lower-case letters, digits, hyphens and dots"
    return ""


def _split(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError:  # brackets that are not closed
        return SplitResult("", "", "", "", "")


def taken(config: Config, settings: Settings) -> Iterator[tuple[str, str]]:
    """Where an environment has a host name of the service: (path in pipelines.yaml, what is wrong)."""
    ours = own_hosts(settings)
    for name, pipeline in config.pipelines.items():
        for stage in pipeline.environments:
            for host in hosts_in(pipeline.render(stage).hosts):
                if host in ours:
                    yield (
                        f"pipelines.{name}.environments.{stage}.hosts",
                        f"{host} is the address of Pushlive itself (PUSHLIVE_PUBLIC_URL), so the environment gets no "
                        "requests under it: give it another one",
                    )
