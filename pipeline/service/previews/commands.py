"""`pushlive preview`: what people do about previews."""

from __future__ import annotations

import shlex
from dataclasses import replace
from functools import cached_property
from typing import Any

from pipeline.config.models import Config
from pipeline.deploy.admission import Accepted
from pipeline.deploy.previews.opening import HEADS, NoPreview, Openings, Wish, known, takers
from pipeline.deploy.previews.requests import PullRequest
from pipeline.domain.audit_chain import Who
from pipeline.domain.previews import rules
from pipeline.domain.previews.records import Preview, PreviewState
from pipeline.domain.run import Push, Run
from pipeline.errors import NotFound, RequestError
from pipeline.service.audited import Audited
from pipeline.service.previews.shown import shown


class PreviewCommands(Audited):
    def accept(self, push: Push, by: Who = "") -> Accepted:
        """See ``Commands.accept``."""
        raise NotImplementedError

    def deploy(self, pipeline: str, by: Who, *, commit: str = "") -> Run:
        """See ``Commands.deploy``."""
        raise NotImplementedError

    @cached_property
    def _openings(self) -> Openings:
        return Openings(self._services, self._clock.now)

    def previews(self, pipeline: str = "") -> list[dict[str, Any]]:
        """Those that are there, by name: see ``service.previews.shown.shown``. Raises NotFound."""
        config = self._config()
        if pipeline:
            self._known(config, pipeline)
        found = self._store.previews.all().values()
        return [
            shown(self._settings, config, self._with_commit(one))
            for one in sorted(found, key=lambda one: one.name)
            if one.state != PreviewState.CLOSED and pipeline in ("", one.pipeline, one.name)
        ]

    def _with_commit(self, one: Preview) -> Preview:
        """One that was made without a push has the commit that its last run fetched."""
        runs = () if one.commit else self._store.recent(one.name, 1, readable=True)
        return replace(one, commit=runs[0].commit) if runs else one

    def preview_takers(self, pipelines: tuple[str, ...], ref: str) -> tuple[str, ...]:
        """Those of the pipelines that make a preview of that branch."""
        return takers(self._config(), pipelines, ref)

    def remove_preview(self, name: str, by: Who) -> tuple[str, ...]:
        """It goes with its data. Idempotent. Raises NotFound."""
        self.insist_on_store()
        name = self._preview(name).name
        one = self._openings.close(name, f"by {_name(by)}", by)
        self._move_entries()
        if one.state == PreviewState.CLOSED:
            return (f"{name} is removed already: {one.reason}.",)
        return (
            f"{name} is being removed, with its containers, accessories and data. Its runs stay readable.",
        )

    def close_previews(
        self,
        pipelines: tuple[str, ...],
        branch: str,
        reason: str,
        by: Who,
        *,
        url: str = "",
        request: int = 0,
    ) -> tuple[str, ...]:
        """Those of a branch, or of a pull request from another repository; a line about each."""
        said = []
        for one in self._openings.of_branch(pipelines, branch, url, request):
            self._openings.close(one.name, reason, by)
            said.append(f"the preview {one.name} is removed, with its data: {reason}")
        self._move_entries()
        return tuple(said)

    def pull_request(
        self, pipelines: tuple[str, ...], asked: PullRequest, by: Who
    ) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """A pull request was opened, got another head, or was closed: the ids of runs, and notes; nothing if none of
        the pipelines has previews of it."""
        config, runs, notes = self._config(), list[str](), list[str]()
        if asked.closed:
            why = f"pull request #{asked.number} was {asked.closed}"
            url, number = asked.url, asked.number
            return (), self.close_previews(pipelines, asked.branch, why, by, url=url, request=number)
        for name in pipelines:
            own = config.pipelines[name]
            if not own.previews or not own.previews.pull_requests or own.source.branch != asked.base:
                continue
            try:
                wish = Wish(name, asked.branch, asked.commit, asked.url, asked.number)
                accepted = self.accept(_push(self._openings.open(wish, by).name, asked), by)
            except NoPreview as error:
                notes.append(str(error))
                continue
            runs.append(accepted.run.id)
            notes += accepted.notes
            if accepted.run.outcome:
                notes.append(f"{accepted.run.id}: {accepted.run.reason}")
        return tuple(runs), tuple(notes)

    def add_preview(self, pipeline: str, branch: str, by: Who) -> Run:
        """One for a branch that has none, or a new run of the one that it has. Raises NotFound, and RequestError for a
        branch of which pipelines.yaml says nothing, or which is not there, as far as that is known without a fetch."""
        self.insist_on_store()
        config = self._config()
        own = self._known(config, pipeline)
        if own.previews is None or own.previews.branches.matching(branch) is None:
            what = f"only of {own.previews.branches}" if own.previews else "of no branch"
            raise RequestError(
                f"{pipeline} has previews {what}, not of {branch[:80]!r}.",
                advice=f"`previews.branches` under pipelines.{pipeline} in pipelines.yaml says of which.",
            )
        one = self._openings.open(Wish(pipeline, branch, self._head(config, pipeline, branch)), by)
        return self.deploy(one.name, by)

    def _head(self, config: Config, pipeline: str, branch: str) -> str:
        """The branch's commit, "" if its repository is elsewhere. Raises RequestError if the branch is not there."""
        repository = config.repository_of(pipeline)
        commit = self._operations.head(repository, branch) if repository else ""
        if repository and not commit:
            address = f"{self._settings.url}/git/{repository}.git"
            raise RequestError(
                f"The repository {repository} has no branch {branch[:80]!r}, so it gets no preview.",
                advice=f"Push it, which makes the preview as well: `git push {address} {shlex.quote(branch[:80])}`.",
            )
        return commit

    def allow_preview(self, name: str, by: Who, *, commit: str = "") -> Run:
        """A commit of another repository is built and deployed. ``commit``: the one that was looked at, or its first
        digits; RequestError if the branch has moved since."""
        self.insist_on_store()
        name = self._preview(name).name
        one = self._openings.allow(name, commit, by)
        self._move_entries()
        return self.deploy(name, by, commit=one.commit)

    # ── for the other commands ───────────────────────────────────────────────

    def _previewed(self, push: Push, by: Who) -> tuple[Push, tuple[str, ...]]:
        """The push as one of its branch's preview, if it is that, and what there is to say about it."""
        one = self._openings.pushed(push, by)
        if one is None:
            return push, ()
        why = rules.why_it_waits(one, push.commit) if rules.must_wait(one, push.commit) else ""
        push = replace(push, pipeline=one.name, skip=push.skip or why)
        return push, (self._openings.says(one),)

    def _removed_up_to(self, pipeline: str) -> int:
        """The number of a preview's last run of which nothing is there any more; 0 for every other pipeline."""
        one = self._store.previews.of(pipeline)
        return one.before if one else 0

    def _refuse_not_allowed(self, pipeline: str, commit: str) -> None:
        """Raises RequestError for a commit of another repository that no one has allowed."""
        one = self._store.previews.of(pipeline)
        if one and one.foreign and not (commit and one.allowed.startswith(commit)):
            raise RequestError(
                f"{one.label} comes from another repository, and no one has allowed its commit.",
                advice=f"Look at {one.commit[:7]}, then `pushlive preview allow {one.name} --commit {one.commit[:7]}`.",
            )

    def _preview(self, name: str) -> Preview:
        """Also by its pull request, as in ``hello#12``. Raises NotFound."""
        found = self._store.previews.all()
        pipeline, _, number = name.partition("#")
        asked = [one for one in found.values() if one.pipeline == pipeline and str(one.request) == number]
        if number and (newest := max(asked, key=lambda one: one.opened, default=None)):
            return newest
        try:
            return known(found, name)
        except RequestError as error:
            raise NotFound(error.message, advice=error.advice) from error


def _push(name: str, asked: PullRequest) -> Push:
    return Push(
        name,
        asked.repository,
        HEADS + asked.branch,
        asked.commit,
        asked.delivery,
        asked.pusher,
        asked.message,
    )


def _name(by: Who) -> str:
    return by if isinstance(by, str) else by.name
