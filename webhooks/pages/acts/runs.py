"""Promote, withdraw an approval, cancel, retry."""

from __future__ import annotations

from typing import Any

from pipeline.domain.audit_chain import Actor
from pipeline.errors import RequestError
from webhooks.pages.acts.confirm import Confirm, Form, reason_of, returning
from webhooks.pages.view import approved_by
from webhooks.ports import ServicePort


def on_run(service: ServicePort, who: Actor, run: dict[str, Any], act: str) -> Confirm:
    """``run``: a run's summary. Raises RequestError if ``act`` is not possible now."""
    what = f"{run['short']} “{run['message']}”"
    if act == "promote" and run["state"] == "waiting":
        return _promote(service, run, what)
    if act == "withdraw" and (name := approved_by(run, who.name)):
        return _withdraw(service, run, name)
    if act == "cancel" and run["state"] != "ended":
        return _cancel(service, run, what)
    if act == "retry" and run["state"] == "ended":
        return _retry(service, run, what)
    if act == "withdraw":
        raise RequestError(
            f"{who.name} has given {run['id']} no approval that can be withdrawn now",
            advice="Reload the page of the run.",
        )
    raise RequestError(
        f"{act} is not possible for {run['id']} now: it is {run['state']}",
        advice="Reload the page of the run.",
    )


def _cancel(service: ServicePort, run: dict[str, Any], what: str) -> Confirm:
    def do(by: Actor, _: Form) -> str:
        return service.cancel(run["pipeline"], run["number"], by).id

    return Confirm(
        f"Cancel {run['id']}",
        (
            run.get("cancelled_when") or f"The run of {what} ends before its next step.",
            "All environments keep serving what they serve now.",
        ),
        "Cancel the run",
        do,
        danger=True,
    )


def _retry(service: ServicePort, run: dict[str, Any], what: str) -> Confirm:
    newer = run.get("newer")
    goes = f"A new run of {what} goes through all stages, with the current pipelines.yaml."
    if run["kind"] == "revert":
        goes = f"{run['stages'][-1]} goes back to r{run['release']} again."
    elif run.get("from_release") is not None:
        goes = f"A new run of {what} goes through all stages, with the configuration that was sent."

    def do(by: Actor, _: Form) -> str:
        over = newer["run"] if newer else None
        return service.retry(run["pipeline"], run["number"], by, over=over).id

    if not newer:
        return Confirm(f"Retry {run['id']}", (goes,), "Retry", do)
    fields = {"over": str(newer["run"])}
    return Confirm(f"Retry {run['id']}", (f"{newer['text']}.", goes), "Retry", do, danger=True, fields=fields)


def _promote(service: ServicePort, run: dict[str, Any], what: str) -> Confirm:
    gate, release, back = run["gate"], f"r{run['release']}", run.get("taken_back")
    gets = f"{gate} gets {release}: {what}. It is the same image that ran in the stages before."
    fields = {"release": str(run["release"]), "gate": gate}
    approval = run.get("approval")
    if approval:
        gets = f"{gets} {approval['text'][:1].upper()}{approval['text'][1:]}."

    def do(by: Actor, form: Form) -> str:
        return service.promote(
            run["pipeline"],
            by,
            run=run["number"],
            environment=gate,
            release=run["release"],
            force=bool(back),
            reason=reason_of(form),
        ).id

    if not back:
        return Confirm(
            f"Promote {run['id']} to {gate}",
            (gets, *returning(run)),
            f"{'Approve' if approval else 'Promote'} {release} {'for' if approval else 'to'} {gate}",
            do,
            fields=fields,
        )
    return Confirm(
        f"Force {run['id']} into {gate}",
        (
            f"{back['text']}.",
            f"Usually {back['environment']} gets it again first: {back['again']}.",
            f"If you force it, {gets}",
            *returning(run),
        ),
        f"Force {release} into {gate}",
        do,
        danger=True,
        reason=True,
        must_say=True,
        fields=fields | {"taken_back": str(back["run"])},
    )


def _withdraw(service: ServicePort, run: dict[str, Any], name: str) -> Confirm:
    release = f"r{run['release']}"

    def do(by: Actor, form: Form) -> str:
        service.withdraw(
            run["pipeline"],
            by,
            run=run["number"],
            environment=name,
            release=run["release"],
            reason=reason_of(form),
        )
        return str(run["id"])

    return Confirm(
        f"Withdraw your approval of {run['id']}",
        (
            f"Your approval of {release} for {name} no longer counts.",
            f"{run['id']} waits before {name} until enough people have approved it again.",
        ),
        "Withdraw it",
        do,
        danger=True,
        reason=True,
        fields={"release": str(run["release"]), "gate": name},
    )
