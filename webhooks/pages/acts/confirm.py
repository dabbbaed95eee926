"""The confirmation behind each button: it says what will happen, and is bound to what was shown."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pipeline.domain.audit_chain import Actor
from pipeline.errors import NotFound, RequestError
from webhooks.ports import ServicePort

Form = Mapping[str, str]
Do = Callable[[Actor, Form], str]
RELOAD = "Reload the status page."
REASON = 200  # characters


@dataclass(frozen=True)
class Confirm:
    """``do`` acts, and returns the id of the run to show (``hello#44``), "" for the status page. ``fields`` are sent
    with the button; if they have changed, nothing is done."""

    title: str
    sentences: tuple[str, ...]
    button: str
    do: Do
    danger: bool = False
    reason: bool = False  # whether to ask for a reason
    must_say: bool = False  # whether there must be one
    until: bool = False  # whether to ask for a time, which is sent as ``until`` with its ``zone``
    choice: str = ""  # a box that may be ticked, in words; it is sent as ``choice``
    fields: dict[str, str] = field(default_factory=dict)

    def confirmed(self, by: Actor, form: Form) -> str:
        """Acts, as ``do``. Raises RequestError if something has changed since the button was shown, or a reason is
        missing."""
        if any(form.get(name) != value for name, value in self.fields.items()):
            raise RequestError(
                "something has changed since this page was loaded, so nothing was done",
                advice="Reload the page, then decide.",
            )
        if self.must_say and not reason_of(form):
            raise RequestError(
                "there was no reason, so nothing was done", advice="Go back, and write why; others read it."
            )
        return self.do(by, form)


def reason_of(form: Form) -> str:
    return form.get("reason", "").strip()[:REASON]


def environment_of(service: ServicePort, pipeline: str, name: str) -> dict[str, Any]:
    """The environment's entry in ``status``; ``waits``: the newest run that waits before it. Raises NotFound."""
    for one in service.status(pipeline)["pipelines"]:
        for environment in one["environments"]:
            if one["name"] == pipeline and environment["name"] == name:
                waits = (run for run in one.get("waits") or () if run["gate"] == name)
                return {**environment, "waits": next(waits, None)}
    raise NotFound(f"pipeline {pipeline!r} has no environment {name!r}", advice="The status page lists them.")


def returning(run: Mapping[str, Any] | None) -> Iterable[str]:
    """What a person would not see otherwise: a configuration that comes back, or goes, with the run."""
    return (f"{text}." for text in (run or {}).get("returning") or ())
