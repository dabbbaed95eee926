"""Notes the final verdict on a release for its record, with the figures as they are then."""

from __future__ import annotations

from dataclasses import replace

from pipeline.domain.environment import Environment
from pipeline.domain.judging.counts import Counted
from pipeline.domain.judging.final import Final, is_final, verdict_name
from pipeline.evidence.verdicts import KIND
from pipeline.lib import codec
from pipeline.store import Store


def noted(store: Store, environment: Environment, before: Counted, found: Counted, now: float) -> Counted:
    """What was found, with its verdict noted if it is final, or that of the release before if it never was. A process
    that dies before ``found`` is kept does it again. Raises StoreUnavailable."""
    if (before.release, before.run) != (found.release, found.run):
        if before.judged and not before.recorded:
            _note(store, environment, before, now)
        return found
    if found.recorded or not is_final(found, now):
        return found
    told = found if found.judged != before.judged else before  # what was counted when it was judged
    _note(store, environment, told, now)
    return replace(found, recorded=True)


def _note(store: Store, environment: Environment, found: Counted, now: float) -> None:
    store.facts.set(verdict_name(environment.id, found.run), codec.dump(Final(found, now)))
    store.note_evidence(f"{KIND}-{environment.name}", environment.pipeline, found.run)
