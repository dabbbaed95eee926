"""HMAC-SHA256 over the raw body, compared in constant time."""

from __future__ import annotations

import hmac

from pipeline.config.settings import Secret
from pipeline.notify.signing import sign


def valid(signature: str, body: bytes, secrets: tuple[Secret, ...]) -> bool:
    """True if ``signature`` (hex digits) was made over ``body`` with one of the secrets that are set.

    All secrets are tried, so that the time does not reveal which one matched. False without any secret.
    """
    given = signature.encode("utf-8", "replace")  # compare_digest rejects non-ASCII strings
    matches = [hmac.compare_digest(sign(body, secret).encode(), given) for secret in secrets if secret]
    return any(matches)
