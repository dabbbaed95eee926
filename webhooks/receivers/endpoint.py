"""``POST /hooks/<provider>``: verify, parse, store, answer. A worker does the rest.

Each refusal is counted and logged, and tells the sender no more than it needs.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from threading import Lock
from typing import Any

from flask import Blueprint, request
from flask.typing import ResponseReturnValue

from pipeline.config.previews.names import is_preview
from pipeline.config.settings import Secret
from pipeline.deploy.configuring.wanted import Wanted
from pipeline.deploy.previews.opening import HEADS, NoPreview
from pipeline.domain.audit_chain import Actor
from pipeline.domain.run import Push
from pipeline.errors import NotFound
from webhooks.context import WebContext
from webhooks.error_responses import Refused
from webhooks.json_body import NotUsable, json_object
from webhooks.receivers import RECEIVERS
from webhooks.receivers.contract import Ignored, Malformed, Parsed, Pushed, Receiver, Requested
from webhooks.receivers.form import form_field
from webhooks.security.auth import address, failed, trace
from webhooks.security.limits import BodyRefused, received

VALUES = 1_000_000  # in a payload; the largest push of a provider has fewer

log = logging.getLogger("pushlive.webhooks")


def blueprint(web: WebContext) -> Blueprint:
    hooks = Blueprint("hooks", __name__)
    in_memory = Lock()  # one at a time: a body of 25 MB takes ten times that for a moment

    @hooks.post("/hooks/<provider>")
    def receive(provider: str) -> ResponseReturnValue:
        receiver = RECEIVERS.get(provider)
        if receiver is None:
            web.service.count("hooks: unknown provider")
            raise NotFound("unknown provider", advice=f"Known providers: {', '.join(RECEIVERS)}.")
        with _refusals_counted(web, provider):
            secrets = _secrets(web, receiver.name)
            body = received(request, web.settings.body_limit)
            with in_memory:
                parsed = _parse(web, receiver, secrets, body.read())
            return _answer(web, provider, parsed)

    return hooks


@contextmanager
def _refusals_counted(web: WebContext, provider: str) -> Iterator[None]:
    """Turns everything wrong with the request into a counted refusal."""
    try:
        yield
    except BodyRefused as error:
        web.service.count(f"{provider}: {error.counter}")
        raise error.as_refused() from error
    except Malformed as error:
        web.service.count(f"{provider}: malformed")
        raise Refused(400, str(error)) from error
    except Refused as error:
        if error.counter:
            web.service.count(f"{provider}: {error.counter}")
        raise


def _parse(web: WebContext, receiver: Receiver, secrets: tuple[Secret, ...], raw: bytes) -> Parsed:
    if not receiver.verify(request.headers, raw, secrets):
        # Counted only now: many customers share a provider's addresses, so a valid signature always passes.
        failed(web, f"{receiver.name}: signature")
        raise Refused(
            401,
            "the signature is missing or wrong",
            advice=f"Set the webhook's secret to the value of PUSHLIVE_{receiver.name.upper()}_SECRET.",
            counter="",
        )
    return receiver.parse(request.headers, _payload(raw))


def _secrets(web: WebContext, name: str) -> tuple[Secret, ...]:
    """Before the body is read: without a secret, nobody can have signed it."""
    now, old = (getattr(web.settings, f"{name}_secret{suffix}") for suffix in ("", "_old"))
    if not now and not old:
        log.warning(
            "refused a webhook from %s: no secret is set; set PUSHLIVE_%s_SECRET (or …_SECRET_FILE) to the "
            "webhook's secret and restart the service",
            name,
            name.upper(),
        )
        raise Refused(403, f"webhooks from {name} are not configured here", counter="no secret")
    return (now, old)


def _payload(raw: bytes) -> dict[str, Any]:
    if request.mimetype == "application/x-www-form-urlencoded":  # GitHub's other content type
        raw = form_field(raw, b"payload")
    try:
        return json_object(raw, VALUES, any_text=True)  # a commit's message may be anything
    except NotUsable as error:
        raise Malformed(str(error)) from error


def _answer(web: WebContext, provider: str, parsed: Parsed) -> ResponseReturnValue:
    if isinstance(parsed, Ignored):
        return {"ignored": parsed.reason}
    asked = parsed.request if isinstance(parsed, Requested) else parsed
    by = Actor(asked.pusher, "", address(web), f"webhook:{provider}", trace())
    if isinstance(parsed, Requested):
        return _of_request(web, provider, parsed, by)
    if said := _of_configuration(web, parsed, by):
        return {"configuration": said}, 202
    pipelines = _pipelines(web, parsed.urls)
    branches = {pipeline: web.service.branch_of(pipeline) for pipeline in pipelines}
    branch, previews = parsed.ref.removeprefix(HEADS), web.service.preview_takers(pipelines, parsed.ref)
    if parsed.deleted and branch != parsed.ref:
        closed = web.service.close_previews(pipelines, branch, "its branch was deleted", by)
        if closed:
            return {"runs": [], "notes": list(closed)}, 202
    if (parsed.deleted or not previews) and (reason := _why_ignored(parsed, branches)):
        return {"ignored": reason}
    wanted = [name for name, branch in branches.items() if parsed.ref == f"{HEADS}{branch}"]
    runs, notes = list[str](), list[str]()
    for name in (*wanted, *previews):
        try:
            accepted = web.service.accept(_push(provider, name, parsed), by)
        except NoPreview as error:
            notes.append(str(error))
            continue
        runs.append(accepted.run.id)
        notes += accepted.notes
    return {"runs": runs, "notes": notes}, 202


def _pipelines(web: WebContext, urls: tuple[str, ...]) -> tuple[str, ...]:
    """Those of that repository, without their previews. Raises Refused."""
    found = tuple(one for one in web.service.pipelines_of_url(urls) if not is_preview(one))
    if not found:
        raise Refused(404, "unknown repository", counter="unknown repository")
    return found


def _of_request(web: WebContext, provider: str, parsed: Requested, by: Actor) -> ResponseReturnValue:
    asked = replace(parsed.request, delivery=f"{provider}:{parsed.request.delivery}")
    runs, notes = web.service.pull_request(_pipelines(web, parsed.urls), asked, by)
    if not runs and not notes:
        return {"ignored": f"pull requests to {asked.base} have no previews"}
    return {"runs": list(runs), "notes": list(notes)}, 202


def _of_configuration(web: WebContext, parsed: Pushed, by: Actor) -> str:
    """What there is to say if the configuration is in that repository; "" if it is not."""
    asked = Wanted(parsed.delivery, parsed.after, by.name, by.address, by.way)
    return web.service.configuration_pushed(parsed.urls, parsed.ref, asked)


def _why_ignored(parsed: Pushed, branches: dict[str, str]) -> str:
    if parsed.ref.startswith("refs/tags/"):
        return "a tag was pushed; only branches are deployed"
    if parsed.deleted:
        return "a branch was deleted; there is nothing to deploy"
    if parsed.ref not in {f"refs/heads/{branch}" for branch in branches.values()}:
        return f"this branch is not deployed; deployed branches: {', '.join(sorted(set(branches.values())))}"
    return ""


def _push(provider: str, pipeline: str, parsed: Pushed) -> Push:
    return Push(
        pipeline=pipeline,
        repository=parsed.urls[0],
        ref=parsed.ref,
        commit=parsed.after,
        delivery=f"{provider}:{parsed.delivery}",
        pusher=parsed.pusher,
        message=parsed.message,
        before=parsed.before,
        forced=parsed.forced,
        received=time.time(),
        skip=parsed.skip,
    )
