"""Threads for one kind of request. Other kinds cannot take them, and no sender can take them all.

Everything except the work itself happens in the event loop's thread.
"""

from __future__ import annotations

import asyncio
import threading
from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any, TypeVar

from webhooks.server.messages import Sender

T = TypeVar("T")


@dataclass(frozen=True)
class PoolSize:
    """``threads`` at once, and how many of them one address and one token gets; ``waiting`` requests for one."""

    threads: int
    waiting: int
    by_address: int
    by_token: int


class Busy(Exception):
    """No thread in time, or too many requests wait for one already."""


class Pool:
    def __init__(self, name: str, size: PoolSize) -> None:
        self.name = name
        self._size = size
        self._jobs: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._threads = 0
        self._running = 0
        self._by_address: Counter[str] = Counter()  # threads, by address
        self._by_token: Counter[str] = Counter()
        self._waiting: OrderedDict[Sender, deque[asyncio.Future[None]]] = OrderedDict()

    async def run(self, sender: Sender, work: Callable[[], T], seconds: float) -> T:
        """The result of ``work`` in one of the threads. Senders take turns. Raises Busy, after ``seconds`` at most;
        then ``work`` was not begun."""
        await self._turn(sender, seconds)
        try:
            return await self._in_thread(work)
        finally:
            self._release(sender)

    async def _turn(self, sender: Sender, seconds: float) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(sender, deque()).append(turn)
        self._start_next()
        try:
            if not turn.done() and sum(map(len, self._waiting.values())) > self._size.waiting:
                self._send_one_away(sender)
            async with asyncio.timeout(seconds):
                await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self._release(sender)
            else:
                turn.cancel()
                self._forget(sender)
            if isinstance(error, TimeoutError):
                raise Busy from error
            raise

    def _send_one_away(self, newcomer: Sender) -> None:
        """The last request of whom most wait for, by address and then by token. Raises Busy if that is the newcomer."""
        by_address: Counter[str] = Counter()
        for sender, turns in self._waiting.items():
            by_address[sender.address] += len(turns)
        most = max(by_address.values())
        if by_address[newcomer.address] == most:
            candidates = [sender for sender in self._waiting if sender.address == newcomer.address]
        else:
            candidates = [sender for sender in self._waiting if by_address[sender.address] == most]
        longest = max(candidates, key=lambda sender: (len(self._waiting[sender]), sender == newcomer))
        if longest == newcomer:
            raise Busy
        last = self._waiting[longest].pop()
        self._forget(longest)
        if not last.done():  # it may just have stopped waiting
            last.set_exception(Busy())

    def _start_next(self) -> None:
        while self._running < self._size.threads and (sender := self._next()):
            turn = self._waiting[sender].popleft()
            self._waiting.move_to_end(sender)
            self._forget(sender)
            if turn.done():
                continue
            self._take(sender, 1)
            turn.set_result(None)

    def _next(self) -> Sender | None:
        return next((sender for sender in self._waiting if self._may(sender)), None)

    def _may(self, sender: Sender) -> bool:
        by_token = self._by_token[sender.credential] if sender.credential else 0
        return self._by_address[sender.address] < self._size.by_address and by_token < self._size.by_token

    def _take(self, sender: Sender, count: int) -> None:
        self._running += count
        for counter, key in ((self._by_address, sender.address), (self._by_token, sender.credential)):
            counter[key] += count
            if not counter[key]:
                del counter[key]

    def _forget(self, sender: Sender) -> None:
        """Removes what no longer waits."""
        left = deque(turn for turn in self._waiting.get(sender, ()) if not turn.done())
        if left:
            self._waiting[sender] = left
        else:
            self._waiting.pop(sender, None)

    def _release(self, sender: Sender) -> None:
        self._take(sender, -1)
        self._start_next()

    def _in_thread(self, work: Callable[[], T]) -> asyncio.Future[T]:
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()

        def job() -> None:
            result: Any = None
            failure: BaseException | None = None
            try:
                result = work()
            except BaseException as error:  # noqa: BLE001 - raised again where it is awaited
                failure = error
            with suppress(RuntimeError):  # the loop is closed: the server has stopped
                loop.call_soon_threadsafe(_settle, done, result, failure)

        self._jobs.put(job)
        if self._threads < self._running:
            self._threads += 1
            name = f"{self.name}-{self._threads}"
            threading.Thread(target=self._serve, name=name, daemon=True).start()
        return done

    def _serve(self) -> None:
        while True:
            job = self._jobs.get()
            job()
            del job  # its request is not kept until the next one


def _settle(done: asyncio.Future[Any], result: Any, failure: BaseException | None) -> None:
    if done.done():  # cancelled
        return
    if failure is None:
        done.set_result(result)
    else:
        done.set_exception(failure)
