"""The `http` key: what the proxy does for an application."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from pipeline.config.fields import Model, Size
from pipeline.config.http import redirects as redirects_of
from pipeline.config.http.access import Allowed, Basic


class Http(Model):
    """What the proxy does with the requests of this application. Under an environment: what differs there."""

    body: Annotated[Size, Field(ge=1, le=2**40)] | None = None
    """The largest body that a request may have. A larger one gets 413, and one that does not say how long it is gets
    411. Default: no limit. Not on Kubernetes, where the Ingress controller decides."""
    basic: Basic = {}
    """Who is let in, and with which password: `{alice: DEV_PASSWORD}`, where `DEV_PASSWORD` is the name of a secret
    (`pushlive secret set`). Anyone else gets 401, and a browser asks for name and password. The application is not
    given them. A changed secret holds from the next release on. `{}`: everyone is let in. Not on Kubernetes, where the
    Ingress controller decides."""
    allow: Allowed = ()
    """The addresses and networks that are let in, of IPv4 or IPv6: `[10.0.0.0/8, "2001:db8::/32"]`. Others get 403.
    Behind a proxy of `PUSHLIVE_PROXY_TRUSTED` it is the visitor's own address. `[]`: all are let in. With `basic`, both
    hold. Not on Kubernetes, where the Ingress controller decides."""
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

    redirects: Annotated[dict[str, str], AfterValidator(redirects_of.checked)] = {}
    """Paths that lead elsewhere (308), at most 100: `{/old: /new, "/blog/*": "https://blog.example.com/*"}`. A path
    that ends in `/*` is for all below it, and a `*` where it leads stands for the rest of the path. The query is kept.
    The very path comes first, then the longest one above it. Not on Kubernetes, where the Ingress controller
    decides."""

    def with_own(self, own: Http) -> Http:
        """As it is in an environment that has written these keys of its own."""
        return self.model_copy(update={key: getattr(own, key) for key in own.model_fields_set})

    def without_proxy(self) -> Iterator[tuple[str, str]]:
        """The key, and the text of a warning, of what does not hold on a cluster."""
        if self.basic:
            text = (
                "has no effect on Kubernetes, where the Ingress controller decides: everyone is let in. For"
            )
            yield (
                "basic",
                f'{text} ingress-nginx annotate the Ingress: `nginx.ingress.kubernetes.io/auth-type: "basic"` and '
                '`nginx.ingress.kubernetes.io/auth-secret: "NAME"`, a Secret whose key `auth` is a file of htpasswd',
            )
        if self.allow:
            text = (
                "has no effect on Kubernetes, where the Ingress controller decides: everyone is let in. For"
            )
            yield (
                "allow",
                f"{text} ingress-nginx annotate the Ingress: "
                f'`nginx.ingress.kubernetes.io/whitelist-source-range: "{",".join(self.allow)}"`',
            )
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
        if self.redirects:
            text = "has no effect on Kubernetes, where the Ingress controller decides; for ingress-nginx annotate an"
            yield (
                "redirects",
                f"{text} Ingress for each path: `nginx.ingress.kubernetes.io/permanent-redirect: URL`",
            )
