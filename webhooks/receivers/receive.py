"""``POST /hooks/<provider>``: verify, parse, store, answer. The work happens elsewhere.

Every refusal leaves a counted trace (``Desk.counts``) and a line in the service's log, and says no more to
the outside than the sender needs.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from threading import BoundedSemaphore
from typing import IO, Any
from urllib.parse import parse_qs

from flask import Blueprint, request
from flask.typing import ResponseReturnValue

from pipeline.config.settings import Secret
from pipeline.domain.audit_chain import Actor
from pipeline.domain.run import Push
from pipeline.errors import NotFound
from webhooks.answers import Refused, pushlive_clock
from webhooks.receivers import Ignored, Malformed, Parsed, Pushed, Receiver
from webhooks.receivers.gitea import Gitea
from webhooks.receivers.github import GitHub
from webhooks.security.auth import address, failed
from webhooks.security.limits import Incomplete, TooLarge, received
from webhooks.site import Site

RECEIVERS: dict[str, Receiver] = {"github": GitHub(), "gitea": Gitea()}
BODIES_IN_MEMORY = 4  # of 25 MB each at worst

log = logging.getLogger("pushlive.webhooks")


def blueprint(site: Site) -> Blueprint:
    hooks = Blueprint("hooks", __name__)
    turn = BoundedSemaphore(BODIES_IN_MEMORY)

    @hooks.post("/hooks/<provider>")
    def receive(provider: str) -> ResponseReturnValue:
        receiver = RECEIVERS.get(provider)
        if receiver is None:
            site.desk.count("hooks: unknown provider")
            raise NotFound("no such receiver", advice=f"There are: {', '.join(RECEIVERS)}.")
        with _traced(site, provider):
            with received(request, site.settings.body_limit, site.deadlines) as body, turn:
                parsed = _understand(site, receiver, body)
            return _answer(site, provider, parsed)

    return hooks


@contextmanager
def _traced(site: Site, provider: str) -> Iterator[None]:
    """Turns whatever is wrong with the request into a refusal that is counted."""
    try:
        yield
    except TooLarge as error:
        site.desk.count(f"{provider}: too large")
        raise Refused(413, f"the body is larger than {site.settings.body_limit} bytes") from error
    except Incomplete as error:
        site.desk.count(f"{provider}: incomplete")
        raise Refused(408, "the body did not come in time, or broke off") from error
    except Malformed as error:
        site.desk.count(f"{provider}: malformed")
        raise Refused(400, str(error)) from error
    except Refused as error:
        if error.trace:
            site.desk.count(f"{provider}: {error.trace}")
        raise


def _understand(site: Site, receiver: Receiver, body: IO[bytes]) -> Parsed:
    secrets = _secrets(site, receiver.name)
    raw = body.read()
    if not receiver.verify(request.headers, raw, secrets):
        # Only now: a provider's addresses are everybody's who uses it, so a right signature has to pass always.
        failed(site, f"{receiver.name}: signature")
        raise Refused(
            401,
            "the signature is missing or wrong",
            advice=f"Set the webhook's secret to the one in PUSHLIVE_{receiver.name.upper()}_SECRET.",
            trace="",
        )
    return receiver.parse(request.headers, _payload(raw))


def _secrets(site: Site, name: str) -> tuple[Secret, ...]:
    now, old = (getattr(site.settings, f"{name}_secret{suffix}") for suffix in ("", "_old"))
    if not now and not old:
        log.warning(
            "refused a webhook of %s: no secret is set; set PUSHLIVE_%s_SECRET (or …_SECRET_FILE) to the "
            "webhook's secret and restart the service",
            name,
            name.upper(),
        )
        raise Refused(403, f"webhooks of {name} are not set up here", trace="no secret")
    return (now, old)


def _payload(raw: bytes) -> dict[str, Any]:
    try:
        if request.mimetype == "application/x-www-form-urlencoded":  # GitHub's other content type
            raw = parse_qs(raw, max_num_fields=8).get(b"payload", [b""])[0]
        payload = json.loads(raw)
    except RecursionError as error:
        raise Malformed("the JSON is nested too deep") from error
    except ValueError as error:
        raise Malformed("the body is not JSON") from error
    if not isinstance(payload, dict):
        raise Malformed("the JSON is not an object")
    return payload


def _answer(site: Site, provider: str, parsed: Parsed) -> ResponseReturnValue:
    if isinstance(parsed, Ignored):
        return {"ignored": parsed.reason}
    pipelines = site.desk.pipelines_of_url(parsed.urls)
    if not pipelines:
        raise Refused(404, "unknown repository", trace="unknown repository")
    branches = {pipeline: site.desk.branch_of(pipeline) for pipeline in pipelines}
    if reason := _irrelevant(parsed, branches):
        return {"ignored": reason}
    wanted = [name for name, branch in branches.items() if parsed.ref == f"refs/heads/{branch}"]
    by = Actor(parsed.pusher, "", address(site), f"webhook:{provider}")
    accepted = [site.desk.accept(_push(provider, name, parsed), by) for name in wanted]
    notes = [note for one in accepted for note in one.notes]
    return {"runs": [one.run.id for one in accepted], "notes": notes}, 202


def _irrelevant(parsed: Pushed, branches: dict[str, str]) -> str:
    if parsed.ref.startswith("refs/tags/"):
        return "a tag was pushed; only branches are deployed"
    if parsed.deleted:
        return "a branch was deleted; there is nothing to deploy"
    if parsed.ref not in {f"refs/heads/{branch}" for branch in branches.values()}:
        return f"another branch was pushed; deployed are: {', '.join(sorted(set(branches.values())))}"
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
        received=pushlive_clock(),
    )
