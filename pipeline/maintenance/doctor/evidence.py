"""The records of runs: how much they take, and whether each run has one."""

from __future__ import annotations

from pipeline.deploy.services import Services
from pipeline.errors import NotFound, PushliveError
from pipeline.evidence.acts import Acts
from pipeline.evidence.records import FOLDER, RUN, Records
from pipeline.lib.units import show_age, show_size
from pipeline.maintenance.doctor.check import Check, tried

LATE = 60.0  # seconds after a run's end
LOOKED_AT = 20


def examine(services: Services, now: float) -> Check:
    return tried("evidence", lambda: _said(services, now))


def _said(services: Services, now: float) -> str:
    """Raises PushliveError if a record was not written."""
    settings, folder = services.settings, services.settings.data / FOLDER
    due = [one for one in services.store.evidence_due() if one[0] == RUN]
    for _, pipeline, number in due[:LOOKED_AT]:
        try:
            ended = services.store.run(pipeline, number).ended
        except NotFound:
            continue
        if ended and now - ended > LATE:
            late = show_age(now - ended)
            raise PushliveError(
                f"the record of {pipeline}#{number} was not written to {folder}, {late} after its end.",
                advice="The service's output says why. Check the folder and the free space on its disk.",
            )
    (count, size), (acts, more) = Records(settings.data).size(), Acts(settings.data).size()
    kept = f"kept for {show_age(settings.evidence_keep)}" if settings.evidence_keep else "kept for ever"
    runs = "1 run" if count == 1 else f"{count} runs"
    did = f" and {acts} act{'s' if acts > 1 else ''}" if acts else ""
    return f"records of {runs}{did}, {show_size(size + more)} in {folder}, {kept} (PUSHLIVE_EVIDENCE_KEEP)"
