"""Leases: one holder at a time, and nothing that a lease's former holder does."""

from __future__ import annotations

import pytest

from pipeline.errors import LeaseLost
from pipeline.store import Lease, LeaseReaper, Store
from pipeline.store.leases import TTL


def take(store: Store, name: str = "run:hello#1", holder: str = "one") -> Lease:
    lease = store.leases.take(name, holder)
    assert lease is not None
    return lease


def test_a_held_lease_cannot_be_taken(store: Store) -> None:
    take(store)
    assert store.leases.take("run:hello#1", "two") is None
    assert store.leases.holder("run:hello#1") == "one"
    assert store.leases.take("run:hello#2", "two") is not None


def test_a_dropped_lease_can_be_taken_and_has_no_beat(store: Store) -> None:
    lease = take(store)
    store.leases.drop(lease)
    store.leases.drop(lease)
    assert store.leases.free("run:hello#1")
    assert store.leases.beats() == {}
    assert take(store, holder="two").token != lease.token


def test_a_former_holder_neither_renews_nor_drops_the_lease_of_the_next(store: Store) -> None:
    former = take(store)
    store.leases.drop(former)
    next_one = take(store, holder="two")
    assert store.leases.renew(former) is False
    store.leases.drop(former)
    assert store.leases.ours((next_one,))
    assert not store.leases.ours((next_one, former))


def test_every_renewal_has_a_new_beat(store: Store) -> None:
    lease = take(store)
    beats = [store.leases.beats()[lease.name]]
    for _ in range(3):
        assert store.leases.renew(lease)
        beats.append(store.leases.beats()[lease.name])
    assert len(set(beats)) == 4


def test_no_leases_are_always_ours(store: Store) -> None:
    assert store.leases.ours(())


def test_a_reaper_frees_only_leases_that_are_not_renewed(store: Store) -> None:
    dead, alive = take(store), take(store, "env:hello/live")
    reaper = LeaseReaper(store.leases)
    assert reaper.look(0.0) == ()
    store.leases.renew(alive)
    assert reaper.look(TTL - 0.1) == ()
    assert reaper.look(TTL) == (dead.name,)
    assert store.leases.ours((alive,))


def test_a_transaction_behind_a_lost_lease_writes_nothing(store: Store) -> None:
    kept, lost = take(store), take(store, "env:hello/live")
    store.leases.drop(lost)
    with pytest.raises(LeaseLost):
        store.transact("hello", lambda tx: tx.put_head("refs/heads/main", "c" * 40), fence=(kept, lost))
    assert store.head("hello", "refs/heads/main") == ""
