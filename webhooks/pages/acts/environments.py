"""Hold, resume, revert, and the release of a quarantine."""

from __future__ import annotations

from typing import Any

from pipeline.domain.audit_chain import Actor
from pipeline.errors import RequestError
from pipeline.lib.text import printable
from webhooks.pages.acts.confirm import RELOAD, Confirm, Form, environment_of, reason_of, returning
from webhooks.ports import ServicePort


def on_environment(service: ServicePort, _: Actor, pipeline: str, name: str, act: str) -> Confirm:
    """``act``: revert, hold or resume. Raises RequestError if it is not possible now."""
    env = environment_of(service, pipeline, name)
    if act == "revert":
        return _revert(service, pipeline, env)
    if act == "hold":
        return _hold(service, pipeline, env)
    if act == "resume" and env["hold"]:
        return _resume(service, pipeline, env)
    raise RequestError(f"{act} is not possible in {pipeline}/{name} now", advice=RELOAD)


def _hold(service: ServicePort, pipeline: str, env: dict[str, Any]) -> Confirm:
    name, fields = env["name"], _held_by(env["hold"])

    def do(by: Actor, form: Form) -> str:
        service.hold(pipeline, by, environment=name, reason=reason_of(form), held_by=fields["held_by"])
        return ""

    return Confirm(
        f"Hold {pipeline} in {name}",
        (
            *((f"{name} keeps serving r{env['release']}.",) if env["release"] else ()),
            f"No run is promoted into {name} until someone resumes it.",
            *((f"This takes the place of {_text(env['hold'])}.",) if env["hold"] else ()),
        ),
        f"Hold {name}",
        do,
        reason=True,
        fields=fields,
    )


def _resume(service: ServicePort, pipeline: str, env: dict[str, Any]) -> Confirm:
    name, fields = env["name"], _held_by(env["hold"])

    def do(by: Actor, _: Form) -> str:
        service.resume(pipeline, by, environment=name, held_by=fields["held_by"])
        return ""

    return Confirm(
        f"Resume {pipeline} in {name}",
        (f"T{_text(env['hold'])[1:]} is lifted.", _after_resume(env), *returning(env["waits"])),
        f"Resume {name}",
        do,
        fields=fields | {"run": env["waits"]["id"] if env["waits"] else ""},
    )


def _after_resume(env: dict[str, Any]) -> str:
    name = env["name"]
    serves = f" It serves r{env['release']} now." if env["release"] else ""
    run = f"{env['waits']['id']} (r{env['waits']['release']})" if env["waits"] else ""
    if env["manual"]:
        return f"{run or 'A run that waits for ' + name} still needs a promotion.{serves}"
    return f"{run or 'The newest run that waits for ' + name} continues into {name if run else 'it'}.{serves}"


def _text(hold: dict[str, Any]) -> str:
    reason = f" (“{hold['reason']}”)" if hold["reason"] else ""
    return f"the hold by {hold['by']}{reason}"


def _held_by(hold: dict[str, Any] | None) -> dict[str, str]:
    """The hold that was shown."""
    return {"held_by": hold["by"] if hold else "", "since": str(hold["since"]) if hold else ""}


def _revert(service: ServicePort, pipeline: str, env: dict[str, Any]) -> Confirm:
    name, ready = env["name"], env["revert"]
    if not ready["ready"]:
        raise RequestError(
            f"a revert of {pipeline}/{name} is {ready['text']}",
            advice="Push a fix, deploy a release that is still available, or choose one to go back to: "
            f"`pushlive revert {pipeline} --env {name} --to rN`.",
        )
    now, then, commit = env["release"], ready["release"], (env["commit"] or "")[:7]
    how = (
        "It is still running, so this takes one switch."
        if ready["how"] == "warm"
        else "It is started from its image first."
    )
    backs = ready.get("backs") or ()
    undo = " and ".join(f"`{one['command']}` in r{one['release']}" for one in backs)

    def do(by: Actor, form: Form) -> str:
        made = service.revert(
            pipeline,
            by,
            environment=name,
            to=then,
            shown=now,
            reason=reason_of(form),
            back=bool(undo and form.get("choice")),
            across=ready.get("across") or None,
        )
        return made.id

    return Confirm(
        f"Revert {pipeline} in {name}",
        (
            *((f"{ready['asks']}.",) if ready.get("asks") else ()),
            f"{name} goes from r{now} ({commit} “{env['message']}”) back to r{then}. {how}",
            f"{name} is held: no run is promoted into it until someone resumes it.",
            f"r{now} is quarantined: it cannot enter {name} again unless a maintainer lifts the quarantine.",
        ),
        f"Revert {name} to r{then}",
        do,
        danger=True,
        reason=True,
        choice=f"Undo what the release commands have changed first: run {undo}" if undo else "",
        fields={"from": str(now), "to": str(then), "across": str(ready.get("across") or "")}
        | {"backs": " ".join(str(one["release"]) for one in backs)},
    )


def on_quarantine(service: ServicePort, _: Actor, pipeline: str, name: str, number: str) -> Confirm:
    """``number``: of the release. Raises RequestError if it is not in quarantine there."""
    env = environment_of(service, pipeline, name)
    found = next((one for one in env["quarantine"] if str(one["release"]) == number), None)
    if found is None:
        raise RequestError(
            f"r{printable(number)[:20]} is not in quarantine in {pipeline}/{name}", advice=RELOAD
        )

    def do(by: Actor, form: Form) -> str:
        service.unquarantine(pipeline, by, int(number), environment=name, reason=reason_of(form))
        return ""

    return Confirm(
        f"Release r{number} from quarantine",
        (
            f"r{number} is in quarantine in {pipeline}/{name}: {found['reason'] or 'no reason was given'}.",
            f"It may enter {name} again with a deploy or a promotion. Nothing is switched now.",
        ),
        f"Release r{number}",
        do,
        danger=True,
        reason=True,
        must_say=True,
        fields={"release": number},
    )
