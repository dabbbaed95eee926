"""Writes the records of runs that have ended."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from importlib.metadata import PackageNotFoundError, version

from pipeline.deploy.services import Services
from pipeline.domain import audit_chain
from pipeline.domain.environment import Bake, Environment
from pipeline.domain.judging.final import Final, verdict_name
from pipeline.domain.judging.latency.counts import Timings
from pipeline.domain.run import Run, State
from pipeline.domain.watching import usage
from pipeline.errors import NotFound, TryAgain
from pipeline.evidence import baked, record, verdicts
from pipeline.evidence.acts import Acts, is_kept
from pipeline.evidence.records import Records
from pipeline.evidence.upkeep import RUN
from pipeline.lib import codec
from pipeline.lib.retry import poll
from pipeline.ports.adapters import Adapters
from pipeline.runlog import file

KINDS: dict[str, Callable[[record.Subject], dict[str, object]]] = {RUN: record.made}
"""What makes each kind of record, by its name in ``Transaction.evidence``."""

POLL = 0.1  # seconds
POSITION = "evidence-acts"  # up to where the audit log's acts have their records
LOG_TIMEOUT = 12.0  # seconds: after eight, the lease of a worker that died is free


def _own_version() -> str:
    try:
        return version("pushlive")
    except PackageNotFoundError:
        return ""


VERSION = _own_version()  # of the code that is loaded; later another one may be installed


class Recorder:
    """What is due is noted together with a run's end, so that no crash loses its record. Idempotent: a record that is
    there stays as it is."""

    def __init__(self, services: Services, adapters: Adapters) -> None:
        self._services, self._adapters = services, adapters
        self.records, self.acts = Records(services.settings.data), Acts(services.settings.data)

    def due(self) -> tuple[tuple[str, str, int], ...]:
        """Kind, pipeline and number. Raises DamagedRecord."""
        return self._services.store.evidence_due()

    def write_due(self, kind: str, pipeline: str, number: int) -> bool:
        """Not before the run's worker has written the last of its log, or it is known what followed from a verdict:
        false until then. Raises EngineFailed and DamagedRecord."""
        store = self._services.store
        if environment := verdicts.environment_of(kind):
            return self._write_verdict(kind, pipeline, number, environment)
        if not self._log_is_whole(pipeline, number):
            return False
        try:
            run = store.run(pipeline, number)
        except NotFound:
            store.evidence_written(kind, pipeline, number)
            return True
        if run.state != State.ENDED:
            return False
        self.write(run, kind)
        store.evidence_written(kind, pipeline, number)
        return True

    def _write_verdict(self, kind: str, pipeline: str, number: int, name: str) -> bool:
        store, fact = self._services.store, verdict_name(f"{pipeline}/{name}", number)
        with suppress(NotFound, ValueError):  # lost with an earlier store, or not to be read
            run, final = store.run(pipeline, number), codec.load(Final, store.facts.get(fact))
            if self._is_missing(run, kind):
                environment = store.environment(pipeline, name)
                if verdicts.is_open(store, environment, final, self._adapters.clock.now()):
                    return False
                times = verdicts.timed(store, environment) if environment else Timings()
                made = verdicts.made(self._subject(run), name, environment, final, times)
                self.records.write(run, made, None, kind)
        store.evidence_written(kind, pipeline, number)
        store.facts.remove(fact)
        return True

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
        self._services.store.facts.remove(usage.fact_name(environment.id, bake.run))

    def write_acts(self, at_most: int) -> bool:
        """The records of acts that the audit log has had since the last call; at most so many entries are read. True if
        there may be more. A process that dies here leaves them to the next call. Raises EngineFailed."""
        store, now = self._services.store, self._adapters.clock.now()
        keep, before = self._services.settings.evidence_keep, int(store.facts.get(POSITION) or 0)
        oldest = record.time_of(now - keep) if keep else ""
        position, lines = store.audit.after(before, at_most)
        for line in lines:
            entry = audit_chain.read(line)
            if entry is not None and is_kept(entry) and str(entry["time"]) > oldest:
                self.acts.write(entry, self._services, now, VERSION)
        if position != before:
            store.facts.set(POSITION, str(position))
        return len(lines) == at_most

    def _is_missing(self, run: Run, kind: str) -> bool:
        """Not if it is so old that it was removed."""
        keep = self._services.settings.evidence_keep
        is_kept = not keep or run.accepted > self._adapters.clock.now() - keep
        return is_kept and self.records.of_run(run, kind) is None

    def _subject(self, run: Run) -> record.Subject:
        now = self._adapters.clock.now()
        return record.Subject(self._services, self._adapters.source, run, now, VERSION)
