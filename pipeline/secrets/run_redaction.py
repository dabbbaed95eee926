"""Masks secrets in a run's events and records. Everything that a run says passes through here."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from pipeline.domain.events import Event
from pipeline.domain.measuring.difference import Difference
from pipeline.domain.run import Check, Ending, Failure, Run, StepResult
from pipeline.secrets.redaction import Mask, Stream

CUT = "cut"  # in a line's data: the line continues in the next event of the same step or container
_NAMES = ("outcome", "stage", "step", "whose", CUT)  # read by programs, never free text


class Masker:
    """For one run in one worker. ``mask`` may be replaced at any time, by a mask of more values."""

    def __init__(self, mask: Mask) -> None:
        self.mask = mask
        self._streams: dict[tuple[str, str], Stream] = {}

    def event(self, event: Event) -> Event | None:
        """The event without secrets; None if all of it is kept back until the line's next piece."""
        if not self.mask:
            return event
        text = self._piece(event) if event.kind == "line" else self.mask.text(event.text)
        if not text and event.data.get(CUT):
            return None
        return replace(event, text=text, data=_data(self.mask, event.data))

    def _piece(self, event: Event) -> str:
        key = event.stage, str(event.data.get("vertex") or event.data.get("container") or "")
        if event.data.get(CUT):
            return self._streams.setdefault(key, Stream(self.mask)).feed(event.text)
        stream = self._streams.pop(key, None)
        return stream.feed(event.text, last=True) if stream else self.mask.text(event.text)

    def run(self, run: Run) -> Run:
        """The record without secrets in its free texts."""
        if not self.mask:
            return run
        checks = {
            stage: tuple(_check(self.mask, one) for one in found) for stage, found in run.checks.items()
        }
        failure = _failure(self.mask, run.failure) if run.failure else None
        steps = tuple(_step(self.mask, step) for step in run.steps)
        ending = _ending(self.mask, run.ending) if run.ending else None
        reason, message = self.mask.text(run.reason), self.mask.text(run.message)
        kept = replace(run, steps=steps, checks=checks, failure=failure, ending=ending)
        unusual = _unusual(self.mask, run.unusual) if run.unusual else None
        return replace(kept, reason=reason, message=message, unusual=unusual)


def _unusual(mask: Mask, found: Difference) -> Difference:
    steps = tuple(replace(one, why=mask.text(one.why)) for one in found.steps)
    return replace(found, text=mask.text(found.text), steps=steps)


def _ending(mask: Mask, ending: Ending) -> Ending:
    failure = _failure(mask, ending.failure) if ending.failure else None
    return replace(ending, reason=mask.text(ending.reason), failure=failure)


def _step(mask: Mask, step: StepResult) -> StepResult:
    return replace(step, detail=mask.text(step.detail), data=_data(mask, step.data))


def _check(mask: Mask, check: Check) -> Check:
    return replace(check, asked=mask.text(check.asked), answer=mask.text(check.answer))


def _failure(mask: Mask, failure: Failure) -> Failure:
    return replace(
        failure,
        message=mask.text(failure.message),
        advice=mask.text(failure.advice),
        evidence=_evidence(mask, failure.evidence, failure.facts),
        differs=tuple(mask.text(line) for line in failure.differs),
    )


def _evidence(mask: Mask, lines: Iterable[str], facts: int) -> tuple[str, ...]:
    """Only output may begin in the middle of a secret: our own words are never taken for a part of one."""
    given = tuple(lines)
    return (*(mask.text(one) for one in given[:facts]), *mask.lines(given[facts:]))


def _data(mask: Mask, data: dict[str, Any]) -> dict[str, Any]:
    found = {key: value if key in _NAMES else _any(mask, value) for key, value in data.items()}
    if isinstance(data.get("evidence"), list | tuple):  # a failure's
        found["evidence"] = list(_evidence(mask, data["evidence"], int(data.get("facts") or 0)))
    return found


def _any(mask: Mask, value: Any) -> Any:
    if isinstance(value, str):
        return mask.text(value)
    if isinstance(value, dict):
        return _data(mask, value)
    if isinstance(value, list | tuple):
        return [_any(mask, one) for one in value]
    return value
