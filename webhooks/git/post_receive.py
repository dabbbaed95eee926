"""What our git hook asks: accept the pushes, and tell their story until they end or wait for a person."""

from __future__ import annotations

import hmac
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

from flask import Blueprint, Response, request
from flask.typing import ResponseReturnValue

from pipeline.domain.audit_chain import Actor
from pipeline.domain.run import Outcome, Push, Run
from pipeline.errors import NotFound, PushliveError, StoreUnavailable
from pipeline.lib.text import summary
from webhooks import telling
from webhooks.answers import pushlive_clock
from webhooks.git.hook import END, TICK
from webhooks.security.limits import received
from webhooks.site import Site

BODY_LIMIT = 8 << 20  # a push of very many refs
SAID_AT_MOST = 5  # refs that are not deployed


@dataclass(frozen=True)
class Update:
    before: str
    after: str
    ref: str


def blueprint(site: Site) -> Blueprint:
    internal = Blueprint("internal", __name__)

    @internal.post("/internal/post-receive")
    def post_receive() -> ResponseReturnValue:
        given = request.headers.get("X-Pushlive-Internal", "").encode("utf-8", "replace")
        if not hmac.compare_digest(given, site.internal.reveal().encode()):
            raise NotFound("there is nothing here")
        with received(request, BODY_LIMIT, site.deadlines) as body:
            # Not splitlines(): git allows characters in a ref that it takes for the end of a line.
            repository, pusher, *refs = body.read().decode("utf-8", "replace").split("\n")
        updates = [Update(*ref.split(" ", 2)) for ref in refs if ref.count(" ") >= 2]
        role, _, where = request.headers.get("X-Pushlive-Pusher", "").partition(" ")
        said, runs = _accept(site, repository, Actor(pusher, role, where, "git"), updates)
        return Response(_story(site, said, runs), mimetype="text/plain")

    return internal


def _accept(site: Site, repository: str, pusher: Actor, updates: list[Update]) -> tuple[list[str], list[Run]]:
    """Stores every push before anything is said. The sweep finds what the store could not take now."""
    said: list[str] = []
    runs: list[Run] = []
    other: list[str] = []
    try:
        branches = {p: site.desk.branch_of(p) for p in site.desk.pipelines_of_repository(repository)}
        for update in updates:
            wanted = [p for p, branch in branches.items() if update.ref == f"refs/heads/{branch}"]
            if not wanted or not update.after.strip("0"):
                other.append(_why_not(update, branches))
                continue
            for pipeline in wanted:
                accepted = site.desk.accept(_push(pipeline, repository, pusher.name, update), pusher)
                runs.append(accepted.run)
                said += accepted.notes
    except StoreUnavailable as error:
        said.append(f"{error.message}: your push is kept in the repository and is taken up by itself.")
    more = len(other) - SAID_AT_MOST
    return [
        *other[:SAID_AT_MOST],
        *([f"… and {more} more refs that are not deployed"] if more > 0 else []),
        *said,
    ], runs


def _why_not(update: Update, branches: dict[str, str]) -> str:
    ref = summary(update.ref, 200)
    if not update.after.strip("0"):
        return f"{ref} was deleted: nothing to deploy."
    if ref.startswith("refs/tags/"):
        return f"The tag {ref.removeprefix('refs/tags/')} is kept; only branches are deployed."
    name, wanted = ref.removeprefix("refs/heads/"), sorted(set(branches.values()))
    ways = " or ".join(f"git push <remote> {name}:{branch}" for branch in wanted)
    return f"{name} is kept, but not deployed. To deploy it: {ways}"


def _push(pipeline: str, repository: str, pusher: str, update: Update) -> Push:
    return Push(
        pipeline=pipeline,
        repository=repository,
        ref=update.ref,
        commit=update.after,
        delivery=f"git:{uuid.uuid4()}",
        pusher=pusher,
        before=update.before if update.before.strip("0") else "",
        received=pushlive_clock(),
    )


def _story(site: Site, said: list[str], runs: list[Run]) -> Iterator[bytes]:
    """Lines, ticks while nothing happens (so that a pusher who left is noticed), and the end mark."""
    yield bytes((TICK,))  # sends the head at once, before anything happens
    for text in said:
        yield f"{summary(text)}\n".encode()
    for run in runs:
        try:
            yield from _one(site, run)
        except PushliveError as error:
            yield f"{summary(str(error))}\nThe run goes on: pushlive follow '{run.id}'\n".encode()
    yield bytes((END,))


def _one(site: Site, run: Run) -> Iterator[bytes]:
    last = ""
    for item in site.desk.follow(run.pipeline, run.number):
        if item is None:
            yield bytes((TICK,))
            continue
        for last in telling.lines(item[1]):
            yield f"{last}\n".encode()
    # The end says by itself how to revert, or that there is nothing to revert to yet.
    if site.desk.run(run.pipeline, run.number).outcome is Outcome.LIVE and "revert" not in last:
        yield f"To take it back: pushlive revert {run.pipeline}\n".encode()
