"""The `http` key: what the proxy does for an application."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from pipeline.config.fields import Model, Size


class Http(Model):
    """What the proxy does with the requests of this application. Under an environment: what differs there."""

    body: Annotated[Size, Field(ge=1, le=2**40)] | None = None
    """The largest body that a request may have. A larger one gets 413, and one that does not say how long it is gets
    411. Default: no limit. Not on Kubernetes, where the Ingress controller decides."""
    sticky: bool = False
    """`true`: a visitor's requests go to the replica that answered the first one, by the cookie `pushlive-server`, as
    long as it runs. Socket.IO and other long polling with several replicas need it. Not on Kubernetes, where the
    Ingress controller decides."""
    strip_path: bool = False
    """`true`: where `host` or `hosts` has a path (`shop.example.com/api`), requests reach the application without it,
    and the header `X-Forwarded-Prefix` says it. Not on Kubernetes, where paths are passed on whole."""
    connections: Literal["move", "keep"] = "move"
    """What becomes of WebSockets, event streams and other requests that still last when `drain` is over after a
    switch. `move`: they are closed, and clients come back to the release that serves. `keep`: they may stay with the
    old release as long as `keep_warm` keeps it, and for `drain` after that."""

    def with_own(self, own: Http) -> Http:
        """As it is in an environment that has written these keys of its own."""
        return self.model_copy(update={key: getattr(own, key) for key in own.model_fields_set})

    def without_proxy(self) -> Iterator[tuple[str, str]]:
        """The key, and the text of a warning, of what does not hold on a cluster."""
        if self.body:
            text = "has no effect on Kubernetes, where the Ingress controller decides; for ingress-nginx annotate the"
            yield "body", f'{text} Ingress: `nginx.ingress.kubernetes.io/proxy-body-size: "{self.body}"`'
        if self.sticky:
            text = "has no effect on Kubernetes, where the Ingress controller decides; for ingress-nginx annotate the"
            yield "sticky", f'{text} Ingress: `nginx.ingress.kubernetes.io/affinity: "cookie"`'
        if self.strip_path:
            text = "has no effect on Kubernetes, where an Ingress passes paths on whole: let the application serve"
            yield (
                "strip_path",
                f"{text} under its path, or strip it in the controller (`stripPrefix` of Traefik)",
            )
