"""Writes the records of runs that have ended."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib.metadata import PackageNotFoundError, version

from pipeline.deploy.services import Services
from pipeline.domain.environment import Bake, Environment
from pipeline.domain.run import Run, State
from pipeline.errors import NotFound, TryAgain
from pipeline.evidence import baked, record
from pipeline.evidence.records import RUN, Records
from pipeline.lib.retry import poll
from pipeline.ports.adapters import Adapters
from pipeline.runlog import file

KINDS: dict[str, Callable[[record.Subject], dict[str, object]]] = {RUN: record.made}
"""What makes each kind of record, by its name in ``Transaction.evidence``."""

POLL = 0.1  # seconds
LOG_TIMEOUT = 12.0  # seconds: after eight, the lease of a worker that died is free


def own_version() -> str:
    try:
        return version("pushlive")
    except PackageNotFoundError:
        return ""


class Recorder:
    """What is due is noted together with a run's end, so that no crash loses its record. Idempotent: a record that is
    there stays as it is."""

    def __init__(self, services: Services, adapters: Adapters) -> None:
        self._services, self._adapters = services, adapters
        self.records = Records(services.settings.data)

    def due(self) -> tuple[tuple[str, str, int], ...]:
        """Kind, pipeline and number. Raises DamagedRecord."""
        return self._services.store.evidence_due()

    def write_due(self, kind: str, pipeline: str, number: int) -> None:
        """Not before the run's worker has written the last of its log. Raises EngineFailed and DamagedRecord."""
        store = self._services.store
        if not self._log_is_whole(pipeline, number):
            return
        try:
            run = store.run(pipeline, number)
        except NotFound:
            store.evidence_written(kind, pipeline, number)
            return
        if run.state == State.ENDED:
            self.write(run, kind)
            store.evidence_written(kind, pipeline, number)

    def _log_is_whole(self, pipeline: str, number: int) -> bool:
        """Whether no worker has the run any more: the last lines are written after the end is recorded."""
        return self._services.store.leases.free(f"run:{pipeline}#{number}")

    def write(self, run: Run, kind: str = RUN) -> None:
        """The record of a run that has ended, if it has none. Raises EngineFailed, DamagedRecord, and TryAgain if its
        worker has not finished its log within seconds."""
        if self._is_missing(run, kind):
            whole = partial(self._log_is_whole, run.pipeline, run.number)
            if not poll(whole, POLL, self._adapters.clock, timeout=LOG_TIMEOUT):
                raise TryAgain(f"{run.id} has only just ended.", advice="Try again in a few seconds.")
            log = file.path(self._services.settings.data, run.pipeline, run.number)
            self.records.write(run, KINDS[kind](self._subject(run)), log, kind)

    def write_bake(self, environment: Environment, bake: Bake) -> None:
        """The record of a bake that has ended, if it has none. Raises EngineFailed and DamagedRecord."""
        try:
            run = self._services.store.run(environment.pipeline, bake.run)
        except NotFound:  # lost with an earlier store
            return
        kind = baked.kind_of(environment.name)
        if self._is_missing(run, kind):
            made = baked.made(baked.Baked(self._subject(run), self._adapters, environment, bake))
            self.records.write(run, made, None, kind)

    def _is_missing(self, run: Run, kind: str) -> bool:
        """Not if it is so old that it was removed."""
        keep = self._services.settings.evidence_keep
        is_kept = not keep or run.accepted > self._adapters.clock.now() - keep
        return is_kept and self.records.of_run(run, kind) is None

    def _subject(self, run: Run) -> record.Subject:
        now = self._adapters.clock.now()
        return record.Subject(self._services, self._adapters.source, run, now, own_version())
