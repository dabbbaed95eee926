"""An authority that issues certificates to those who show that a name leads to them (ACME, RFC 8555)."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal, Protocol

from pipeline.errors import ConfigError, RequestError, TryAgain

Kind = Literal["http-01", "dns-01", "tls-alpn-01"]


@dataclass(frozen=True)
class Challenge:
    """What the authority asks for: with ``http-01`` that ``http://<name>/.well-known/acme-challenge/<token>`` answers
    ``value``; with ``dns-01`` that the TXT record ``_acme-challenge.<name>`` is ``value``; with ``tls-alpn-01`` that a
    handshake for ``acme-tls/1`` shows a certificate with ``value``, a SHA-256 in hexadecimal (RFC 8737). ``name``: of a
    wildcard, without ``*.``."""

    kind: Kind
    name: str
    token: str
    value: str


@dataclass(frozen=True)
class Issued:
    """``chain``: the certificate and those between it and the root, ``key``: its private key, both as PEM. The times
    are seconds since 1970."""

    chain: str
    key: str
    not_before: float
    not_after: float


@dataclass(frozen=True)
class Held:
    """What a PEM file has: the host names of its certificate (``*.example.com`` among them), and its times."""

    names: tuple[str, ...]
    not_before: float
    not_after: float


class NameRefused(RequestError):
    """The authority does not issue a certificate for the name; another attempt has to wait until a person has done
    something. ``name``: which one."""

    def __init__(self, name: str, message: str, *, advice: str = "") -> None:
        super().__init__(message, advice=advice)
        self.name = name


class RateLimited(TryAgain):
    """``until``: before that the authority takes no order, seconds since 1970; 0 if it does not say."""

    def __init__(self, message: str, until: float = 0.0, *, advice: str = "") -> None:
        super().__init__(message, advice=advice)
        self.until = until


class CaAway(TryAgain):
    """The authority does not answer, or says that it is not well."""


class BadAccount(ConfigError):
    """It does not take the account: its e-mail address, its terms or its external binding. The operator acts."""


class Authority(Protocol):
    """Every method is safe to call from any thread, one at a time."""

    def order(
        self,
        names: tuple[str, ...],
        answer: Callable[[Challenge], AbstractContextManager[None]],
        kind: Kind = "http-01",
        replaces: str = "",
    ) -> Issued:
        """One certificate for all these names. ``answer``: while its context is open, the challenge is answered.
        ``replaces``: the chain whose place it takes; such an order does not count against the limits of authorities
        that know RFC 9773. It takes seconds, and minutes at most. May be repeated after a crash: an order left behind
        costs nothing, but a certificate that was issued and not kept counts against the authority's limits. Raises
        NameRefused, RateLimited, CaAway or BadAccount, EngineFailed if the account's key cannot be read, and what
        ``answer`` raises."""

    def renewal_window(self, chain: str) -> tuple[float, float] | None:
        """When the authority wants it to be renewed, in seconds since 1970; None if it does not say so."""

    def held(self, pem: str) -> Held:
        """What the first certificate of a PEM text is. Asks no one. Raises ValueError if there is none."""
