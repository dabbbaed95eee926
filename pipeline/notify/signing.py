"""HMAC-SHA256 over a raw body: what a provider's webhook carries to us, and what our messages carry."""

from __future__ import annotations

import hashlib
import hmac

from pipeline.config.settings import Secret


def sign(body: bytes, secret: Secret) -> str:
    """64 hex digits."""
    return hmac.new(secret.reveal().encode(), body, hashlib.sha256).hexdigest()
