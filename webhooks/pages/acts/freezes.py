"""Freeze and thaw: one environment, all of a pipeline, or all that there are."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.domain.audit_chain import Actor
from pipeline.errors import ConfigError, NotFound, RequestError
from webhooks.pages.acts.confirm import RELOAD, Confirm, Form, environment_of, reason_of, returning
from webhooks.ports import ServicePort

LISTED = 12  # freezes in a list
TIMES = "Write 2026-12-01 08:00, 08:00 (the next one), or how long, such as 2h; nothing means until a thaw."


@dataclass(frozen=True)
class Scope:
    """``name``: "" for every environment, ``pipeline``: "" for every pipeline. ``frozen``: the freezes in it, by
    place; ``waits``: the runs that wait in it for the end of one."""

    pipeline: str
    name: str
    frozen: Mapping[str, Mapping[str, Any]]
    waits: tuple[Mapping[str, Any], ...]

    @property
    def title(self) -> str:
        if self.name:
            return f"{self.pipeline} in {self.name}"
        return f"every environment of {self.pipeline or 'every pipeline'}"

    @property
    def text(self) -> str:
        if self.name:
            return self.name
        return f"any environment of {self.pipeline}" if self.pipeline else "any environment of any pipeline"

    @property
    def seen(self) -> dict[str, str]:
        """The freezes that were shown."""
        found = (f"{at} {one['by']} {one['since']} {one['until']}" for at, one in sorted(self.frozen.items()))
        text = "\n".join(found)
        return {"frozen": hashlib.sha256(text.encode()).hexdigest() if text else ""}


def on_freeze(service: ServicePort, _: Actor, pipeline: str, name: str, change: str) -> Confirm:
    """``change``: freeze or thaw. Raises RequestError if it is not possible now."""
    env = environment_of(service, pipeline, name)
    freeze, waits = env.get("freeze"), env["waits"]
    frozen = {f"{pipeline}/{name}": freeze} if freeze else {}
    scope = Scope(pipeline, name, frozen, (waits,) if waits else ())
    if bool(freeze) == (change == "freeze"):
        state = "frozen" if freeze else "not frozen"
        raise RequestError(f"{pipeline}/{name} is {state} now", advice=RELOAD)
    serves = f"{name} keeps serving r{env['release']}." if env["release"] else ""
    return _freeze(service, scope, serves) if change == "freeze" else _thaw(service, scope)


def on_all(service: ServicePort, _: Actor, change: str, pipeline: str = "") -> Confirm:
    """The same for every environment of that pipeline, or of all of them."""
    found = service.status(pipeline)["pipelines"]
    if pipeline and pipeline not in {one["name"] for one in found}:
        raise NotFound(f"there is no pipeline {pipeline!r}", advice="The status page lists them.")
    found = [one for one in found if pipeline in ("", one["name"])]
    frozen = {
        f"{one['name']}/{env['name']}": env["freeze"]
        for one in found
        for env in one["environments"]
        if env.get("freeze")
    }
    waits = tuple(run for one in found for run in one.get("waits") or () if run.get("frozen"))
    scope = Scope(pipeline, "", frozen, waits)
    if change == "thaw" and not frozen:
        raise RequestError(f"nothing{' of ' + pipeline if pipeline else ''} is frozen now", advice=RELOAD)
    return (
        _freeze(service, scope, "What serves keeps serving.") if change == "freeze" else _thaw(service, scope)
    )


def _freeze(service: ServicePort, scope: Scope, serves: str) -> Confirm:
    def do(by: Actor, form: Form) -> str:
        end = form.get("until", "").strip()[:40]
        zone = form.get("zone", "").strip()[:60] or "UTC"
        times = {"until": end} if ":" in end else {"lasting": end}
        where = {"pipeline": scope.pipeline, "environment": scope.name}
        try:
            service.freeze(by, **where, reason=reason_of(form), zone=zone, **times)
        except ConfigError as error:
            raise ConfigError(error.message, advice=f"Go back. {TIMES}") from error
        return ""

    already = tuple(f"{at} is frozen already: {one['text']}." for at, one in scope.frozen.items())
    return Confirm(
        f"Freeze {scope.title}",
        (
            *([serves] if serves else ()),
            f"No push and no deploy enters {scope.text} until a maintainer thaws it, or until a time. "
            "Runs wait there, and go on then.",
            "A revert is still possible.",
            *_some(already),
        ),
        f"Freeze {scope.name or 'all'}",
        do,
        reason=True,
        must_say=True,
        until=True,
        fields=scope.seen,
    )


def _thaw(service: ServicePort, scope: Scope) -> Confirm:
    def do(by: Actor, form: Form) -> str:
        service.thaw(by, pipeline=scope.pipeline, environment=scope.name, reason=reason_of(form))
        return ""

    where = "" if scope.name else "{}: "
    texts = tuple(where.format(at) + f"{one['text']}." for at, one in scope.frozen.items())
    goes = [f"{run['id']} (r{run['release']})" for run in scope.waits]
    then = [f"{one} goes on within seconds if it waits for nothing else." for one in goes]
    then = then or ["Runs that wait there go on within seconds if they wait for nothing else."]
    over = "The freeze ends here." if len(texts) == 1 else "All of these end here."
    return Confirm(
        f"Thaw {scope.title}",
        (*_some(texts), over, *_some(then), *_some(text for run in scope.waits for text in returning(run))),
        f"Thaw {scope.name or 'all'}",
        do,
        danger=True,
        reason=True,
        must_say=True,
        fields=scope.seen | {"run": " ".join(run["id"] for run in scope.waits)},
    )


def _some(texts: Iterable[str]) -> tuple[str, ...]:
    found = tuple(texts)
    more = len(found) - LISTED
    return found if more <= 1 else (*found[:LISTED], f"And {more} more.")
