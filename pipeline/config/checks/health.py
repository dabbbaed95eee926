"""``health``: what readiness and the proxy ask each replica for."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from pydantic import SerializerFunctionWrapHandler, model_serializer, model_validator

from pipeline.config.checks.visitor import Scheme, SentHeaders
from pipeline.config.fields import Host, Model, UrlPath
from pipeline.lib.text import one_line

ANSWER = 5  # seconds for one answer, at the start, through the proxy and by it
LONGEST = 2000  # characters of all headers that are sent
_SHOWN = 200  # characters of a redirect


class HealthCheck(Model):
    """The request that a replica answers with 2xx, or with 3xx to a path of the same host, once it is ready. It is
    asked all the while; a replica that fails gets no requests. A text is the path alone."""

    SHORT = (
        "a path that begins with `/`, without spaces, such as /healthz, or "
        "{path: …, host: …, scheme: https, send: {X-Key: a}}"
    )

    path: UrlPath = "/"
    """The path of the request."""
    host: Host | None = None
    """The host name that the request comes with. Default: the environment's first one."""
    scheme: Scheme | None = None
    """What the application is told about the visitor's connection (`X-Forwarded-Proto`). Default: `https` if the
    proxy has a certificate for the environment's first host name, or if proxies in front of it are trusted; otherwise
    `http`."""
    send: SentHeaders = {}
    """Headers that the request has besides."""

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, given: Any) -> Any:
        return {"path": given} if isinstance(given, str) else given

    @model_validator(mode="after")
    def _not_too_long(self) -> HealthCheck:
        if sum(len(name) + len(value) for name, value in self.send.items()) > LONGEST:
            raise ValueError(f"`send` is longer than {LONGEST} characters; send less")
        return self

    @model_serializer(mode="wrap")
    def _as_text(self, whole: SerializerFunctionWrapHandler) -> Any:
        """As earlier versions stored it, unless there is more to say."""
        return whole(self) if self.host or self.scheme or self.send else self.path

    def __str__(self) -> str:
        host = f" with the host {self.host}" if self.host else ""
        scheme = f" over {self.scheme}" if self.scheme else ""
        send = f" with {', '.join(self.send)}" if self.send else ""
        return f"{self.path}{host}{scheme}{send}"


def problem(status: int, location: str, host: str, scheme: str) -> str:
    """What is wrong with the answer to a health check that was asked as ``scheme://host``; "" if nothing is."""
    if not 200 <= status < 400:
        return f"status {status}, expected 2xx or 3xx"
    to = urlsplit(location.strip()) if 300 <= status < 400 else urlsplit("")
    if to.hostname and to.hostname.lower() != host.lower():
        return f"status {status} leads to another host ({_shown(location)}), and {host} was asked"
    if to.scheme and to.scheme.lower() != scheme:
        return f"status {status} leads to {to.scheme.lower()}:// ({_shown(location)}), and the check came over {scheme}"
    return ""


def _shown(location: str) -> str:
    return one_line(location)[:_SHOWN]
