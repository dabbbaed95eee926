"""Delivers what lies in the outbox: each message at least once under its one id, in order for each receiver.

A receiver that does not take a message is tried again with growing pauses; the others do not wait for it, and no run
does. Two messengers at once are harmless: a lease lets one of them act for a receiver, and should both, the receiver
gets the same id twice.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from pipeline.config.settings import Secret, Settings
from pipeline.errors import TryAgain
from pipeline.lib import codec
from pipeline.lib.retry import Backoff
from pipeline.lib.text import without_path
from pipeline.notify.messages import Notice
from pipeline.notify.signing import sign
from pipeline.ports.clock import Clock
from pipeline.ports.probe import Post
from pipeline.store import Box, Store, Trouble

TIMEOUT = 5.0  # seconds for one message, from the connection to the answer's end
BACKOFF = Backoff(1.0, ceiling=600.0)
KEEP = 86400.0  # seconds that a message is tried for
TRIES = 20  # at least, so that a clock set forward by a day gives nothing up
REFUSALS = 10  # of one message, by a receiver that answers and does not want it


class Delivery:
    def __init__(self, store: Store, post: Post, clock: Clock, settings: Settings) -> None:
        self._store, self._post, self._clock = store, post, clock
        self._secret: Secret = settings.notify_secret
        self._page = settings.url

    def due(self) -> tuple[Box, ...]:
        """Receivers that something is to be done for now."""
        return tuple(box for box in self._store.outbox.boxes() if self._is_due(box))

    def _is_due(self, box: Box) -> bool:
        if not box.waiting:
            return not (box.trouble or box.lost)  # to be forgotten
        wait = box.trouble.again - self._clock.now() if box.trouble else 0.0
        return wait <= 0 or wait > BACKOFF.ceiling  # more: somebody set the clock back

    def deliver(self, box_id: str) -> None:
        """Sends one receiver's messages until none is left or one is not taken. Raises StoreUnavailable."""
        lease = self._store.leases.take(f"notify:{box_id}", "messenger")
        if lease is None:
            return
        try:
            while self._deliver_next(box_id) and self._store.leases.renew(lease):
                continue
        finally:
            self._store.leases.drop(lease)

    def _deliver_next(self, box_id: str) -> bool:
        """True where there may be more to do at once."""
        outbox = self._store.outbox
        box = outbox.box(box_id)  # again: another messenger may have been here
        if box is None or not self._is_due(box):
            return False
        message = outbox.first(box.id)
        if not message:
            outbox.forget(box.id)
            return False
        notice = _read(message)
        if notice is None:
            outbox.give_up(box.id, message)
            return True
        error, refused = self._send(box.url, notice)
        if error:
            self._failed(box, error, refused)
            return False
        outbox.delivered(box.id, message)
        return True

    def _send(self, url: str, notice: Notice) -> tuple[str, bool]:
        """What went wrong, and whether the receiver answered that it does not want this message; "" for nothing."""
        body = body_of(notice, self._page)
        try:
            status = self._post.send(url, body, self._headers(notice, body), TIMEOUT)
        except TryAgain as error:
            return error.message, False
        if 200 <= status < 300:
            return "", False
        return f"{without_path(url)} answered {status}", 300 <= status < 500 and status not in (408, 425, 429)

    def _headers(self, notice: Notice, body: bytes) -> dict[str, str]:
        headers = {"Content-Type": "application/json", "X-Pushlive-Delivery": notice.id}
        if self._secret:
            headers["X-Pushlive-Signature-256"] = f"sha256={sign(body, self._secret)}"
        return headers

    def _failed(self, box: Box, error: str, refused: bool) -> None:
        now = self._clock.now()
        before = box.trouble or Trouble(since=now)
        failures = before.failures + 1
        pause = BACKOFF.delay(failures)
        after = Trouble(
            failures, before.since, now + pause, error, before.refused + 1 if refused else before.refused
        )
        if self._give_up(box, after, now):
            after = replace(after, refused=0)
        self._store.outbox.failed(box.id, after)

    def _give_up(self, box: Box, trouble: Trouble, now: float) -> bool:
        """Takes out what was tried for long enough, or refused often enough; True if it did."""
        outbox, gave_up = self._store.outbox, False
        refused = trouble.refused >= REFUSALS
        while message := outbox.first(box.id):
            notice = _read(message)
            old = notice is not None and now - notice.at > KEEP and trouble.failures >= TRIES
            if not refused and not old:
                break
            outbox.give_up(box.id, message)
            refused, gave_up = False, True
        return gave_up


def _read(message: str) -> Notice | None:
    try:
        return codec.load(Notice, message)
    except ValidationError:
        return None  # nothing of ours: it would keep all that comes after it


def shown(box: Box) -> str:
    """A receiver without the secret part of its address: ``https://hooks.example.com/… (3f2a)``."""
    return f"{without_path(box.url)} ({box.id[:4]})"


def undelivered(store: Store) -> tuple[str, ...]:
    """One sentence for each receiver that does not take its messages."""
    return tuple(
        f"{shown(box)} takes no messages: {box.trouble.error}; {box.waiting} waiting, {box.lost} given up, "
        f"tried {box.trouble.failures} times."
        for box in store.outbox.boxes()
        if box.trouble
    )


def body_of(notice: Notice, page: str) -> bytes:
    """The JSON that is sent: the notice with the page's address, and ``text`` as chat services show it."""
    place = f"{notice.pipeline}/{notice.run}" if notice.run else notice.pipeline
    url = f"{page}/runs/{place}"
    fields: dict[str, Any] = {**codec.plain(notice), "url": url}
    fields["run"] = f"{notice.pipeline}#{notice.run}" if notice.run else ""
    fields["text"] = f"{quiet(notice.text)} · {url}"
    return json.dumps(fields, ensure_ascii=False).encode()


def quiet(text: str) -> str:
    """The text so that it calls nobody in a chat: a commit message may say ``@channel`` or ``<!here>``."""
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return escaped.replace("@", "@\u200b")
