"""An authority in memory. Its certificates are real, and verified by its root."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from pipeline.adapters.acme import pem
from pipeline.adapters.fake.script import Script, require
from pipeline.ports.certificates.authority import (
    BadAccount,
    CaAway,
    Challenge,
    Held,
    Issued,
    Kind,
    NameRefused,
    RateLimited,
)  # fmt: skip
from pipeline.ports.clock import Clock

_SIGNS = x509.KeyUsage(
    digital_signature=True, key_cert_sign=True, crl_sign=True, content_commitment=False, key_encipherment=False,
    data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
)  # fmt: skip
_SERVES = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
_YEARS = 10 * 365 * 86400.0


class FakeAuthority(Script):
    """Refuses an order without names, with one twice, and of a wildcard by another challenge than ``dns-01``.

    ``lifetime``: of what it issues from now on, seconds. ``refused``: names, and what it says of each. ``away``,
    ``limited`` (until when, seconds since 1970) and ``bad_account`` (what it says): for all orders. ``slow``: seconds
    for an order. ``asked``: what it finds for a challenge; None for what was asked for. ``window``: when it wants all
    to be renewed. ``orders``: the names of all that were tried; ``issued``: the chains of those that were good."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock
        self.lifetime = 90 * 86400.0
        self.refused: dict[str, str] = {}
        self.away = False
        self.limited = 0.0
        self.bad_account = ""
        self.slow = 0.0
        self.asked: Callable[[Challenge], str] | None = None
        self.window: tuple[float, float] | None = None
        self.orders: list[tuple[str, ...]] = []
        self.issued: list[str] = []
        self.replaced: list[str] = []
        self._key = pem.new_key()
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "An authority in memory")])
        self._root = self._root_certificate()

    def root(self) -> str:
        """What verifies its certificates, as PEM."""
        return _text(self._root)

    def order(
        self,
        names: tuple[str, ...],
        answer: Callable[[Challenge], AbstractContextManager[None]],
        kind: Kind = "http-01",
        replaces: str = "",
    ) -> Issued:
        with self.call("order", *names):
            require(bool(names) and len(set(names)) == len(names), f"an order of {names}")
            wild = any(name.startswith("*.") for name in names)
            require(not wild or kind == "dns-01", f"a wildcard by {kind}")
            self.orders.append(names)
            self._trouble()
            for name in names:
                if name in self.refused:
                    raise _refused(name, self.refused[name], "rejectedIdentifier")
            self._look(names, answer, kind)
            if replaces:
                self.replaced.append(replaces)
            return self._issue(names)

    def renewal_window(self, chain: str) -> tuple[float, float] | None:
        """See the port."""
        with self.call("renewal_window"):
            return None if self.away or not chain else self.window

    def held(self, pem_text: str) -> Held:
        """See the port."""
        return pem.held(pem_text)

    def _trouble(self) -> None:
        self._clock.sleep(self.slow)
        if self.away:
            raise CaAway("ca.example does not answer: connection refused.", advice="It is tried again.")
        if self.bad_account:
            raise BadAccount(
                f"ca.example does not take the account for certificates: {self.bad_account}.",
                advice="Correct PUSHLIVE_ACME_EMAIL.",
            )
        if self._clock.now() < self.limited:
            raise RateLimited(
                "ca.example takes no more orders for now: too many certificates.",
                self.limited,
                advice="It is tried again when the authority allows it.",
            )

    def _look(
        self, names: tuple[str, ...], answer: Callable[[Challenge], AbstractContextManager[None]], kind: Kind
    ) -> None:
        with ExitStack() as answered:
            asked: list[Challenge] = []
            for name in names:
                token = f"token-{len(self.orders)}-{len(asked)}"
                asked.append(Challenge(kind, name.removeprefix("*."), token, f"{token}.account"))
                answered.enter_context(answer(asked[-1]))
            for one in asked:
                if self.asked and self.asked(one) != one.value:
                    raise _refused(one.name, f"the answer to {one.token} was another", "unauthorized")

    def _issue(self, names: tuple[str, ...]) -> Issued:
        key, begin = pem.new_key(), self._clock.now()
        more = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
        builder = self._builder(x509.Name([]), key, begin, begin + self.lifetime)
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        builder = builder.add_extension(more, critical=True).add_extension(issuer, critical=False)
        builder = builder.add_extension(_SERVES, critical=False)
        chain = _text(builder.sign(self._key, hashes.SHA256()))
        self.issued.append(chain)
        held = pem.held(chain)  # whole seconds
        return Issued(chain, pem.private(key), held.not_before, held.not_after)

    def _root_certificate(self) -> x509.Certificate:
        now = self._clock.now()
        builder = self._builder(self._name, self._key, now - _YEARS, now + _YEARS)
        constraints = x509.BasicConstraints(ca=True, path_length=None)
        own = x509.SubjectKeyIdentifier.from_public_key(self._key.public_key())
        builder = builder.add_extension(constraints, critical=True).add_extension(own, critical=False)
        builder = builder.add_extension(_SIGNS, critical=True)
        return builder.sign(self._key, hashes.SHA256())

    def _builder(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, begin: float, end: float
    ) -> x509.CertificateBuilder:
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(self._name)
        builder = builder.public_key(key.public_key()).serial_number(x509.random_serial_number())
        first, last = datetime.fromtimestamp(begin, UTC), datetime.fromtimestamp(end, UTC)
        return builder.not_valid_before(first).not_valid_after(last)


def _refused(name: str, said: str, code: str) -> NameRefused:
    advice = "Check its A and AAAA records." if code == "unauthorized" else "Use another name."
    return NameRefused(name, f"ca.example issues no certificate for {name}: {said}.", advice=advice)


def _text(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()
