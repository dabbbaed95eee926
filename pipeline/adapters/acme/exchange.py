"""One order's requests to an authority, and what it answers. What is not as RFC 8555 says raises CaAway."""

from __future__ import annotations

import re
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from contextlib import AbstractContextManager
from hashlib import sha256
from typing import Any

import requests
from acme import challenges, errors, messages
from cryptography import x509
from josepy.json_util import field
from josepy.jwk import JWKEC

from pipeline.adapters.acme import pem
from pipeline.adapters.acme.account import Account, registered
from pipeline.adapters.acme.network import Network
from pipeline.adapters.acme.problems import Asked, Problems, seconds
from pipeline.errors import PushliveError
from pipeline.lib.retry import Backoff
from pipeline.ports.certificates.authority import CaAway, Challenge, Kind, NameRefused
from pipeline.ports.clock import Clock

_TOKEN = re.compile(r"[A-Za-z0-9_-]{1,200}")
_UNDECIDED = ("pending", "processing")
_LIMITS = ("rateLimited", "badNonce")
_LONGEST = 30.0  # seconds between two questions, whatever it asks for
_ASKED = Backoff(0.5, factor=1.5, ceiling=5)

Json = Mapping[str, Any]


class _Replacing(messages.NewOrder):
    replaces: str = field("replaces", omitempty=True)


class Exchange:
    """``limit``: seconds until it has to be over, counted from now."""

    def __init__(
        self, account: Account, names: tuple[str, ...], kind: Kind, clock: Clock, limit: float
    ) -> None:
        self._account, self._clock = account, clock
        self._asked = Asked(names, kind, str(account.key_file.path))
        self._key = JWKEC(key=pem.account_key(account.secret()))
        self._network = Network(self._key, account.ca)
        self.problems = Problems(account.directory, self._network)
        self._end = clock.monotonic() + limit
        self._fresh_nonces = ""

    def register(self) -> None:
        """Everything else but ``renewal`` comes after it."""
        with self._translated(registering=True):
            self._directory = registered(self._account, self._network).directory
            self._fresh_nonces = self._directory["newNonce"]

    def order(self, replaces: str) -> tuple[str, Json]:
        """Its URL, and what it is. ``replaces``: the identity of a certificate, or ""."""
        with self._translated():
            if not replaces or "renewalInfo" not in self._directory.to_partial_json():
                return self._ordered(None)
            try:
                return self._ordered(replaces)
            except (messages.Error, errors.ConflictError) as error:
                if isinstance(error, messages.Error) and error.code in _LIMITS:
                    raise
                return self._ordered(None)  # replaced before, or issued by another authority

    def _ordered(self, replaces: str | None) -> tuple[str, Json]:
        names = tuple(
            messages.Identifier(typ=messages.IDENTIFIER_FQDN, value=one) for one in self._asked.names
        )
        answer = self._post(self._directory["newOrder"], _Replacing(identifiers=names, replaces=replaces))
        return answer.headers["Location"], answer.json()

    def authorizations(self, order: Json) -> list[tuple[str, Json]]:
        """Of its names: the URL of each, and what it is."""
        with self._translated():
            found = [(url, self._post(url).json()) for url in order["authorizations"]]
            for _, one in found:
                str(one["status"])
            return found

    def challenge(self, authorization: Json, kind: Kind) -> tuple[Challenge, str]:
        """What is to be answered, and the URL that is told so."""
        with self._translated():
            name = str(authorization["identifier"]["value"])
            for one in authorization["challenges"]:
                if one["type"] == kind:
                    return self._challenge(one, name, kind), one["url"]
        offered = ", ".join(sorted({str(one["type"]) for one in authorization["challenges"]}))
        raise NameRefused(
            name,
            f"{self.problems.host} issues no certificate for {name} by {kind}: it offers {offered or 'nothing'}.",
            advice="Use another authority, or a certificate of your own.",
        )

    def _challenge(self, one: Json, name: str, kind: Kind) -> Challenge:
        token = one["token"]
        if not _TOKEN.fullmatch(token):  # it becomes a part of a path
            raise ValueError("a token with other characters than base64url has")
        authorization = f"{token}.{_base64(self._key.thumbprint())}"
        digest = sha256(authorization.encode()).digest()
        values = {"http-01": authorization, "dns-01": _base64(digest), "tls-alpn-01": digest.hex()}
        return Challenge(kind, name, token, values[kind])

    def ready(self, url: str) -> None:
        """It is answered from now on. Idempotent: only the first one counts."""
        with self._translated():
            # The library leaves out what RFC 8555 has no more, so that this is an empty object.
            self._post(url, challenges.HTTP01(token=b"x" * 16).response(self._key))

    def decided(self, url: str, name: str) -> None:
        """Waits until the authority has looked. Raises NameRefused if it was not convinced."""
        found = self._settled(url, _UNDECIDED)
        if found["status"] == "valid":
            return
        with self._translated():
            failed = [one["error"] for one in found.get("challenges", ()) if one.get("error")]
            told = {
                "detail": f"its authorization is {found['status']}",
                "type": "malformed",
                **next(iter(failed), {}),
            }
            identifier = {"type": "dns", "value": name}
            raise self._refused({**told, "identifier": identifier, "subproblems": []})

    def finalize(self, url: str, order: Json, request: x509.CertificateSigningRequest) -> str:
        """The certificate and its chain, as PEM."""
        found = self._settled(url, ("pending",))
        if found["status"] == "ready":
            with self._translated():
                self._post(order["finalize"], messages.CertificateRequest(csr=request))
            found = self._settled(url, ("ready", *_UNDECIDED))
        with self._translated():
            if found["status"] != "valid":
                told = {"detail": f"the order is {found['status']}", "type": "serverInternal"}
                raise self._refused({**told, **(found.get("error") or {})})
            return self._post(found["certificate"]).text

    def renewal(self, identity: str) -> Json:
        """What the authority says about renewing that certificate (RFC 9773); empty if it has no such service."""
        with self._translated():
            base = self._network.get(self._account.directory).json().get("renewalInfo")
            answer: Json = self._network.get(f"{base.rstrip('/')}/{identity}").json() if base else {}
            return answer

    def _refused(self, problem: dict[str, Any]) -> PushliveError:
        return self.problems.of(messages.Error.from_json(problem), self._asked, self._clock.now())

    def _settled(self, url: str, undecided: tuple[str, ...]) -> Json:
        """What is there once its status is another one. Asked as often as the authority likes (``Retry-After``)."""
        asked = 0
        while True:
            with self._translated():
                found: Json = self._post(url).json()
                if found["status"] not in undecided:
                    return found
            asked += 1
            wait = seconds(self._network.wait_asked, self._clock.now()) or _ASKED.delay(asked)
            wait = min(wait, _LONGEST)
            if self._clock.monotonic() + wait > self._end:
                raise CaAway(
                    f"{self.problems.host} has not decided about {', '.join(self._asked.names)} in time.",
                    advice="It is tried again.",
                )
            self._clock.sleep(wait)

    def _post(self, url: str, body: Any = None) -> requests.Response:
        return self._network.post(url, body, new_nonce_url=self._fresh_nonces)

    def _translated(self, *, registering: bool = False) -> AbstractContextManager[None]:
        return self.problems.translated(self._asked, self._clock.now(), registering=registering)


def _base64(data: bytes) -> str:
    return urlsafe_b64encode(data).decode().rstrip("=")
