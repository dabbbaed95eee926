"""Tokens: shown once, kept as a hash. They are 160 random bits, so a plain SHA-256 is enough."""

from __future__ import annotations

import hashlib
import secrets
import time
from dataclasses import dataclass
from typing import Any

from pipeline import codec
from pipeline.errors import NotFound, RequestError
from pipeline.store.connection import Client, read, translate

ROLES = ("viewer", "developer", "maintainer")


@dataclass(frozen=True)
class Token:
    name: str
    role: str
    created: float

    def may(self, role: str) -> bool:
        """True where this token's role includes that one."""
        return ROLES.index(self.role) >= ROLES.index(role)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


class Tokens:
    def __init__(self, client: Client, prefix: str) -> None:
        self._client = client
        self._by_hash = prefix + "tokens"
        self._by_name = prefix + "token-names"

    def create(self, name: str, role: str) -> str:
        """A new token's text. Raises RequestError on a name in use or an unknown role."""
        if role not in ROLES:
            raise RequestError(f"there is no role {role!r}.", advice=f"Roles are {', '.join(ROLES)}.")
        if not name or len(name) > 64 or not name.isprintable():
            raise RequestError("a token needs a name of 1 to 64 printable characters.")
        text = "pl_" + secrets.token_urlsafe(20)
        with translate():
            if not self._client.hsetnx(self._by_name, name, _digest(text)):
                raise RequestError(
                    f"a token named {name!r} exists.", advice=f"`pushlive token revoke {name}` first."
                )
            self._client.hset(self._by_hash, _digest(text), codec.dump(Token(name, role, time.time())))
        return text

    def find(self, text: str) -> Token | None:
        with translate():
            found = self._client.hget(self._by_hash, _digest(text))
        return read(Token, str(found), self._by_hash) if found else None

    def all(self) -> list[dict[str, Any]]:
        with translate():
            found = self._client.hgetall(self._by_hash)
        tokens = sorted(
            (read(Token, str(text), self._by_hash) for text in found.values()), key=lambda t: t.created
        )
        return [codec.plain(token) for token in tokens]

    def revoke(self, name: str) -> None:
        """Raises NotFound where no token has that name."""
        with translate():
            digest = self._client.hget(self._by_name, name)
            if not digest:
                raise NotFound(
                    f"there is no token named {name!r}.", advice="`pushlive token list` shows them."
                )
            self._client.hdel(self._by_hash, str(digest))
            self._client.hdel(self._by_name, name)
