"""A preview that was opened again before all that it had was removed: its next run sees to that first."""

from __future__ import annotations

from pipeline.deploy.entry import put_back
from pipeline.deploy.previews.closing import Closing
from pipeline.deploy.run_context import RunContext
from pipeline.deploy.services import Services
from pipeline.domain.previews.records import Preview
from pipeline.errors import Cancelled
from pipeline.ports.adapters import Adapters

AGAIN = 3.0  # seconds until the run tries once more


class Emptying:
    """``name``: of the environment that the run is about to enter."""

    def __init__(self, context: RunContext, services: Services, adapters: Adapters, name: str) -> None:
        self._context, self._name = context, name
        self._store, self._closing = services.store, Closing(services, adapters)

    def go(self) -> None:
        """Idempotent. Raises Parked while something of it cannot be removed yet, Cancelled for a run of what goes, and
        what engines raise."""
        one, context = self._leftover(), self._context
        if one is None:
            return
        context.still_ours()
        if context.run.number <= one.before:
            raise Cancelled(f"{context.run.id} belongs to the preview as it was before it was removed.")
        said = self._closing.go(one)
        if said:
            context.note(said, self._name)
        elif self._leftover():
            context.note(f"waits until all that {self._name} had before is removed", self._name)
            raise put_back(context, context.clock.now() + AGAIN)

    def insist(self) -> None:
        """Under the environment's lease. Raises Parked if the preview was removed and opened once more meanwhile."""
        if self._leftover():
            raise put_back(self._context, self._context.clock.now())

    def _leftover(self) -> Preview | None:
        one = self._store.previews.of(self._name)
        return one if one and one.alive and one.leftover else None
