"""Acts and their entries in the audit log."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from pipeline.deploy.services import Services
from pipeline.domain import audit_chain
from pipeline.domain.audit_chain import Entry, Report, Who
from pipeline.domain.run import Run
from pipeline.errors import PushliveError, StoreUnavailable
from pipeline.ports.adapters import Adapters
from pipeline.ports.clock import Clock
from pipeline.ports.queue import Queue
from pipeline.service.operations import Operations
from pipeline.service.queries import Queries
from pipeline.store import Transaction

T = TypeVar("T")


BROKEN_OFF = "broken off"


@dataclass
class Outcome:
    """``after``: what an act has changed, as it is now."""

    after: str = ""


class Audited(Queries):
    """Every act has an entry, written in the act's own transaction. ``by``: who acts, and where the request came
    from."""

    def __init__(self, services: Services, queue: Queue, clock: Clock, operations: Operations) -> None:
        super().__init__(services, clock, operations)
        self._services, self._queue, self._audit_head = services, queue, services.audit_head

    def insist_on_store(self) -> None:
        """Raises StoreUnknown if the store has no records although the installation is not new."""
        self._store.origin.insist()

    def record(self, by: Who, act: str, **what: Any) -> None:
        """An act without a transaction of its own, recorded before it is done. ``what``: see ``audit_chain.entry``."""
        self._store.audit.record(self._entry(by, act, **what))
        self._move_entries()

    @contextmanager
    def acting(self, by: Who, act: str, **what: Any) -> Iterator[Outcome]:
        """An act of which only its end shows what it has changed: recorded before it is done, and once more, as
        ``<act> ended``, with what came of it. Without the second entry the service has died meanwhile."""
        outcome = Outcome()
        end = self.begin(by, act, **what)
        try:
            yield outcome
        except PushliveError as error:
            end(f"failed: {error.message}")
            raise
        except Exception:
            end(BROKEN_OFF)
            raise
        end(outcome.after)

    def begin(self, by: Who, act: str, **what: Any) -> Callable[[str], None]:
        """The same for what ends elsewhere: call what is returned with what it has changed, once."""
        self.record(by, act, **what)
        return self.ending(by, act, **what)

    def ending(self, by: Who, act: str, **what: Any) -> Callable[[str], None]:
        """Its second half alone: the act itself is recorded in the transaction that does it."""

        def end(after: str) -> None:
            with suppress(PushliveError):  # it is done, whether this can be recorded or not
                mask, _ = self._vault.mask(str(what.get("pipeline", "")))
                self.record(by, f"{act} ended", **what | {"after": mask.text(after)})

        return end

    def audit_log(self, pipeline: str = "", limit: int = 50) -> list[Entry]:
        """The newest entries, newest first."""
        return self._audit_head.newest(limit, pipeline)

    def verify_audit(self, noted: str = "") -> Report:
        """Walks the whole log. ``noted``: a hash that must be in it."""
        return self._audit_head.verify(noted)

    def _entry(self, by: Who, act: str, run: Run | None = None, **what: Any) -> Entry:
        if run is not None:
            of_run = {"pipeline": run.pipeline, "run": run.id, "release": run.release, "why": run.reason}
            what = of_run | what
        return audit_chain.entry(by, act, self._clock.now(), **what)

    def _acted(
        self, pipeline: str, act: Callable[[Transaction], T], *, notify: bool = True, urgent: bool = False
    ) -> T:
        """One transaction with its audit entry. Then wakes a worker, and moves the entry into the log. Raises
        StoreUnknown."""
        self.insist_on_store()
        result = self._store.transact(pipeline, act)
        if notify:
            self._queue.notify(pipeline, urgent=urgent)
        self._move_entries()
        return result

    def _move_entries(self) -> None:
        with suppress(StoreUnavailable):  # the act is done and recorded; the keeper moves its entry later
            self._audit_head.move(rounds=1)


class OnEngines(Audited):
    """``adapters``: made when they are first needed."""

    def __init__(
        self,
        services: Services,
        queue: Queue,
        clock: Clock,
        operations: Operations,
        adapters: Callable[[], Adapters],
    ) -> None:
        super().__init__(services, queue, clock, operations)
        self._adapters = adapters
