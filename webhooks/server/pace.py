"""How long one transfer may keep the server waiting for its client."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

T = TypeVar("T")


class TooSlow(ConnectionError):
    """The client sends, or reads, less than the rate."""


class Pace:
    """``grace`` seconds of waiting in total, and one more for each ``rate`` bytes that were moved."""

    def __init__(self, grace: float, rate: int) -> None:
        self._left = grace
        self._rate = rate

    def moved(self, count: int) -> None:
        self._left += count / self._rate

    async def wait(self, what: Awaitable[T]) -> T:
        """What ``what`` returns; its time counts. Raises TooSlow."""
        clock = asyncio.get_running_loop().time
        began = clock()
        try:
            async with asyncio.timeout(self._left):
                return await what
        except TimeoutError as error:
            raise TooSlow("the client is too slow") from error
        finally:
            self._left -= clock() - began
