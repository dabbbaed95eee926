"""What a request may use, decided by its head, before a byte of its body is read or a thread is taken."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Mapping

from pipeline.config.settings import Secret, Settings
from webhooks.receivers import RECEIVERS
from webhooks.security import failures
from webhooks.server.messages import Admission, BodyMode, Head, Sender
from webhooks.server.pools import PoolSize

JSON_LIMIT = 1 << 20  # bytes; the largest body of the API is a pipelines.yaml
FORM_LIMIT = 16 << 10
REFS_LIMIT = 8 << 20  # what our git hook reports of a push of very many refs
HOOKS = ("/internal/pre-receive", "/internal/post-receive")
NEGOTIATION_LIMIT = 32 << 20  # a fetch request
NEGOTIATION_SECONDS = 60.0

MAX_PUSHES = 24
MAX_STREAMS = 48
STREAMS_BY_TOKEN = 24

URGENT, OTHERS, STREAMS = "urgent requests", "requests", "followed runs"
DOWNLOADS, LISTS = "downloads", "lists"
SESSIONS, INPUT, FOLLOWED = "commands in containers", "input of commands", "followed outputs"
WEBHOOKS, PUSHES, FETCHES, REPORTS = "webhooks", "pushes", "fetches", "reports of pushes"
TRANSFERS, ACCESSORIES = "transfers of files", "acts on accessories and volumes"

# What a person needs in trouble has threads of its own, and so has everything that can take long.
POOLS: Mapping[str, PoolSize] = {
    URGENT: PoolSize(threads=16, waiting=512, by_address=12, by_token=8),
    OTHERS: PoolSize(threads=24, waiting=256, by_address=18, by_token=12),
    STREAMS: PoolSize(threads=MAX_STREAMS, waiting=0, by_address=36, by_token=STREAMS_BY_TOKEN),
    # A thread as long as the command runs; there is none to spare for one that waits.
    SESSIONS: PoolSize(threads=20, waiting=0, by_address=16, by_token=12),
    FOLLOWED: PoolSize(threads=16, waiting=0, by_address=12, by_token=8),
    INPUT: PoolSize(threads=8, waiting=64, by_address=6, by_token=4),
    # What is large: as many at once as fit into memory.
    LISTS: PoolSize(threads=6, waiting=256, by_address=5, by_token=4),
    DOWNLOADS: PoolSize(threads=8, waiting=64, by_address=6, by_token=4),
    # What may take minutes or hours: the files of volumes, and databases that start.
    TRANSFERS: PoolSize(threads=6, waiting=8, by_address=5, by_token=4),
    ACCESSORIES: PoolSize(threads=4, waiting=8, by_address=4, by_token=3),
    WEBHOOKS: PoolSize(threads=16, waiting=512, by_address=16, by_token=16),  # providers have few addresses
    PUSHES: PoolSize(threads=MAX_PUSHES, waiting=16, by_address=20, by_token=16),
    FETCHES: PoolSize(threads=16, waiting=64, by_address=12, by_token=8),
    REPORTS: PoolSize(threads=MAX_PUSHES, waiting=MAX_PUSHES, by_address=MAX_PUSHES, by_token=MAX_PUSHES),
}

_ROUTES = tuple(
    (methods.split(), re.compile(pattern), pool)
    for methods, pattern, pool in (
        ("GET HEAD", r"/|/healthz|/login|/api/status|/static/.*|/environments/.*", URGENT),
        ("POST", r"/login|/logout|/environments/.*|/api/runs/[^/]+/[^/]+/(cancel|abandon)", URGENT),
        ("POST", r"/api/pipelines/[^/]+/(revert|hold|resume)|/api/(freeze|thaw)", URGENT),
        ("GET HEAD", r"(/api)?/runs/[^/]+/[^/]+/events", STREAMS),
        ("GET HEAD", r"/api/pipelines/[^/]+/(output/follow|access)", FOLLOWED),
        ("GET HEAD", r"(/api)?/runs/[^/]+/[^/]+/log|/api/pipelines/[^/]+/output", DOWNLOADS),
        ("GET HEAD", r"(/api)?/evidence/[^/]+/[^/]+|/api/runs/[^/]+/[^/]+/evidence", DOWNLOADS),
        ("GET HEAD", r"(/api)?/runs(/[^/]+){0,2}|/api/audit(/verify)?|/api/evidence(/[^/]+)?", LISTS),
        ("POST", r"/api/pipelines/[^/]+/(run|exec|copy|restart)", SESSIONS),
        ("POST", r"/api/accessories/[^/]+/[^/]+/exec", SESSIONS),
        ("POST DELETE", r"/api/sessions/.*", INPUT),
        ("GET HEAD PUT", r"/api/volumes/[^/]+/[^/]+/[^/]+/files", TRANSFERS),
        ("GET HEAD POST", r"/api/backups/.+", TRANSFERS),
        ("PUT", r"/api/accessories/[^/]+/[^/]+/data", TRANSFERS),
        ("POST", r"/api/volumes/[^/]+/[^/]+/[^/]+/move", ACCESSORIES),
        ("POST", r"/api/accessories/.*", ACCESSORIES),
        ("POST", r"/hooks/.*", WEBHOOKS),
        ("POST", r"/git/[^/]+/git-receive-pack", PUSHES),
        ("GET HEAD POST", r"/git/.*", FETCHES),
    )
)


class Intake:
    """``internal``: what authenticates our own git hook."""

    def __init__(self, settings: Settings, internal: Secret) -> None:
        self._settings, self._internal = settings, internal

    def admit(self, head: Head) -> Admission:
        mode, limit, seconds = self._body(head)
        return Admission(self._pool(head), self._sender(head), mode, limit, seconds)

    def _pool(self, head: Head) -> str:
        if self._is_report(head):
            return REPORTS
        for methods, pattern, pool in _ROUTES:
            if head.method in methods and pattern.fullmatch(head.path):
                return PUSHES if pool == FETCHES and "service=git-receive-pack" in head.query else pool
        return OTHERS

    def _sender(self, head: Head) -> Sender:
        forwarded = head.get("x-forwarded-for")
        address = failures.sender(head.peer[0], forwarded, self._settings.trusted_proxies)
        text = _credential(head)
        return Sender(
            failures.group(address), hashlib.sha256(text.encode("latin-1")).hexdigest()[:16] if text else ""
        )

    def _body(self, head: Head) -> tuple[BodyMode, int, float]:
        if head.method not in ("POST", "PUT") or not head.has_body:
            return BodyMode.UNREAD, 0, 0.0
        if self._pool(head) == TRANSFERS:
            return (BodyMode.STREAMED if _credential(head) else BodyMode.UNREAD), 0, 0.0
        if limit := self._buffer_limit(head):
            return BodyMode.BUFFERED, limit, NEGOTIATION_SECONDS if limit == NEGOTIATION_LIMIT else 0.0
        if self._pool(head) == PUSHES and _credential(head):
            return BodyMode.STREAMED, 0, 0.0
        return BodyMode.UNREAD, 0, 0.0

    def _buffer_limit(self, head: Head) -> int:
        """Bytes of a body that are read before the application is called; 0 if it refuses the request without."""
        path = head.path
        if path.startswith("/hooks/"):
            return self._settings.body_limit if self._is_configured(path.removeprefix("/hooks/")) else 0
        if path.startswith("/internal/"):
            return REFS_LIMIT if self._is_report(head) else 0
        if path.startswith("/git/"):
            return NEGOTIATION_LIMIT if path.endswith("/git-upload-pack") and _credential(head) else 0
        if path.startswith("/api/"):
            return JSON_LIMIT if _credential(head) else 0
        return FORM_LIMIT

    def _is_configured(self, provider: str) -> bool:
        names = (f"{provider}_secret", f"{provider}_secret_old")
        return provider in RECEIVERS and any(getattr(self._settings, name) for name in names)

    def _is_report(self, head: Head) -> bool:
        given = head.get("x-pushlive-internal").encode("utf-8", "replace")
        return head.path in HOOKS and hmac.compare_digest(given, self._internal.reveal().encode())


def _credential(head: Head) -> str:
    """What a request gives to authenticate itself with: a token, wherever it is, or a cookie; "" if nothing."""
    scheme, _, text = head.get("authorization").partition(" ")
    if scheme.lower() != "basic":
        return text.strip() or head.get("cookie")
    try:
        return base64.b64decode(text, validate=True).decode("latin-1").partition(":")[2]
    except (binascii.Error, ValueError):
        return text
