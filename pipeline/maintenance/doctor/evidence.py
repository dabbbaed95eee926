"""The records of runs, bakes, verdicts and acts: how much they take, and whether each run has one."""

from __future__ import annotations

from pipeline.deploy.services import Services
from pipeline.errors import NotFound, PushliveError
from pipeline.evidence import upkeep
from pipeline.evidence.acts import everything
from pipeline.evidence.late import LATE, NOTED, missing
from pipeline.evidence.records import FOLDER
from pipeline.evidence.upkeep import RUN
from pipeline.lib.units import show_age, show_size
from pipeline.maintenance.doctor.check import Check, tried

LOOKED_AT = 20  # records that are due
NEWEST = 200  # runs of each pipeline
NAMED = 5
ADVICE = (
    "The service writes them within a minute or two, later than their ends, which they say. If it does not, its output "
    "says why."
)


def examine(services: Services, now: float) -> Check:
    """Records that are missing are no failure: the keeper writes them within a minute, as after an upgrade."""
    found = tried("evidence", lambda: _said(services, now))
    lost = [run.id for name in services.store.pipelines() for run in missing(services, name, NEWEST, now)]
    if not found["ok"] or not lost:
        return found
    more = f" and {len(lost) - NAMED} more" if len(lost) > NAMED else ""
    text = f"{', '.join(lost[:NAMED])}{more} ended without a record; {found['text']}"
    return {**found, "text": text, "advice": ADVICE}


def _said(services: Services, now: float) -> str:
    """Raises PushliveError if a record was not written."""
    settings, folder = services.settings, services.settings.data / FOLDER
    due = [one for one in services.store.evidence_due() if one[0] == RUN]
    noted = float(
        services.store.facts.get(NOTED) or 0.0
    )  # when missing ones were found, whose runs ended long before
    for _, pipeline, number in due[:LOOKED_AT]:
        try:
            ended = services.store.run(pipeline, number).ended
        except NotFound:
            continue
        if ended and now - max(ended, noted) > LATE:
            late = show_age(now - ended)
            raise PushliveError(
                f"the record of {pipeline}#{number} was not written to {folder}, {late} after its end.",
                advice="The service's output says why. Check the folder and the free space on its disk.",
            )
    kinds, size = upkeep.counted(everything(settings.data))
    kept = f"kept for {show_age(settings.evidence_keep)}" if settings.evidence_keep else "kept for ever"
    return (
        f"records of {upkeep.text_of(kinds)}, {show_size(size)} in {folder}, {kept} (PUSHLIVE_EVIDENCE_KEEP)"
    )
