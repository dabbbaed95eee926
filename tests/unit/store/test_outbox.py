"""The outbox: bounded queues that lose no message silently."""

from __future__ import annotations

import pytest

from pipeline.store import Outage, Store, outbox
from pipeline.store.outbox import GIVEN_UP, receiver_id

URL = "https://hooks.example.com/s3cr3t"
ID = receiver_id(URL)


def queue(store: Store, *messages: str) -> None:
    for text in messages:
        store.transact("hello", lambda tx, text=text: tx.message(URL, text))


def test_messages_are_first_in_first_out(store: Store) -> None:
    queue(store, "one", "two")
    assert store.outbox.first(ID) == "one"
    store.outbox.delivered(ID, "one")
    store.outbox.delivered(ID, "one")
    assert store.outbox.first(ID) == "two"


def test_a_receiver_does_not_show_its_url(store: Store) -> None:
    queue(store, "one")
    [receiver] = store.outbox.receivers()
    assert (receiver.url, receiver.waiting, receiver.outage, receiver.lost) == (URL, 1, None, 0)
    assert "s3cr3t" not in repr(receiver)


def test_an_outage_ends_with_a_delivered_message(store: Store) -> None:
    queue(store, "one")
    outage = Outage(3, 1.0, 9.0, "it answered 503", 1)
    store.outbox.failed(ID, outage)
    assert store.outbox.receivers()[0].outage == outage
    store.outbox.delivered(ID, "one")
    assert store.outbox.receivers()[0].outage is None


def test_a_full_queue_drops_its_oldest_message_and_counts_it(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "LIMIT", 2)
    queue(store, "one", "two", "three")
    assert store.outbox.first(ID) == "two"
    assert store.outbox.receivers()[0].lost == 1
    assert store.counts() == {GIVEN_UP: 1}


def test_a_message_that_is_given_up_twice_is_counted_once(store: Store) -> None:
    queue(store, "one")
    store.outbox.give_up(ID, "one")
    store.outbox.give_up(ID, "one")
    assert store.outbox.receivers()[0].lost == 1


def test_only_a_receiver_with_nothing_to_report_is_forgotten(store: Store) -> None:
    queue(store, "one", "two")
    store.outbox.delivered(ID, "one")
    store.outbox.forget(ID)
    assert store.outbox.receiver(ID) is not None
    store.outbox.delivered(ID, "two")
    store.outbox.forget(ID)
    assert store.outbox.receiver(ID) is None
