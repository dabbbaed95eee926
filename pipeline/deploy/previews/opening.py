"""Previews are opened for pushes to branches and pull requests, and begin to close."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from pipeline.config.models import Config
from pipeline.config.previews.keys import Previews as Keys
from pipeline.config.previews.names import is_preview, pipeline_of
from pipeline.deploy.previews.addresses import address
from pipeline.deploy.services import Services
from pipeline.domain import audit_chain
from pipeline.domain.audit_chain import Entry, Who
from pipeline.domain.previews import rules
from pipeline.domain.previews.records import Preview, Previews, PreviewState
from pipeline.domain.run import Push
from pipeline.errors import RequestError
from pipeline.lib.units import show_time

HEADS = "refs/heads/"


class NoPreview(RequestError):
    """A branch gets none: there are as many as `max` allows."""


@dataclass(frozen=True)
class Wish:
    """A push to a branch that is to have a preview. ``url``: of another repository that has it; ``request``: the number
    of its pull request."""

    pipeline: str
    branch: str
    commit: str = ""
    url: str = ""
    request: int = 0


def takers(config: Config, pipelines: tuple[str, ...], ref: str) -> tuple[str, ...]:
    """Those of the pipelines that make a preview of that branch."""
    if not ref.startswith(HEADS):
        return ()
    branch = ref.removeprefix(HEADS)
    found = ((name, config.pipelines[name].previews) for name in pipelines if not is_preview(name))
    return tuple(name for name, keys in found if keys and keys.branches.matching(branch) is not None)


class Openings:
    """``now``: the wall clock."""

    def __init__(self, services: Services, now: Callable[[], float]) -> None:
        self._store, self._configurations = services.store, services.configurations
        self._settings, self._now = services.settings, now

    def open(self, wish: Wish, by: Who) -> Preview:
        """The preview of that branch with this push; new if there is none. Idempotent. Raises NoPreview."""
        _, config = self._configurations.current()
        own = config.pipelines.get(wish.pipeline)
        if own is None or own.previews is None:
            raise RequestError(
                f"{wish.pipeline} has no `previews` in pipelines.yaml.", advice="Add the key first."
            )
        keys, now = own.previews, self._now()
        base = self._store.head(wish.pipeline, HEADS + own.source.branch)
        who = audit_chain.actor(by)
        wanted = Preview(
            "",
            wish.pipeline,
            wish.branch,
            opened=now,
            pushed=now,
            commit=wish.commit,
            base=base,
            by=who.name,
            engine=own.render(keys.from_).engine.key,
            url=wish.url,
            request=wish.request,
        )

        def act(found: Previews) -> tuple[Previews, tuple[Entry, ...], Preview]:
            known = rules.of_branch(found, wish.pipeline, wish.branch, wish.url, wish.request)
            counts = known is not None and known.state != PreviewState.CLOSED
            if not counts and (why := rules.refused(found, keys, wish.pipeline, now)):
                raise NoPreview(
                    f"{wish.branch} has no preview: {why}.", advice=ADD.format(wish.pipeline, wish.branch)
                )
            made = rules.opened(found, keys, wanted)
            state = PreviewState.WAITING if rules.must_wait(made, wish.commit) else PreviewState.OPEN
            made = replace(made, state=state, commit=wish.commit or (known.commit if known else ""))
            if not known or not known.alive:
                made = replace(made, before=self._store.last_run(made.name))
            if known and known.state == state:
                return {**found, made.name: made}, (), made
            entry = self._entry(by, "preview open", made, before=known.state if known else "", after=state)
            return {**found, made.name: made}, (entry,), made

        return self._store.previews.change(act)

    def pushed(self, push: Push, by: Who) -> Preview | None:
        """The preview that the push belongs to: that of its pipeline, or of its branch. None if it is no push of a
        preview. Raises NoPreview."""
        if is_preview(push.pipeline):
            found = self._store.previews.of(push.pipeline)
            if found is None or not found.alive:
                return None
            return self.open(Wish(found.pipeline, found.branch, push.commit, found.url, found.request), by)
        _, config = self._configurations.current()
        if push.pipeline not in config.pipelines or not takers(config, (push.pipeline,), push.ref):
            return None
        return self.open(Wish(push.pipeline, push.ref.removeprefix(HEADS), push.commit), by)

    def allow(self, name: str, commit: str, by: Who) -> Preview:
        """A person allows that commit of another repository. Idempotent. Raises RequestError."""
        who = audit_chain.actor(by).name

        def act(found: Previews) -> tuple[Previews, tuple[Entry, ...], Preview]:
            one = known(found, name)
            if not one.foreign:
                raise RequestError(f"{name} is of the pipeline's own repository; nothing has to be allowed.")
            if not one.alive:
                raise RequestError(f"{name} is closed: {one.reason}.", advice="It opens with the next push.")
            if commit and not one.commit.startswith(commit):
                raise RequestError(
                    f"{name} is at {one.commit[:7]} now, not at {commit[:7]}.",
                    advice=f"Look at {one.commit[:7]}, then allow that.",
                )
            made = replace(one, state=PreviewState.OPEN, allowed=one.commit, allowed_by=who)
            entry = self._entry(by, "preview allow", made, before=one.state, after=made.state)
            return {**found, name: made}, (() if made == one else (entry,)), made

        return self._store.previews.change(act)

    def close(self, name: str, reason: str, by: Who) -> Preview:
        """From now on it goes: the keeper removes all that it has. Idempotent. Raises RequestError if there is none."""
        who = audit_chain.actor(by).name

        def act(found: Previews) -> tuple[Previews, tuple[Entry, ...], Preview]:
            one = known(found, name)
            if not one.alive:
                return found, (), one
            made = replace(one, state=PreviewState.CLOSING, reason=reason, closed_by=who)
            entry = self._entry(by, "preview close", made, reason, before=one.state, after=made.state)
            return {**found, name: made}, (entry,), made

        return self._store.previews.change(act)

    def of_branch(
        self, pipelines: tuple[str, ...], branch: str, url: str = "", request: int = 0
    ) -> list[Preview]:
        """Those of the branch that may have runs."""
        found = self._store.previews.all()
        mine = (rules.of_branch(found, name, branch, url, request) for name in pipelines)
        return [one for one in mine if one and one.alive]

    def says(self, one: Preview) -> str:
        """Where the preview is, and until when, for the one who pushed."""
        keys = self.keys(one)
        until = f", until {show_time(rules.ends(one, keys))} or the next push" if keys else ""
        first = "; what it had is removed first, with its data" if one.leftover else ""
        return f"preview {one.name} of {one.label}: {self.address(one)}{until}{first}"

    def keys(self, one: Preview) -> Keys | None:
        own = self._configurations.current()[1].pipelines.get(one.pipeline)
        return own.previews if own else None

    def address(self, one: Preview) -> str:
        """Its URL, or words instead of one."""
        return address(self._settings, self._configurations.current()[1], one.name)

    def _entry(self, by: Who, act: str, one: Preview, why: str = "", *, before: str, after: str) -> Entry:
        return audit_chain.entry(
            by, act, self._now(), pipeline=one.pipeline, environment=one.name, why=why,
            detail=f"{one.label} {one.commit[:7]}".strip(), before=before, after=after,
        )  # fmt: skip


ADD = "Then `pushlive preview add {} '{}'`, or the next push, makes it."


def known(found: Previews, name: str) -> Preview:
    """Raises RequestError."""
    if name in found:
        return found[name]
    names = ", ".join(one.name for one in found.values() if one.state != PreviewState.CLOSED) or "none"
    whose = f" of {pipeline_of(name)}" if is_preview(name) else ""
    raise RequestError(f"there is no preview {name[:80]!r}{whose}.", advice=f"There are: {names}.")
