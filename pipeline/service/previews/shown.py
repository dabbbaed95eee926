"""A preview as data, for the page, the command line and the API."""

from __future__ import annotations

from typing import Any

from pipeline.config.models import Config
from pipeline.config.previews.keys import Previews
from pipeline.config.settings import Settings
from pipeline.deploy.previews.addresses import address
from pipeline.domain.previews import rules
from pipeline.domain.previews.records import Preview, PreviewState
from pipeline.lib.units import show_time


def shown(settings: Settings, config: Config, one: Preview) -> dict[str, Any]:
    """``{"name", "pipeline", "branch", "request", "foreign", "state", "address", "commit", "by", "opened", "pushed",
    "until", "reason", "allowed_by", "text"}``; ``until``: when it goes without a push, None if it goes now; ``text``:
    for people."""
    own = config.pipelines.get(one.pipeline)
    keys = own.previews if own else None
    return {
        "name": one.name,
        "pipeline": one.pipeline,
        "branch": one.branch,
        "request": one.request,
        "foreign": one.foreign,
        "state": one.state.value,
        "address": address(settings, config, one.name) if one.alive else "",
        "commit": one.commit,
        "by": one.by,
        "opened": one.opened,
        "pushed": one.pushed,
        "until": rules.ends(one, keys) if keys and one.alive else None,
        "reason": "" if one.alive else one.reason,
        "allowed_by": one.allowed_by,
        "text": _text(one, keys),
    }


def _text(one: Preview, keys: Previews | None) -> str:
    if not one.alive:
        return f"the preview of {one.label} is being removed, with its data: {one.reason}"
    if one.state == PreviewState.WAITING:
        allow = f"`pushlive preview allow {one.name} --commit {one.commit[:7]}`"
        return f"{one.commit[:7]} of {one.label} comes from another repository and waits for a yes: {allow}"
    until = f", until {show_time(rules.ends(one, keys))} without a push" if keys else ""
    first = "; what it had before is being removed, with its data" if one.leftover else ""
    return f"preview of {one.label}{until}{first}"
