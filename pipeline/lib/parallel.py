"""Several calls at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait

POLL = 0.2  # seconds between two calls of ``check``


def together(calls: Sequence[Callable[[], object]], check: Callable[[], None] | None = None) -> None:
    """Makes all the calls at once. The first error is raised once all have ended. ``check`` is called while they run;
    what it raises is raised once they have ended."""
    if not calls:
        return
    with ThreadPoolExecutor(len(calls)) as pool:
        futures = [pool.submit(call) for call in calls]
        while check and wait(futures, timeout=POLL).not_done:
            check()
    for future in futures:
        future.result()
