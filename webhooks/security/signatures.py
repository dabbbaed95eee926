"""HMAC-SHA256 over the raw body, compared in constant time."""

from __future__ import annotations

import hmac

from pipeline.config.settings import Secret
from pipeline.notify.signing import sign


def valid(signature: str, body: bytes, secrets: tuple[Secret, ...]) -> bool:
    """True when any of the secrets that are set made ``signature`` (hex digits) over ``body``.

    Every secret is tried, so the time does not tell which one fitted. No secret: never valid.
    """
    given = signature.encode("utf-8", "replace")  # compare_digest refuses text beyond ASCII
    matches = [hmac.compare_digest(sign(body, secret).encode(), given) for secret in secrets if secret]
    return any(matches)
