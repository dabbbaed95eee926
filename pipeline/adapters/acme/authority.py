"""``ports.certificates.authority.Authority`` by ACME. The library is loaded when it is needed."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from datetime import datetime
from typing import TYPE_CHECKING, Any

from pipeline.adapters.acme import pem
from pipeline.adapters.acme.account import Account
from pipeline.errors import RequestError
from pipeline.ports.certificates.authority import (
    BadAccount,
    CaAway,
    Challenge,
    Held,
    Issued,
    Kind,
)  # fmt: skip
from pipeline.ports.clock import Clock

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

    from pipeline.adapters.acme.exchange import Exchange

WHOLE = 180.0  # seconds for an order, beside those of the requests at its end
_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----[\sA-Za-z0-9+/=]+-----END CERTIFICATE-----")

Answer = Callable[[Challenge], AbstractContextManager[None]]


class AcmeAuthority:
    """See ``ports.certificates.authority.Authority``."""

    def __init__(self, account: Account, clock: Clock) -> None:
        self._account, self._clock = account, clock

    def order(
        self, names: tuple[str, ...], answer: Answer, kind: Kind = "http-01", replaces: str = ""
    ) -> Issued:
        if not names:
            raise RequestError("A certificate needs a name.")
        exchange = self._exchange(names, kind)
        exchange.register()
        url, order = exchange.order(_identity(replaces))
        self._authorize(exchange, order, answer, kind)
        key = pem.new_key()
        return _issued(exchange.finalize(url, order, pem.request(key, names)), key)

    def renewal_window(self, chain: str) -> tuple[float, float] | None:
        try:
            identity = _identity(chain)
            if not identity or pem.held(chain).not_after <= self._clock.now():
                return None
            window = self._exchange((), "http-01").renewal(identity)["suggestedWindow"]
            start, end = (datetime.fromisoformat(window[key]).timestamp() for key in ("start", "end"))
        except (BadAccount, CaAway, RequestError, LookupError, TypeError, ValueError):
            return None  # then its lifetime decides (RFC 9773, 4.3)
        return (start, end) if start < end else None

    def held(self, pem_text: str) -> Held:
        return pem.held(pem_text)

    def _exchange(self, names: tuple[str, ...], kind: Kind) -> Exchange:
        ca = self._account.ca
        if ca and not ca.is_file():
            raise BadAccount(f"PUSHLIVE_ACME_CA names {ca}, and there is no such file.", advice="Correct it.")
        from pipeline.adapters.acme.exchange import Exchange

        return Exchange(self._account, names, kind, self._clock, WHOLE)

    def _authorize(self, exchange: Exchange, order: Mapping[str, Any], answer: Answer, kind: Kind) -> None:
        """All challenges are answered until the authority has decided about all names."""
        with ExitStack() as answered:
            begun = []
            for url, found in exchange.authorizations(order):
                if found["status"] == "valid":
                    continue  # shown within the last days, and still known
                challenge, where = exchange.challenge(found, kind)
                answered.enter_context(answer(challenge))
                begun.append((url, where, challenge.name))
            for _, where, _ in begun:
                exchange.ready(where)
            for url, _, name in begun:
                exchange.decided(url, name)


def _identity(chain: str) -> str:
    try:
        return pem.identity(chain) if chain else ""
    except ValueError:
        return ""


def _issued(text: str, key: EllipticCurvePrivateKey) -> Issued:
    """Nothing but certificates is kept of what was sent. Raises CaAway if they are not for that key."""
    chain = "".join(f"{one}\n" for one in _CERTIFICATE.findall(text))
    try:
        found = pem.held(chain)
        fits = pem.matches(chain, key)
    except ValueError:
        fits = False
    if not fits:
        raise CaAway("The authority sent something else than the certificate that was ordered.")
    return Issued(chain, pem.private(key), found.not_before, found.not_after)
