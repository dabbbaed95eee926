"""Previews: a yes to a commit of another repository, and removal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.domain.audit_chain import Actor
from pipeline.errors import NotFound, RequestError
from webhooks.pages.acts.confirm import RELOAD, Confirm, Form
from webhooks.ports import ServicePort


def on_preview(service: ServicePort, _: Actor, name: str, act: str) -> Confirm:
    """``act``: allow or remove. Raises NotFound, and RequestError if it is not possible now."""
    found = next((one for one in service.previews() if one["name"] == name), None)
    if found is None:
        raise NotFound(f"there is no preview {name[:80]!r}", advice=RELOAD)
    if found["state"] == "closing":
        raise RequestError(f"{name} is being removed already", advice=RELOAD)
    return _remove(service, found) if act == "remove" else _allow(service, found)


def _allow(service: ServicePort, one: Mapping[str, Any]) -> Confirm:
    if one["state"] != "waiting":
        raise RequestError(f"{one['name']} waits for no yes now", advice=RELOAD)

    def do(by: Actor, _: Form) -> str:
        return service.allow_preview(one["name"], by, commit=one["commit"]).id

    short = one["commit"][:7]
    return Confirm(
        f"Allow {short} for {one['name']}",
        (
            f"{short} of {one['branch']} comes from another repository. It is built and deployed as a preview: its "
            "Dockerfile and its code run here, with the secrets that are set for previews.",
            "This is for that commit alone; the next one asks again.",
        ),
        f"Allow {short}",
        do,
        danger=True,
        fields={"commit": one["commit"]},
    )


def _remove(service: ServicePort, one: Mapping[str, Any]) -> Confirm:
    def do(by: Actor, _: Form) -> str:
        service.remove_preview(one["name"], by)
        return ""

    return Confirm(
        f"Remove {one['name']}",
        (
            f"The preview of {one['branch']} goes, with its containers, accessories and all of its data.",
            "Its runs stay readable. Another push to the branch makes it again, with empty data.",
        ),
        "Remove",
        do,
        danger=True,
        fields={"commit": one["commit"]},
    )
