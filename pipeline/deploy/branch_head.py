"""What a fetched head means for the run of a push: whether its commit is deployed, waited for, or overtaken. A head
that asked not to be deployed counts as the push before it."""

from __future__ import annotations

from collections.abc import Callable

from pipeline.config.models import Source as SourceConfig
from pipeline.deploy.admission import ignored, own_delivery
from pipeline.deploy.entry import put_back
from pipeline.deploy.run_context import RunContext
from pipeline.domain.run import Kind, Outcome, Run
from pipeline.errors import NotFound, Superseded
from pipeline.ports.clock import Watch
from pipeline.ports.source import Source

APPEARS = 120.0  # seconds within which a repository has the commit that its webhook named
SOONEST, LATEST = 2.0, 15.0  # seconds between two fetches: as many as it has waited, within these
RECENT = 50  # runs that are looked at


class BranchHead:
    """``accept_head``: takes the head as a push of its own."""

    def __init__(
        self,
        context: RunContext,
        source: Source,
        config: SourceConfig,
        accept_head: Callable[[str], None],
    ) -> None:
        self._context, self._source, self._config = context, source, config
        self._accept_head = accept_head
        self._key = context.run.pipeline
        self.head = ""

    def fetch(self, watch: Watch) -> None:
        """Sets ``head``, and returns if the run may go on. Raises Superseded if its commit is not to be deployed, and
        Parked if it is not there yet."""
        self._fetch(watch)
        run = self._context.run
        if run.kind != Kind.PUSH:
            return
        if self.head == run.commit:
            if run.awaited:
                self._after_others(run)
        elif not self._is_known(run.commit):
            self._await(run)
        elif run.awaited or not self._is_next(run):
            raise self._overtaken(run)
        else:
            text = f"{run.short} is no longer the head of {self._config.branch}, which moves faster than it is fetched"
            self._context.note(f"{text}; it is newer than what was built last, so it is deployed", "build")
            self._accept_head(self.head)

    def _fetch(self, watch: Watch) -> None:
        self.head = self._source.fetch(self._key, self._config, watch)
        if self._context.run.kind == Kind.PUSH and self.head != self._context.run.commit:
            self.head = self._to_deploy()

    def _to_deploy(self) -> str:
        """The head; if it asked not to be deployed, the newest of the pushes before it that did not."""
        ref, recent = self._context.run.ref, self._context.store.recent(self._key, RECENT, readable=True)
        if (
            not ignored(recent, ref, self.head)
            and not self._source.commit(self._key, self._config, self.head).skip
        ):
            return self.head
        wanted = (one for one in recent if one.kind == Kind.PUSH and one.outcome != Outcome.IGNORED)
        commits = frozenset(one.commit for one in wanted if one.ref == ref)
        return self._source.newest_of(self._key, self._config, self.head, commits) or self.head

    # ── a repository that is behind its webhook ──────────────────────────────

    def _await(self, run: Run) -> None:
        """Raises Parked: the run is back in the queue until the next fetch. Raises Superseded if its commit has not
        appeared in time, or if another push came meanwhile."""
        branch, now = self._config.branch, self._context.clock.now()
        if self._others(run):
            raise Superseded(f"another push came before {run.short} was in the repository.")
        if not self._was_deployed(run, self.head):
            self._accept_head(self.head)  # it is newer than what serves, and goes first
        if not run.awaited:
            text = f"{run.short} is not in the repository yet, and {branch} is at {self.head[:7]}"
            self._context.note(f"{text}: fetching again for up to {APPEARS:.0f} s", "build", "warning")
            self._context.update(awaited=now)
        waited = now - self._context.run.awaited
        if waited >= APPEARS:
            self._context.update(unseen=True)
            raise Superseded(
                f"{run.short} did not appear on {branch} within {APPEARS:.0f} s; {self.head[:7]} is its head. "
                "Deliver the webhook again once the repository has it."
            )
        raise put_back(self._context, now + min(max(SOONEST, waited), LATEST, APPEARS - waited))

    def _after_others(self, run: Run) -> None:
        """A commit that has appeared is the head: no run goes before it any more."""
        if self._newer(run):
            self._accept_head(self.head)
            branch = self._config.branch
            raise Superseded(
                f"{branch} was at another commit first; {run.short} follows in a run of its own."
            )

    def _others(self, run: Run) -> bool:
        """Whether a newer push to the branch was accepted, other than what this run found itself."""
        return not all(one.delivery.startswith(own_delivery(run, "")) for one in self._newer(run))

    def _newer(self, run: Run) -> list[Run]:
        newer = (one for one in self._pushes(run) if one.number > run.number)
        return [one for one in newer if one.outcome != Outcome.IGNORED]  # that take no other's place

    def _was_deployed(self, run: Run, head: str) -> bool:
        """Whether some run of the branch has this commit and was not superseded."""
        return any(one.commit == head and one.outcome != Outcome.SUPERSEDED for one in self._pushes(run))

    # ── a branch that moves on ───────────────────────────────────────────────

    def _is_next(self, run: Run) -> bool:
        """Whether the commit is deployed although it is not the head: the run before it was overtaken as well, so that
        nothing would go live while pushes keep coming, and it is newer than what was built last."""
        before = [one for one in self._pushes(run) if one.number < run.number and one.started]
        if not before or before[0].outcome != Outcome.SUPERSEDED or before[0].release:
            return False
        if not self._source.contains(self._key, self._config, self.head, run.commit):
            return False
        recent = self._context.store.recent(self._key, RECENT, readable=True)
        built = next((one for one in recent if one.release and one.kind != Kind.REVERT), None)
        return built is None or self._source.contains(self._key, self._config, run.commit, built.commit)

    # ── small helpers ────────────────────────────────────────────────────────

    def _pushes(self, run: Run) -> list[Run]:
        """The latest pushes to the branch but this one, newest first."""
        recent = self._context.store.recent(self._key, RECENT, readable=True)
        return [
            one for one in recent if (one.kind, one.ref) == (Kind.PUSH, run.ref) and one.number != run.number
        ]

    def _is_known(self, commit: str) -> bool:
        try:
            return bool(self._source.commit(self._key, self._config, commit))
        except NotFound:
            return False

    def _overtaken(self, run: Run) -> Superseded:
        """The head gets a run in case its own delivery was lost."""
        self._accept_head(self.head)
        return Superseded(f"{run.short} is no longer the head of {self._config.branch}; {self.head[:7]} is.")
