"""Tokens: shown once, kept as a hash. A token is 160 random bits, so a plain SHA-256 is enough."""

from __future__ import annotations

import hashlib
import secrets
import shlex
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import redis

from pipeline.domain import audit_chain
from pipeline.domain.audit_chain import Who
from pipeline.errors import NotFound, RequestError, StoreUnavailable
from pipeline.lib import codec
from pipeline.store.audit_log import AuditLog
from pipeline.store.connection import Client, read, translate

ROLES = ("viewer", "developer", "maintainer")
MIN_LEFT = 7 * 86400.0  # seconds that another maintainer token must stay valid for this one to be revoked
NONE = "no token"
USED_EVERY = 3600.0  # seconds: a token's last use is recorded no more often


@dataclass(frozen=True)
class Token:
    """``created``, ``expires``: seconds since the epoch; ``expires`` 0: never."""

    name: str
    role: str
    created: float
    expires: float = 0.0

    def may(self, role: str) -> bool:
        """True if this token's role includes that one."""
        return ROLES.index(self.role) >= ROLES.index(role)

    def expired(self, now: float) -> bool:
        return 0 < self.expires <= now


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def _end(token: Token) -> str:
    return time.strftime("expires %Y-%m-%d", time.gmtime(token.expires)) if token.expires else "never expires"


def _state(text: str | None) -> str:
    """A stored token in words."""
    try:
        token = codec.load(Token, text) if text else None
    except ValueError:
        return "a token that cannot be read"
    return f"{token.role}, {_end(token)}" if token else NONE


class Tokens:
    def __init__(self, client: Client, prefix: str, log: AuditLog) -> None:
        self._client, self._log = client, log
        self._by_hash = prefix + "tokens"
        self._by_name = prefix + "token-names"
        self._used = prefix + "token-used"
        self._ended = prefix + "session-ended:"
        self._noted: dict[
            str, float
        ] = {}  # by the hash of a valid token: when its use was last recorded here

    def create(
        self, name: str, role: str, *, by: Who = "the service", expires: float = 0.0, replace: bool = False
    ) -> str:
        """Creates a token; returns its text. ``expires``: seconds since the epoch; 0: never. ``replace``: revokes a
        token of that name. Raises RequestError if the role or the name is not valid, or the name is in use."""
        if role not in ROLES:
            raise RequestError(f"there is no role {role!r}.", advice=f"The roles are {', '.join(ROLES)}.")
        if not name or len(name) > 64 or not name.isprintable():
            raise RequestError(
                "a token needs a name of 1 to 64 printable characters.",
                advice="Name who or what it is for: `pushlive token create ann`.",
            )
        if name != name.strip() or name.startswith("-"):
            raise RequestError(
                f"{name!r} cannot be the name of a token: no command could name it as it is.",
                advice="A name does not begin with `-`, and does not begin or end with a space.",
            )
        text = "pl_" + secrets.token_urlsafe(20)
        token = Token(name, role, time.time(), expires)

        def make(pipe: Any) -> Callable[[], None]:
            old = pipe.hget(self._by_name, name)
            if old == _digest(text):
                return lambda: None  # already created: only the answer was lost
            if old and not replace:
                raise RequestError(
                    f"a token named {name!r} already exists.",
                    advice=f"Revoke it first: `pushlive token revoke {shlex.quote(name)}`.",
                )
            before = _state(pipe.hget(self._by_hash, old) if old else None)
            return lambda: self._put(pipe, text, token, str(old or ""), by, before)

        self._change(make)
        return text

    def _put(self, pipe: Any, text: str, token: Token, old: str, by: Who, before: str) -> None:
        if old:
            self._remove(pipe, token.name, old)
        pipe.hset(self._by_name, token.name, _digest(text))
        pipe.hset(self._by_hash, _digest(text), codec.dump(token))
        end = _end(token)
        detail = f"{token.name} ({token.role}), {end}"
        change: dict[str, Any] = {"before": before, "after": f"{token.role}, {end}"}
        self._log.queue(pipe, audit_chain.entry(by, "token create", token.created, detail=detail, **change))

    def _remove(self, pipe: Any, name: str, digest: str) -> None:
        pipe.hdel(self._by_name, name)
        pipe.hdel(self._by_hash, digest)
        pipe.hdel(self._used, digest)

    def _change(self, act: Callable[[Any], Callable[[], None]]) -> None:
        """``act`` reads and decides, and returns a function that writes. Runs both again if another process wrote
        meanwhile."""
        while True:
            with translate(), self._client.pipeline() as pipe:
                try:
                    pipe.watch(self._by_name, self._by_hash)  # type: ignore[no-untyped-call]
                    write = act(pipe)
                    pipe.multi()
                    write()
                    pipe.execute()
                    return
                except redis.WatchError:
                    continue

    def find(self, text: str) -> Token | None:
        """The token with that text, also an expired one; None if there is none."""
        digest = _digest(text)
        with translate():
            found = self._client.hget(self._by_hash, digest)
        if not found:
            return None
        self._note_use(digest)
        return read(Token, str(found), self._by_hash)

    def _note_use(self, digest: str) -> None:
        now = time.time()
        if abs(now - self._noted.get(digest, 0.0)) < USED_EVERY:
            return
        self._noted[digest] = now
        with suppress(StoreUnavailable), translate():  # no reason to refuse the token
            self._client.hset(self._used, digest, f"{now:.0f}")

    def end_session(self, identifier: str, seconds: float) -> None:
        """Remembers for ``seconds`` that this session of the pages has ended."""
        with translate():
            self._client.set(self._ended + _digest(identifier), "1", px=max(1, round(seconds * 1000)))

    def has_session_ended(self, identifier: str) -> bool:
        with translate():
            return bool(self._client.exists(self._ended + _digest(identifier)))

    def all(self) -> list[dict[str, Any]]:
        """Every token, oldest first: name, role, created, expires, used. Times are seconds since the epoch; 0:
        never."""
        with translate():
            found = self._client.hgetall(self._by_hash)
            used = self._client.hgetall(self._used)
        rows = [
            codec.plain(read(Token, str(text), self._by_hash)) | {"used": float(used.get(digest) or 0)}
            for digest, text in found.items()
        ]
        return sorted(rows, key=lambda row: float(row["created"]))

    def revoke(self, name: str, *, by: Who = "the service") -> None:
        """Raises NotFound if no token has that name, RequestError for the last maintainer token that is valid for more
        than a week."""

        def end(pipe: Any) -> Callable[[], None]:
            digest = str(pipe.hget(self._by_name, name) or "")
            tokens = {
                key: read(Token, text, self._by_hash) for key, text in pipe.hgetall(self._by_hash).items()
            }
            if digest not in tokens:
                raise NotFound(
                    f"there is no token named {name!r}.", advice="`pushlive token list` lists them."
                )
            now = time.time()
            others = (token for key, token in tokens.items() if key != digest)
            if tokens[digest].role == "maintainer" and not any(
                other.role == "maintainer" and not other.expired(now + MIN_LEFT) for other in others
            ):
                raise RequestError(
                    f"{name!r} is the last maintainer token valid for more than a week.",
                    advice="Create another first: `pushlive token create NAME --role maintainer`.",
                )
            return lambda: self._revoke(pipe, tokens[digest], digest, by)

        self._change(end)

    def _revoke(self, pipe: Any, token: Token, digest: str, by: Who) -> None:
        self._remove(pipe, token.name, digest)
        change: dict[str, Any] = {"before": f"{token.role}, {_end(token)}", "after": NONE}
        entry = audit_chain.entry(by, "token revoke", time.time(), detail=token.name, **change)
        self._log.queue(pipe, entry)
