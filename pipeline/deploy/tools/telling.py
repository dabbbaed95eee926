"""Long work that a person follows: it goes on without them."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator

from pipeline.errors import LeaseLost, PushliveError

QUIET = 2.0  # seconds without news, after which the client hears that it goes on

Tell = Callable[[str], None]


def told(name: str, work: Callable[[Tell], None]) -> Generator[tuple[str, ...]]:
    """What ``work``, which runs in a thread of that name, tells, as it comes; () while it goes on. Raises what it
    raises."""
    news: queue.SimpleQueue[str | Exception | None] = queue.SimpleQueue()

    def run() -> None:
        end: Exception | None = PushliveError("it broke off.", advice="The service's output says why.")
        try:
            work(news.put)
            end = None
        except (PushliveError, LeaseLost) as error:
            end = error
        finally:
            news.put(end)

    threading.Thread(target=run, name=name, daemon=True).start()
    while True:
        try:
            one = news.get(timeout=QUIET)
        except queue.Empty:
            yield ()
            continue
        if one is None:
            return
        if isinstance(one, Exception):
            raise one
        yield (one,)
