"""HMAC-SHA256 over a raw body: the signature of webhooks that come in and of messages that go out."""

from __future__ import annotations

import hashlib
import hmac

from pipeline.config.settings import Secret


def sign(body: bytes, secret: Secret) -> str:
    """The signature as 64 hex digits."""
    return hmac.new(secret.reveal().encode(), body, hashlib.sha256).hexdigest()
