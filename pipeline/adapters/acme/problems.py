"""What an authority says, and what its connection does, as errors of ours: who has to act, and what to do."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import NamedTuple
from urllib.parse import urlsplit

import josepy
import requests
import urllib3
from acme import errors, messages

from pipeline.adapters.acme.network import SECONDS, Network
from pipeline.errors import PushliveError
from pipeline.lib.text import summary
from pipeline.ports.certificates.authority import BadAccount, CaAway, Kind, NameRefused, RateLimited

_LIMITED = 429
_LONGEST = (
    7 * 86400.0
)  # seconds: no limit that is known is longer, and a slip of the authority must not stop all
_DIGITS = 9
_HTTP = {
    "dns": "Check that {name} has an A or AAAA record, and that it leads to this machine.",
    "connection": "The authority could not connect to {name}. Check that its A and AAAA records lead to this machine, "
    "and that port 80 is open to the internet.",
    "unauthorized": "Something other than this service's proxy answered for {name}. Check its A and AAAA records, and "
    "what is between the internet and this machine.",
}
_DNS = {
    "dns": "Check that the TXT record _acme-challenge.{name} can be asked for from the internet.",
    "connection": "Check that the name servers of {name} answer from the internet.",
    "unauthorized": "The TXT record _acme-challenge.{name} had another value, or none. Check what the hook writes, and "
    "that all name servers of {name} have it when the hook returns.",
}
_ANY = {
    "caa": "Allow this authority in the CAA records of {name} and the domains above it, or remove those records.",
    "dnssec": "Correct the DNSSEC signatures of {name}, or remove its DS record.",
    "tls": "Check what answers for {name} over TLS.",
    "rejectedIdentifier": "The authority never issues for this name. Use another name, another authority, or a "
    "certificate of your own.",
    "unsupportedIdentifier": "The authority does not issue for names of this kind. Use another name, another "
    "authority, or a certificate of your own.",
    "malformed": "Check that {name} is a name of the public DNS.",
    "badCSR": "Use fewer names, or another authority.",
}
_SAME = {"incorrectResponse": "unauthorized", "compound": "malformed"}
_ACCOUNT = {
    "invalidContact": "Correct PUSHLIVE_ACME_EMAIL.",
    "unsupportedContact": "Correct PUSHLIVE_ACME_EMAIL.",
    "externalAccountRequired": "Set PUSHLIVE_ACME_EAB_KID and PUSHLIVE_ACME_EAB_KEY: the authority gives them to "
    "its customers.",
    "userActionRequired": "The authority's message says what it wants from you.",
    "accountDoesNotExist": "It is registered again with the next order.",
    "badPublicKey": "Use another authority: this one does not take keys on P-256.",
    "badSignatureAlgorithm": "Use another authority: this one does not take ES256.",
}


class Asked(NamedTuple):
    """What an order is for. ``file``: the account's key."""

    names: tuple[str, ...]
    kind: Kind
    file: str


@dataclass(frozen=True)
class Problems:
    """Of one authority. ``now``: seconds since 1970."""

    directory: str
    network: Network

    @property
    def host(self) -> str:
        return urlsplit(self.directory).hostname or self.directory

    @contextmanager
    def translated(self, asked: Asked, now: float, *, registering: bool = False) -> Iterator[None]:
        """Errors of the library inside become those of the port."""
        try:
            yield
        except PushliveError:
            raise
        except messages.Error as error:
            raise self.of(error, asked, now, registering=registering) from error
        except errors.ClientError as error:
            raise self._unlike(error, now) from error
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise self._away(error) from error
        except (
            errors.Error,
            josepy.errors.Error,
            LookupError,
            TypeError,
            ValueError,
            AttributeError,
        ) as error:
            raise CaAway(
                f"{self.host} answers, but not as an ACME server does ({summary(str(error), 100)}).",
                advice=f"Check that {self.directory} is the URL of an ACME directory. It is tried again.",
            ) from error

    def of(
        self, error: messages.Error, asked: Asked, now: float, *, registering: bool = False
    ) -> PushliveError:
        """What to raise for a problem document (RFC 8555, 6.7)."""
        code = str(error.typ).rpartition(":")[2]
        said = summary(error.detail or error.title or code, 300)
        if code == "rateLimited":
            return self._limited(said, now)
        if registering and code in ("unauthorized", "malformed"):
            return BadAccount(
                f"{self.host} does not take the account for certificates: {said}.",
                advice="Check PUSHLIVE_ACME_EAB_KID and PUSHLIVE_ACME_EAB_KEY. If it was deactivated, remove "
                f"{asked.file}: the next order makes another.",
            )
        if code in _ACCOUNT:
            return BadAccount(
                f"{self.host} does not take the account for certificates: {said}.", advice=_ACCOUNT[code]
            )
        if (part := _part(error)) is not error:
            return self.of(part, asked, now)
        code = _SAME.get(code, code)
        advice = {**_ANY, **(_DNS if asked.kind == "dns-01" else _HTTP)}.get(code)
        if advice:
            name = error.identifier.value if error.identifier else ", ".join(asked.names)
            name = summary(name, 253)
            return NameRefused(
                name,
                f"{self.host} issues no certificate for {name}: {said}.",
                advice=advice.format(name=name.removeprefix("*.")),
            )
        return CaAway(f"{self.host} cannot issue a certificate now: {said}.", advice="It is tried again.")

    def _limited(self, said: str, now: float) -> RateLimited:
        wait = min(_LONGEST, seconds(self.network.wait_asked, now))
        return RateLimited(
            f"{self.host} takes no more orders for now: {said}.",
            now + wait if wait else 0.0,
            advice="It is tried again when the authority allows it.",
        )

    def _unlike(self, error: errors.ClientError, now: float) -> PushliveError:
        answer = error.args[0] if error.args else None
        status = answer.status_code if isinstance(answer, requests.Response) else 0
        if status == _LIMITED:
            return self._limited(f"HTTP {status}", now)
        said = f"HTTP {status}" if status else summary(str(error), 100)
        return CaAway(
            f"{self.host} answers, but not as an ACME server does ({said}).",
            advice=f"Check that {self.directory} is the URL of an ACME directory. It is tried again.",
        )

    def _away(self, error: Exception) -> CaAway:
        cause = _cause(error)
        if isinstance(cause, ssl.SSLCertVerificationError):
            return CaAway(
                f"The certificate of {self.host} itself cannot be verified: {summary(cause.verify_message, 200)}.",
                advice="If it is an authority of your own, set PUSHLIVE_ACME_CA to a file with the certificates that "
                "sign its address.",
            )
        return CaAway(f"{self.host} does not answer: {_why(cause)}.", advice="It is tried again.")


def seconds(retry_after: str, now: float) -> float:
    """What a ``Retry-After`` asks to wait, 0 if it cannot be read: seconds, or a date (RFC 9110, 10.2.3)."""
    if retry_after.isascii() and retry_after.isdigit():
        return float(retry_after[:_DIGITS])
    try:
        return max(0.0, parsedate_to_datetime(retry_after).timestamp() - now)
    except (ValueError, OverflowError):
        return 0.0


def _part(error: messages.Error) -> messages.Error:
    """The first of its parts that is about one name, or itself."""
    for one in error.subproblems or ():
        if one.identifier and not one.subproblems:
            return one
    return error


def _cause(error: BaseException) -> BaseException:
    for _ in range(10):  # a chain of exceptions may be a ring
        before = error.__cause__ or error.__context__
        if before is None:
            break
        error = before
    return error


def _why(cause: BaseException) -> str:
    if isinstance(cause, socket.gaierror):
        return "its name cannot be looked up"
    if isinstance(cause, TimeoutError):
        return f"nothing within {SECONDS} s"
    strerror = getattr(cause, "strerror", None)
    return summary(str(strerror or cause) or type(cause).__name__, 200)
