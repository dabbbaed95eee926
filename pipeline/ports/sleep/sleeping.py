"""What serves is put to sleep while no one uses it, and woken by the next request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from pipeline.domain.engine_types import SlotRef, SlotSpec
from pipeline.ports.clock import Watch


@dataclass(frozen=True)
class Activity:
    """``mark``: a text that is another one after each request, and after each restart of what counts them; ``open``:
    requests and connections that are open now."""

    mark: str
    open: int


class Sleeping(Protocol):
    """Ends the containers of an environment, and starts them again.

    Call order: ``await_request · end_sleeping`` and later ``wake``, then ``Traffic.switch`` and the processes. The slot
    is that which serves by the record.
    """

    def can_sleep(self, ref: SlotRef) -> None:
        """Returns if what serves can be put to sleep there and woken by a request. Raises ConfigError or EngineFailed,
        with what to do, if not. Changes nothing."""

    def activity(self, ref: SlotRef) -> Activity | None:
        """What the slot is used for. None if the engine cannot tell now: then it counts as used. A cluster counts only
        from the first of these calls on, and raises what ``can_sleep`` raises. Changes nothing that people notice; for
        any thread, without a lease."""

    def await_request(self, ref: SlotRef, seconds: float) -> None:
        """From now on the environment's requests wait for its next ``switch``, each ``seconds`` at most, and people's
        browsers show a page meanwhile; ``Traffic.serving`` is None. ``unroute`` ends it as well. What has begun goes
        on. Survives a restart of the proxy. Idempotent. Raises what ``can_sleep`` raises."""

    def end_sleeping(self, spec: SlotSpec) -> None:
        """Ends what runs in the slot, web and processes, each within its `stop`. What the engine keeps of it makes
        waking quicker. Idempotent. Raises RequestError while requests do not wait."""

    def wake(self, spec: SlotSpec, watch: Watch) -> None:
        """Starts the slot's web containers and waits until every replica answers on its health path. They are exposed
        then, and take no traffic yet. Idempotent. Raises what ``Slots.start`` and ``Slots.ready`` raise."""

    def awaits_request(self, ref: SlotRef) -> bool:
        """True after ``await_request``, as what takes the requests says itself. Read-only."""

    def is_wanted(self, ref: SlotRef) -> bool:
        """True if a request waits now. Read-only."""

    def still_awake(self, spec: SlotSpec) -> tuple[str, ...]:
        """What runs in the slot although it sleeps, one name each. Read-only."""
