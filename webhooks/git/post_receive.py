"""The endpoint of our git hook: accepts the pushes and streams their progress until they end or wait for a person."""

from __future__ import annotations

import hmac
import re
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from flask import Blueprint, Response, request
from flask.typing import ResponseReturnValue

from pipeline.config.previews.names import is_preview
from pipeline.deploy.previews.opening import NoPreview
from pipeline.domain.audit_chain import Actor
from pipeline.domain.run import Outcome, Push, Run
from pipeline.errors import NotFound, PushliveError, StoreUnavailable, StoreUnknown
from pipeline.lib import push_notes
from pipeline.lib.push_notes import Update, updates
from pipeline.lib.skipping import by_option
from pipeline.lib.text import summary
from webhooks import event_lines
from webhooks.context import WebContext
from webhooks.git import configuration
from webhooks.git.hook import END, TICK
from webhooks.security.intake import REFS_LIMIT
from webhooks.security.limits import BodyRefused, received

REFS_REPORTED = 5  # that are not deployed


PUSH_ID = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class Report:
    """What the hook tells of one push. ``push``: the name of its note."""

    repository: str
    push: str
    pusher: Actor
    updates: tuple[Update, ...]
    skip: str  # why none of it is to be deployed


def blueprint(web: WebContext) -> Blueprint:
    internal = Blueprint("internal", __name__)

    @internal.post("/internal/post-receive")
    def post_receive() -> ResponseReturnValue:
        given = request.headers.get("X-Pushlive-Internal", "").encode("utf-8", "replace")
        if not hmac.compare_digest(given, web.internal.reveal().encode()):
            raise NotFound("not found")
        try:
            raw = received(request, REFS_LIMIT).read()
        except BodyRefused as error:
            raise error.as_refused() from error
        # Not splitlines(): a ref may contain characters that it treats as line ends.
        repository, pusher, *refs = raw.decode("utf-8", "replace").split("\n")
        role, _, where = request.headers.get("X-Pushlive-Pusher", "").partition(" ")
        push = request.headers.get("X-Pushlive-Push", "")
        who, push = Actor(pusher, role, where, "git"), push if PUSH_ID.fullmatch(push) else uuid.uuid4().hex
        skip = by_option(_option(web, repository, push))
        notes, runs = _accept(web, Report(repository, push, who, updates(refs), skip))
        return Response(_progress(web, notes, runs), mimetype="text/plain")

    return internal


def _accept(web: WebContext, report: Report) -> tuple[list[str], list[Run]]:
    """Stores every push before anything is printed. What the store did not accept keeps its note, and the keeper finds
    it."""
    notes: list[str] = []
    runs: list[Run] = []
    other: list[str] = []
    if configuration.is_here(web, report.repository):
        return _take_configuration(web, report), runs
    try:
        names = tuple(
            one for one in web.service.pipelines_of_repository(report.repository) if not is_preview(one)
        )
        branches = {name: web.service.branch_of(name) for name in names}
        for update in report.updates:
            wanted = [p for p, branch in branches.items() if update.ref == f"refs/heads/{branch}"]
            wanted += web.service.preview_takers(names, update.ref)
            if update.deletes and (closed := _close_previews(web, names, report, update)):
                notes += closed
                continue
            if not wanted or update.deletes:
                other.append(_why_not_deployed(update, branches))
                continue
            for pipeline in wanted:
                try:
                    accepted = web.service.accept(_push(pipeline, report, update), report.pusher)
                except NoPreview as error:
                    notes.append(str(error))
                    continue
                runs.append(accepted.run)
                notes += accepted.notes
        _forget(web, report)
    except StoreUnknown as error:  # it was lost after the push was let in
        notes.append(
            f"{error} Your push is in the repository; `pushlive deploy PIPELINE` starts its run afterwards."
        )
    except StoreUnavailable as error:
        problem = error.message.rstrip(".")
        notes.append(f"{problem}. Your push is in the repository; its run starts when the store is back.")
    more = len(other) - REFS_REPORTED
    return [
        *other[:REFS_REPORTED],
        *([f"… and {more} more refs that are not deployed"] if more > 0 else []),
        *notes,
    ], runs


def _close_previews(
    web: WebContext, names: tuple[str, ...], report: Report, update: Update
) -> tuple[str, ...]:
    branch = update.ref.removeprefix("refs/heads/")
    if branch == update.ref:
        return ()
    return web.service.close_previews(names, branch, "its branch was deleted", report.pusher)


def _take_configuration(web: WebContext, report: Report) -> list[str]:
    """What is not in force yet keeps its note, and the keeper finds it."""
    place = [one for one in report.updates if configuration.brings(web, [one])]
    notes = [configuration.why_not(web, one) for one in report.updates if one not in place][:REFS_REPORTED]
    try:
        if place:
            notes += configuration.told(web.service.take_configuration(report.pusher))
        _forget(web, report)
    except PushliveError as error:
        notes.append(
            f"{error} Your push is in the repository; it comes into force as soon as it can be read."
        )
    return notes


def _note(web: WebContext, repository: str, push: str) -> Path:
    return push_notes.file_of(web.ensure_repository(repository), push)


def _option(web: WebContext, repository: str, push: str) -> str:
    """The option of the push, as its note has it; "" if the keeper was faster and has recorded the push."""
    try:
        return push_notes.parsed(push, _note(web, repository, push).read_bytes()).option
    except OSError:
        return ""


def _forget(web: WebContext, report: Report) -> None:
    with suppress(OSError):  # the keeper sees that it is recorded
        _note(web, report.repository, report.push).unlink(missing_ok=True)


def _why_not_deployed(update: Update, branches: dict[str, str]) -> str:
    ref = summary(update.ref, 200)
    if update.deletes:
        return f"{ref} was deleted; there is nothing to deploy."
    if ref.startswith("refs/tags/"):
        return f"Tag {ref.removeprefix('refs/tags/')} is stored. Only branches are deployed."
    name, wanted = ref.removeprefix("refs/heads/"), sorted(set(branches.values()))
    commands = " or ".join(f"git push REMOTE {name}:{branch}" for branch in wanted)
    return f"{name} is stored but not deployed. To deploy it: {commands}"


def _push(pipeline: str, report: Report, update: Update) -> Push:
    return Push(
        pipeline=pipeline,
        repository=report.repository,
        ref=update.ref,
        commit=update.after,
        delivery=f"git:{report.push}",  # as the keeper calls it: one run, if both take it
        pusher=report.pusher.name,
        before=update.before if update.before.strip("0") else "",
        skip=report.skip,
        received=time.time(),
    )


def _progress(web: WebContext, notes: list[str], runs: list[Run]) -> Iterator[bytes]:
    """Lines, a keep-alive while nothing happens (it detects a pusher who left), and the end mark."""
    yield bytes((TICK,))  # sends the headers at once
    for text in notes:
        yield f"{summary(text)}\n".encode()
    for run in runs:
        try:
            yield from _follow(web, run)
        except PushliveError as error:
            yield f"{summary(str(error))}\nThe run continues: `pushlive follow '{run.id}'`\n".encode()
    yield bytes((END,))


def _follow(web: WebContext, run: Run) -> Iterator[bytes]:
    said = False
    for item in web.service.follow(run.pipeline, run.number):
        if item is None:
            yield bytes((TICK,))
            continue
        for line in event_lines.lines(item[1]):
            yield f"{line}\n".encode()
        said = bool(item[1].data.get("more"))
    # The last event usually says how to revert, or that no revert is possible.
    if not said and web.service.run(run.pipeline, run.number).outcome is Outcome.LIVE:
        yield f"To revert: `pushlive revert {run.pipeline}`\n".encode()
