"""The confirmation behind each button: it says what will happen, and is bound to what was shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pipeline.domain.audit_chain import Actor
from pipeline.errors import NotFound, RequestError
from pipeline.lib.text import printable
from webhooks.ports import ServicePort


@dataclass(frozen=True)
class Confirm:
    """``fields`` are sent with the button; if they have changed, nothing is done."""

    title: str
    sentences: tuple[str, ...]
    button: str
    danger: bool = False
    reason: bool = False  # whether to ask for a reason
    must_say: bool = False  # whether there must be one
    choice: str = ""  # a box that may be ticked, in words; it is sent as ``choice``
    fields: dict[str, str] = field(default_factory=dict)


def environment_of(service: ServicePort, pipeline: str, name: str) -> dict[str, Any]:
    """The environment's entry in ``status``; ``waits``: the newest run that waits before it. Raises NotFound."""
    for one in service.status(pipeline)["pipelines"]:
        for environment in one["environments"]:
            if one["name"] == pipeline and environment["name"] == name:
                waits = (run for run in one.get("waits") or () if run["gate"] == name)
                return {**environment, "waits": next(waits, None)}
    raise NotFound(f"pipeline {pipeline!r} has no environment {name!r}", advice="The status page lists them.")


def on_environment(pipeline: str, env: dict[str, Any], act: str) -> Confirm:
    """Raises RequestError if ``act`` is not possible now."""
    name = env["name"]
    if act == "revert":
        return _revert(pipeline, env)
    if act == "hold":
        return Confirm(
            f"Hold {pipeline} in {name}",
            (
                *((f"{name} keeps serving r{env['release']}.",) if env["release"] else ()),
                f"No run is promoted into {name} until someone resumes it.",
                *((f"This takes the place of {_hold(env['hold'])}.",) if env["hold"] else ()),
            ),
            f"Hold {name}",
            reason=True,
            fields=_held_by(env["hold"]),
        )
    if act == "resume" and env["hold"]:
        return Confirm(
            f"Resume {pipeline} in {name}",
            (_lifted(env["hold"]), _after_resume(env), *_returning(env["waits"])),
            f"Resume {name}",
            fields=_held_by(env["hold"]) | {"run": env["waits"]["id"] if env["waits"] else ""},
        )
    raise RequestError(f"{act} is not possible in {pipeline}/{name} now", advice="Reload the status page.")


def _after_resume(env: dict[str, Any]) -> str:
    name = env["name"]
    serves = f" It serves r{env['release']} now." if env["release"] else ""
    run = f"{env['waits']['id']} (r{env['waits']['release']})" if env["waits"] else ""
    if env["manual"]:
        return f"{run or 'A run that waits for ' + name} still needs a promotion.{serves}"
    return f"{run or 'The newest run that waits for ' + name} continues into {name if run else 'it'}.{serves}"


def _returning(run: Mapping[str, Any] | None) -> tuple[str, ...]:
    """What a person would not see otherwise: a configuration that comes back, or goes, with the run."""
    return tuple(f"{text}." for text in (run or {}).get("returning") or ())


def _hold(hold: dict[str, Any]) -> str:
    reason = f" (“{hold['reason']}”)" if hold["reason"] else ""
    return f"the hold by {hold['by']}{reason}"


def _held_by(hold: dict[str, Any] | None) -> dict[str, str]:
    """The hold that was shown."""
    return {"held_by": hold["by"] if hold else "", "since": str(hold["since"]) if hold else ""}


def _lifted(hold: dict[str, Any]) -> str:
    return f"T{_hold(hold)[1:]} is lifted."


def _revert(pipeline: str, env: dict[str, Any]) -> Confirm:
    name, ready = env["name"], env["revert"]
    if not ready["ready"]:
        raise RequestError(
            f"{pipeline}/{name}: {ready['text']}",
            advice="Push a fix, deploy a release that is still available, or choose one to go back to: "
            f"`pushlive revert {pipeline} --env {name} --to rN`.",
        )
    now, then, commit = env["release"], ready["release"], (env["commit"] or "")[:7]
    how = (
        "It is still running, so this takes one switch."
        if ready["how"] == "warm"
        else "It is started from its image first."
    )
    asks = (f"{ready['asks']}.",) if ready.get("asks") else ()
    backs = ready.get("backs") or ()
    undo = " and ".join(f"`{one['command']}` in r{one['release']}" for one in backs)
    return Confirm(
        f"Revert {pipeline} in {name}",
        (
            *asks,
            f"{name} goes from r{now} ({commit} “{env['message']}”) back to r{then}. {how}",
            f"{name} is held: no run is promoted into it until someone resumes it.",
            f"r{now} is quarantined: it cannot enter {name} again unless a maintainer lifts the quarantine.",
        ),
        f"Revert {name} to r{then}",
        danger=True,
        reason=True,
        choice=f"Undo what the release commands have changed first: run {undo}" if undo else "",
        fields={"from": str(now), "to": str(then), "across": str(ready.get("across") or "")}
        | {"backs": " ".join(str(one["release"]) for one in backs)},
    )


def on_freeze(pipeline: str, env: dict[str, Any], change: str) -> Confirm:
    """``change``: freeze or thaw. Raises RequestError if it is not possible now."""
    name, freeze = env["name"], env.get("freeze")
    if change == "freeze" and not freeze:
        return Confirm(
            f"Freeze {pipeline} in {name}",
            (
                *((f"{name} keeps serving r{env['release']}.",) if env["release"] else ()),
                f"No push and no deploy enters {name} until a maintainer thaws it. Runs wait there, and go on then.",
                "A revert is still possible.",
            ),
            f"Freeze {name}",
            reason=True,
            must_say=True,
            fields=_frozen_by(None),
        )
    if change == "thaw" and freeze:
        waits = env["waits"]
        goes = f"{waits['id']} (r{waits['release']})" if waits else f"A run that waits for {name}"
        return Confirm(
            f"Thaw {pipeline} in {name}",
            (
                f"{freeze['text']}.",
                f"The freeze ends here. {goes} goes on within seconds if it waits for nothing else.",
                *_returning(waits),
            ),
            f"Thaw {name}",
            danger=True,
            reason=True,
            must_say=True,
            fields=_frozen_by(freeze) | {"run": waits["id"] if waits else ""},
        )
    state = "frozen" if freeze else "not frozen"
    raise RequestError(f"{pipeline}/{name} is {state} now", advice="Reload the status page.")


def _frozen_by(freeze: Mapping[str, Any] | None) -> dict[str, str]:
    """The freeze that was shown."""
    return {"frozen": f"{freeze['by']} {freeze['since']} {freeze['until']}" if freeze else ""}


def on_quarantine(pipeline: str, env: dict[str, Any], number: str) -> Confirm:
    """``number``: of the release. Raises RequestError if it is not in quarantine there."""
    name = env["name"]
    found = next((one for one in env["quarantine"] if str(one["release"]) == number), None)
    if found is None:
        raise RequestError(
            f"r{printable(number)[:20]} is not in quarantine in {pipeline}/{name}",
            advice="Reload the status page.",
        )
    return Confirm(
        f"Release r{number} from quarantine",
        (
            f"r{number} is in quarantine in {pipeline}/{name}: {found['reason'] or 'no reason was given'}.",
            f"It may enter {name} again with a deploy or a promotion. Nothing is switched now.",
        ),
        f"Release r{number}",
        danger=True,
        fields={"release": number},
    )


def on_run(run: dict[str, Any], act: str) -> Confirm:
    """``run``: a run's summary. Raises RequestError if ``act`` is not possible now."""
    ident, what = run["id"], f"{run['short']} “{run['message']}”"
    if act == "promote" and run["state"] == "waiting":
        return _promote(run, what)
    if act == "cancel" and run["state"] != "ended":
        return Confirm(
            f"Cancel {ident}",
            (
                run.get("cancelled_when") or f"The run of {what} ends before its next step.",
                "All environments keep serving what they serve now.",
            ),
            "Cancel the run",
            danger=True,
        )
    if act == "retry" and run["state"] == "ended":
        return _retry(run, what)
    raise RequestError(
        f"{act} is not possible for {ident} now: it is {run['state']}", advice="Reload the page of the run."
    )


def _retry(run: dict[str, Any], what: str) -> Confirm:
    newer = run.get("newer")
    goes = f"A new run of {what} goes through all stages, with the current pipelines.yaml."
    if run["kind"] == "revert":
        goes = f"{run['stages'][-1]} goes back to r{run['release']} again."
    elif run.get("from_release") is not None:
        goes = f"A new run of {what} goes through all stages, with the configuration that was sent."
    if not newer:
        return Confirm(f"Retry {run['id']}", (goes,), "Retry")
    fields = {"over": str(newer["run"])}
    return Confirm(f"Retry {run['id']}", (f"{newer['text']}.", goes), "Retry", danger=True, fields=fields)


def _promote(run: dict[str, Any], what: str) -> Confirm:
    gate, release, back = run["gate"], f"r{run['release']}", run.get("taken_back")
    gets = f"{gate} gets {release}: {what}. It is the same image that ran in the stages before."
    fields = {"release": str(run["release"]), "gate": gate}
    approval = run.get("approval")
    if approval:
        gets = f"{gets} {approval['text'][:1].upper()}{approval['text'][1:]}."
    if not back:
        return Confirm(
            f"Promote {run['id']} to {gate}",
            (gets, *_returning(run)),
            f"{'Approve' if approval else 'Promote'} {release} {'for' if approval else 'to'} {gate}",
            fields=fields,
        )
    return Confirm(
        f"Force {run['id']} into {gate}",
        (
            f"{back['text']}.",
            f"Usually {back['environment']} gets it again first: {back['again']}.",
            f"If you force it, {gets}",
            *_returning(run),
        ),
        f"Force {release} into {gate}",
        danger=True,
        reason=True,
        must_say=True,
        fields=fields | {"taken_back": str(back["run"])},
    )


def require_unchanged(shown: Mapping[str, str], now: Confirm) -> None:
    """Raises RequestError if the button's fields have changed since it was shown."""
    changed = [name for name, value in now.fields.items() if shown.get(name) != value]
    if changed:
        raise RequestError(
            "something has changed since this page was loaded, so nothing was done",
            advice="Reload the page, then decide.",
        )


def perform_on_environment(
    service: ServicePort, pipeline: str, name: str, act: str, by: Actor, form: Mapping[str, str]
) -> str:
    """Acts, and returns the id of the new run, or "" if there is none."""
    now = on_environment(pipeline, environment_of(service, pipeline, name), act)
    require_unchanged(form, now)
    reason = form.get("reason", "").strip()[:200]
    if act == "revert":
        to, shown = int(now.fields["to"]), int(now.fields["from"])
        across = int(now.fields["across"]) if now.fields["across"] else None
        back = bool(now.choice and form.get("choice"))
        return service.revert(
            pipeline,
            by,
            environment=name,
            to=to,
            shown=shown,
            reason=reason,
            back=back,
            across=across,
        ).id
    if act == "hold":
        service.hold(pipeline, by, environment=name, reason=reason, held_by=now.fields["held_by"])
    else:
        service.resume(pipeline, by, environment=name, held_by=now.fields["held_by"])
    return ""


def perform_on_freeze(
    service: ServicePort, pipeline: str, name: str, change: str, by: Actor, form: Mapping[str, str]
) -> None:
    require_unchanged(form, on_freeze(pipeline, environment_of(service, pipeline, name), change))
    act = service.freeze if change == "freeze" else service.thaw
    act(by, pipeline=pipeline, environment=name, reason=form.get("reason", "").strip()[:200])


def perform_on_quarantine(
    service: ServicePort, pipeline: str, name: str, number: str, by: Actor, form: Mapping[str, str]
) -> None:
    require_unchanged(form, on_quarantine(pipeline, environment_of(service, pipeline, name), number))
    service.unquarantine(pipeline, by, int(number), environment=name)


def perform_on_run(
    service: ServicePort, run: dict[str, Any], act: str, by: Actor, form: Mapping[str, str]
) -> str:
    """Acts, and returns the id of the run to show."""
    now = on_run(run, act)
    require_unchanged(form, now)
    pipeline, number = run["pipeline"], run["number"]
    if act == "promote":
        gate, release = run["gate"], run["release"]
        reason = form.get("reason", "").strip()[:200]
        force = "taken_back" in now.fields
        return service.promote(
            pipeline, by, run=number, environment=gate, release=release, force=force, reason=reason
        ).id
    if act == "cancel":
        return service.cancel(pipeline, number, by).id
    over = int(now.fields["over"]) if "over" in now.fields else None
    return service.retry(pipeline, number, by, over=over).id
