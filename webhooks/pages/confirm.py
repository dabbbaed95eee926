"""What a button will do, said before it is pressed, and bound to what was shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pipeline.domain.audit_chain import Actor
from pipeline.errors import NotFound, RequestError
from webhooks.ports import ServicePort

ON_ENVIRONMENT = ("revert", "hold", "resume")
ON_RUN = ("promote", "cancel", "retry")


@dataclass(frozen=True)
class Confirm:
    """``fields`` travel with the button; where they no longer hold, nothing is done."""

    title: str
    sentences: tuple[str, ...]
    button: str
    danger: bool = False
    reason: bool = False  # ask for one
    fields: dict[str, str] = field(default_factory=dict)


def environment_of(desk: ServicePort, pipeline: str, name: str) -> dict[str, Any]:
    """The environment as ``Desk.status`` has it. Raises NotFound."""
    for one in desk.status(pipeline)["pipelines"]:
        for environment in one["environments"]:
            if one["name"] == pipeline and environment["name"] == name:
                found: dict[str, Any] = environment
                return found
    raise NotFound(f"there is no environment {name!r} of {pipeline!r}", advice="See the status page.")


def on_environment(pipeline: str, env: dict[str, Any], act: str) -> Confirm:
    """Raises RequestError when it cannot be done now, NotFound for an unknown act."""
    name, release = env["name"], f"r{env['release']}"
    if act == "revert":
        return _revert(pipeline, env)
    if act == "hold":
        return Confirm(
            f"Hold {pipeline} in {name}",
            (f"{name} keeps serving {release}.", "No run is promoted into it until somebody resumes it."),
            f"Hold {name}",
            reason=True,
        )
    if act == "resume" and env["hold"]:
        return Confirm(
            f"Resume {pipeline} in {name}",
            (
                f"The hold “{env['hold']['reason']}” by {env['hold']['by']} is lifted.",
                f"Runs that wait for it go on into {name}, newest first. It serves {release} now.",
            ),
            f"Resume {name}",
        )
    raise RequestError(
        f"{act} cannot be done in {pipeline}/{name} now", advice="Look at the status page again."
    )


def _revert(pipeline: str, env: dict[str, Any]) -> Confirm:
    name, ready = env["name"], env["revert"]
    if not ready["ready"]:
        raise RequestError(f"{pipeline}/{name}: {ready['text']}", advice="Push a fix, or deploy a release.")
    now, then, commit = env["release"], ready["release"], (env["commit"] or "")[:7]
    how = (
        "It is still running: one switch."
        if ready["how"] == "warm"
        else "It is started from its kept image first."
    )
    return Confirm(
        f"Revert {pipeline} in {name}",
        (
            f"{name} goes from r{now} ({commit} “{env['message']}”) back to r{then}. {how}",
            f"A hold is set: nothing is promoted into {name} until somebody resumes it.",
            f"r{now} is quarantined: it does not go to {name} again unless it is released by name.",
        ),
        f"Revert {name} to r{then}",
        danger=True,
        reason=True,
        fields={"from": str(now), "to": str(then)},
    )


def on_run(run: dict[str, Any], act: str) -> Confirm:
    """``run``: a run summary. Raises RequestError when it cannot be done now."""
    ident, what = run["id"], f"{run['short']} “{run['message']}”"
    if act == "promote" and run["state"] == "waiting":
        release = f"r{run['release']}"
        return Confirm(
            f"Promote {ident} to {run['gate']}",
            (f"{run['gate']} gets {release}: {what}, exactly the image that the stages before it ran.",),
            f"Send {release} to {run['gate']}",
            fields={"release": str(run["release"]), "gate": run["gate"]},
        )
    if act == "cancel" and run["state"] != "ended":
        return Confirm(
            f"Cancel {ident}",
            (f"The run of {what} ends before its next step.", "What serves now goes on serving."),
            "Cancel the run",
            danger=True,
        )
    if act == "retry" and run["state"] == "ended":
        return Confirm(f"Retry {ident}", (f"A new run of {what} goes through all stages.",), "Run it again")
    raise RequestError(
        f"{act} cannot be done with {ident} now: it is {run['state']}", advice="Look at it again."
    )


def still_so(shown: Mapping[str, str], now: Confirm) -> None:
    """Raises RequestError when what the button was bound to has changed since it was shown."""
    changed = [name for name, value in now.fields.items() if shown.get(name) != value]
    if changed:
        raise RequestError(
            "this has changed since the page was shown, so nothing was done",
            advice="Look again, then decide.",
        )


def perform_on_environment(
    desk: ServicePort, pipeline: str, name: str, act: str, by: Actor, form: Mapping[str, str]
) -> str:
    """Does it; the new run's id, or "" where there is none."""
    now = on_environment(pipeline, environment_of(desk, pipeline, name), act)
    still_so(form, now)
    reason = form.get("reason", "").strip()[:200]
    if act == "revert":
        to = int(now.fields["to"])
        return desk.revert(pipeline, by, environment=name, to=to, reason=reason).id
    if act == "hold":
        desk.hold(pipeline, by, environment=name, reason=reason)
    else:
        desk.resume(pipeline, by, environment=name)
    return ""


def perform_on_run(
    desk: ServicePort, run: dict[str, Any], act: str, by: Actor, form: Mapping[str, str]
) -> str:
    """Does it; the run's id to look at."""
    now = on_run(run, act)
    still_so(form, now)
    pipeline, number = run["pipeline"], run["number"]
    if act == "promote":
        gate, release = run["gate"], run["release"]
        return desk.promote(pipeline, by, run=number, environment=gate, release=release).id
    if act == "cancel":
        return desk.cancel(pipeline, number, by).id
    return desk.retry(pipeline, number, by).id
