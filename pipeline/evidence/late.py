"""Records of runs that are missing, or were written long after the end of their runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.deploy.services import Services
from pipeline.domain.run import Run, State
from pipeline.evidence.record import milliseconds
from pipeline.evidence.records import Records
from pipeline.evidence.upkeep import RUN
from pipeline.lib.units import show_age

NOTED = "evidence-noted"  # when missing records were last found
LATE = 60.0  # seconds after a run's end: its record is there within a few


def missing(services: Services, pipeline: str, newest: int, now: float) -> tuple[Run, ...]:
    """Those of the newest so many runs that ended long enough ago and have no record, oldest first. One that is too old
    to be kept is not meant. ``now``: seconds since the epoch."""
    settings = services.settings
    have = {(one.run, one.at) for one in Records(settings.data).of(pipeline) if one.kind == RUN}
    oldest = now - settings.evidence_keep if settings.evidence_keep else 0.0
    found = services.store.recent(pipeline, newest, readable=True)
    return tuple(
        run
        for run in reversed(found)
        if run.state == State.ENDED
        and now - run.ended > LATE
        and run.accepted > oldest
        and (run.number, int(run.accepted * 1000)) not in have
    )


def seconds_late(record: Mapping[str, Any]) -> float:
    """How long after its end a run's record was written; 0.0 if that was soon, or for a record of another kind."""
    if record["kind"] != RUN or not (ended := milliseconds(str(record["run"].get("ended", "")))):
        return 0.0
    late = (milliseconds(str(record.get("written", ""))) - ended) / 1000
    return late if late > LATE else 0.0


def text_of(record: Mapping[str, Any]) -> str:
    """``written 11 minutes after the run's end``; "" if it was in time."""
    late = seconds_late(record)
    return f"written {show_age(late)} after the run's end" if late else ""
