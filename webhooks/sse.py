"""A run's events as server-sent events, for the browser's EventSource."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

from pipeline.domain.run import Run
from pipeline.errors import PushliveError
from webhooks import event_lines
from webhooks.ports import ServicePort
from webhooks.security.ongoing import while_allowed


def stream(service: ServicePort, run: Run, after: str, allowed: Callable[[], bool]) -> Iterator[str]:
    """``message`` events {"kind", "stage", "lines"}, comments while nothing happens, and a final ``end`` event: also
    once the browser is no longer ``allowed`` to follow the run."""
    yield ": following\n\n"  # tells the browser at once that it is connected
    try:
        for item in while_allowed(service.follow(run.pipeline, run.number, after), allowed):
            if item is None:
                yield ": still here\n\n"
                continue
            key, event = item
            data: dict[str, object] = {
                "kind": event.kind,
                "stage": event.stage,
                "lines": event_lines.lines(event),
            }
            yield _message(data, key)
        now = service.run(run.pipeline, run.number)
        yield _message({"state": now.state, "outcome": now.outcome}, name="end")
    except PushliveError as error:
        yield _message({"state": "unknown", "error": str(error)}, name="end")


def _message(data: dict[str, object], key: str = "", name: str = "") -> str:
    head = f"id: {key}\n" if key and key.isprintable() else ""
    head += f"event: {name}\n" if name else ""
    return f"{head}data: {json.dumps(data)}\n\n"
