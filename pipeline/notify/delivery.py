"""Delivers the messages in the outbox: each at least once under its one id, and in order for each receiver.

A receiver that does not accept a message is tried again at growing intervals; neither other receivers nor runs wait for
it. A lease lets one process at a time send to a receiver. Should two send all the same, the receiver gets the same id
twice.
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
from pipeline.store import Outage, Receiver, Store

TIMEOUT = 5.0  # seconds for one message, from the connection to the end of the answer
BACKOFF = Backoff(1.0, ceiling=600.0)
KEEP = 86400.0  # seconds during which a message is tried
MIN_ATTEMPTS = 20  # so that a clock that is set forward by a day makes no message be given up
MAX_REFUSALS = 10  # of one message, by a receiver that answers that it does not want it


class Delivery:
    def __init__(self, store: Store, post: Post, clock: Clock, settings: Settings) -> None:
        self._store, self._post, self._clock = store, post, clock
        self._secret: Secret = settings.notify_secret
        self._page = settings.url

    def due(self) -> tuple[Receiver, ...]:
        """The receivers that ``deliver`` should be called for now."""
        return tuple(one for one in self._store.outbox.receivers() if self._is_due(one))

    def _is_due(self, receiver: Receiver) -> bool:
        if not receiver.waiting:
            return not (receiver.outage or receiver.lost)  # to be forgotten
        wait = receiver.outage.again - self._clock.now() if receiver.outage else 0.0
        return wait <= 0 or wait > BACKOFF.ceiling  # a longer wait means that the clock was set back

    def deliver(self, receiver: str) -> None:
        """Sends the messages of the receiver with that id until none is left or one is not accepted. Raises
        StoreUnavailable."""
        lease = self._store.leases.take(f"notify:{receiver}", "messenger")
        if lease is None:
            return
        try:
            while self._deliver_next(receiver) and self._store.leases.renew(lease):
                continue
        finally:
            self._store.leases.drop(lease)

    def _deliver_next(self, receiver_id: str) -> bool:
        """True if the next message can be tried at once."""
        outbox = self._store.outbox
        receiver = outbox.receiver(receiver_id)  # read again: another process may have sent meanwhile
        if receiver is None or not self._is_due(receiver):
            return False
        message = outbox.first(receiver.id)
        if not message:
            outbox.forget(receiver.id)
            return False
        notice = _parsed(message)
        if notice is None:
            outbox.give_up(receiver.id, message)
            return True
        error, refused = self._send(receiver.url, notice)
        if error:
            self._failed(receiver, error, refused)
            return False
        outbox.delivered(receiver.id, message)
        return True

    def _send(self, url: str, notice: Notice) -> tuple[str, bool]:
        """What went wrong ("" if nothing did), and whether the receiver refused this very message."""
        body = body_of(notice, self._page)
        try:
            status = self._post.send(url, body, self._headers(notice, body), TIMEOUT)
        except TryAgain as error:
            return error.message, False
        if 200 <= status < 300:
            return "", False
        return f"it answered {status}", 300 <= status < 500 and status not in (408, 425, 429)

    def _headers(self, notice: Notice, body: bytes) -> dict[str, str]:
        headers = {"Content-Type": "application/json", "X-Pushlive-Delivery": notice.id}
        if self._secret:
            headers["X-Pushlive-Signature-256"] = f"sha256={sign(body, self._secret)}"
        return headers

    def _failed(self, receiver: Receiver, error: str, refused: bool) -> None:
        now = self._clock.now()
        before = receiver.outage or Outage(since=now)
        failures = before.failures + 1
        outage = Outage(
            failures,
            before.since,
            now + BACKOFF.delay(failures),
            error,
            before.refused + 1 if refused else before.refused,
        )
        if self._give_up(receiver, outage, now):
            outage = replace(outage, refused=0)
        self._store.outbox.failed(receiver.id, outage)

    def _give_up(self, receiver: Receiver, outage: Outage, now: float) -> bool:
        """Removes messages that were tried for too long, and a first one that was refused too often; True if it removed
        any."""
        outbox, gave_up = self._store.outbox, False
        refused = outage.refused >= MAX_REFUSALS
        while message := outbox.first(receiver.id):
            notice = _parsed(message)
            old = notice is not None and now - notice.at > KEEP and outage.failures >= MIN_ATTEMPTS
            if not refused and not old:
                break
            outbox.give_up(receiver.id, message)
            refused, gave_up = False, True
        return gave_up


def _parsed(message: str) -> Notice | None:
    """None for anything that Pushlive did not write: it would block the messages behind it."""
    try:
        return codec.load(Notice, message)
    except ValidationError:
        return None


def display_name(receiver: Receiver) -> str:
    """The receiver without the secret part of its URL: ``https://hooks.example.com/… (3f2a)``."""
    return f"{without_path(receiver.url)} ({receiver.id[:4]})"


def outages(store: Store) -> tuple[str, ...]:
    """One sentence for each receiver that does not accept its messages."""
    return tuple(
        f"{display_name(one)} does not accept messages: {one.outage.error}; {one.waiting} waiting, "
        f"{one.lost} given up, attempts: {one.outage.failures}."
        for one in store.outbox.receivers()
        if one.outage
    )


def body_of(notice: Notice, page: str) -> bytes:
    """The JSON that is sent: the notice with the URL of its page, and ``text`` made fit for chat services."""
    path = f"{notice.pipeline}/{notice.run}" if notice.run else notice.pipeline
    url = f"{page}/runs/{path}" if path else f"{page}/"
    fields: dict[str, Any] = {**codec.plain(notice), "url": url}
    fields["run"] = f"{notice.pipeline}#{notice.run}" if notice.run else ""
    fields["shift"] = notice.shift or None
    fields["text"] = f"{without_mentions(notice.text)} · {url}"
    return json.dumps(fields, ensure_ascii=False).encode()


def without_mentions(text: str) -> str:
    """The text without mentions that a chat service would act on: a commit message may say ``@channel`` or
    ``<!here>``."""
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return escaped.replace("@", "@\u200b")
