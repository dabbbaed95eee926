"""Threads are shared fairly, and no sender gets them all."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any

import pytest

from pipeline.config.settings import Secret, Settings
from webhooks.security import intake
from webhooks.security.intake import POOLS, Intake
from webhooks.server.messages import Head, Sender
from webhooks.server.pools import Busy, Pool, PoolSize

ANN, BOB = Sender("192.0.2.1", "ann"), Sender("192.0.2.2", "bob")


class Gate:
    """Work that is in its thread until it is let go."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.inside = 0

    def __call__(self) -> str:
        self.inside += 1
        assert self.open.wait(10)
        return "done"


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(test)


async def until_waiting() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


def test_one_token_and_one_address_get_a_share():
    async def test() -> None:
        pool, gate = Pool("test", PoolSize(threads=4, waiting=10, by_address=3, by_token=2)), Gate()
        elsewhere = Sender(ANN.address, "eve")
        held = [asyncio.create_task(pool.run(who, gate, 10)) for who in (ANN, ANN, ANN, elsewhere, elsewhere)]
        await until_waiting()
        assert await pool.run(BOB, lambda: "served", 10) == "served"
        assert gate.inside == 3  # two for Ann's token, one more for her address
        gate.open.set()
        assert await asyncio.gather(*held) == ["done"] * 5

    run(test())


def test_senders_take_turns():
    async def test() -> None:
        pool, gate = Pool("test", PoolSize(threads=1, waiting=10, by_address=1, by_token=1)), Gate()
        served: list[str] = []
        first = asyncio.create_task(pool.run(ANN, gate, 10))
        await until_waiting()
        waiting = [
            asyncio.create_task(pool.run(who, lambda who=who: served.append(who.credential), 10))
            for who in (ANN, ANN, ANN, BOB)
        ]
        await until_waiting()
        gate.open.set()
        await asyncio.gather(first, *waiting)
        assert served[:2] == ["ann", "bob"]
        assert served[2:] == ["ann", "ann"]

    run(test())


@pytest.mark.parametrize("waiting", [0, 1])
def test_more_than_may_wait_is_refused_and_one_that_waits_too_long(waiting):
    async def test() -> None:
        pool, gate = Pool("test", PoolSize(threads=1, waiting=waiting, by_address=1, by_token=1)), Gate()
        first = asyncio.create_task(pool.run(ANN, gate, 10))
        await until_waiting()
        patient = [asyncio.create_task(pool.run(BOB, lambda: "late", 10)) for _ in range(waiting)]
        await until_waiting()
        with pytest.raises(Busy):
            await pool.run(BOB, lambda: "never", 10)
        for task in patient:
            task.cancel()
        await asyncio.gather(*patient, return_exceptions=True)
        with pytest.raises(Busy):
            await pool.run(BOB, lambda: "never", 0.01)
        gate.open.set()
        assert await first == "done"
        assert await pool.run(BOB, lambda: "served", 10) == "served"

    run(test())


@pytest.mark.parametrize("many", [ANN, Sender(BOB.address, "eve")])
def test_a_full_waiting_room_is_at_the_cost_of_who_fills_it(many):
    async def test() -> None:
        pool, gate = Pool("test", PoolSize(threads=1, waiting=4, by_address=1, by_token=1)), Gate()
        first = asyncio.create_task(pool.run(many, gate, 10))
        await until_waiting()
        crowd = [asyncio.create_task(pool.run(many, lambda: "crowd", 10)) for _ in range(4)]
        await until_waiting()
        with pytest.raises(Busy):
            await pool.run(many, lambda: "never", 10)
        other = asyncio.create_task(pool.run(BOB, lambda: "other", 10))
        await until_waiting()
        gate.open.set()
        assert await first == "done"
        assert await other == "other"
        ends = await asyncio.gather(*crowd, return_exceptions=True)
        assert [end for end in ends if end != "crowd"] == [ends[3]]
        assert isinstance(ends[3], Busy)

    run(test())


def test_an_exception_reaches_the_request_and_frees_the_thread():
    async def test() -> None:
        pool = Pool("test", PoolSize(threads=1, waiting=1, by_address=1, by_token=1))
        with pytest.raises(ZeroDivisionError):
            await pool.run(ANN, lambda: 1 / 0, 10)
        assert await pool.run(ANN, lambda: "served", 10) == "served"

    run(test())


@pytest.mark.parametrize(
    ("method", "path", "pool"),
    [
        ("GET", "/api/pipelines/hello/output/follow", intake.FOLLOWED),
        ("POST", "/api/pipelines/hello/exec", intake.SESSIONS),
        ("POST", "/api/accessories/shop-db/live/exec", intake.SESSIONS),
        ("GET", "/api/volumes/hello/live/data/files", intake.TRANSFERS),
        ("PUT", "/api/volumes/hello/live/data/files", intake.TRANSFERS),
        ("POST", "/api/accessories/shop-db/live/apply", intake.ACCESSORIES),
        ("PUT", "/api/accessories/shop-db/live/data", intake.TRANSFERS),
        ("POST", "/api/backups/shop-db/live/data", intake.TRANSFERS),
        ("GET", "/api/pipelines/hello/output", intake.DOWNLOADS),
    ],
)
def test_what_takes_long_takes_no_threads_from_what_does_not(
    settings: Settings, method: str, path: str, pool: str
) -> None:
    head = Head(method, path, "1.1", (("authorization", "Bearer x"),), ("192.0.2.1", 9))
    assert Intake(settings, Secret("x")).admit(head).pool == pool
    size = POOLS[pool]
    assert 0 < size.by_token <= size.by_address <= size.threads <= 24
    assert pool not in (intake.OTHERS, intake.URGENT)
