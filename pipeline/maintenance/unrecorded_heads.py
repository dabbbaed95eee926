"""Pushes to the built-in git server that no run knows: a crash came between the ref and the record.

Only a noted push counts. A head that came about in any other way, or that became the head of a pipeline by a change of
pipelines.yaml, is not deployed; ``undeployed`` tells `pushlive status` of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from pipeline.config.models import Config
from pipeline.config.previews.names import is_preview
from pipeline.deploy.admission import Accepted
from pipeline.deploy.previews.opening import NoPreview, takers
from pipeline.domain.audit_chain import Actor, Who
from pipeline.domain.run import Push
from pipeline.errors import ConfigError, DamagedRecord, EngineFailed, RequestError
from pipeline.lib.push_notes import Note, Update
from pipeline.lib.skipping import by_option
from pipeline.maintenance.damage import Damage
from pipeline.maintenance.job import Job
from pipeline.ports.clock import Clock
from pipeline.ports.repositories import Repositories
from pipeline.store import Store
from pipeline.store.configurations import Configurations

UNMOVED = 3600.0  # seconds that a note is kept whose ref git has not moved: it may be about to
NOTED = "pushes-noted"  # the fact that this version has been here: every first push since then has a note
BRANCH = "refs/heads/"


class UnrecordedHeads(Job):
    """``accept``: takes a push."""

    def __init__(
        self,
        store: Store,
        configurations: Configurations,
        damage: Damage,
        accept: Callable[[Push, Who], Accepted],
        repositories: Repositories,
        clock: Clock,
    ) -> None:
        self._store, self._configurations, self._damage = store, configurations, damage
        self._accept, self.repositories, self._clock = accept, repositories, clock
        self._since: dict[tuple[str, str], float] = {}  # when a note was first seen
        self._unread: dict[str, str] = {}  # repositories that git could not read, and why
        self._deployed: dict[
            str, tuple[str, str]
        ] = {}  # by pipeline: the branch and the head that some run has
        self._previews: Callable[[str], tuple[str, ...]] = lambda _: ()  # which pipelines make one of a ref

    def run(self) -> list[str]:
        try:
            _, config = self._configurations.current()
        except ConfigError:
            return []
        found: list[str] = []
        present: set[tuple[str, str]] = set()
        unread: dict[str, str] = {}
        for repository, pipelines in _by_repository(config).items():
            branches = {name: config.pipelines[name].source.branch for name in pipelines}
            self._previews = partial(takers, config, tuple(pipelines))
            try:
                notes, said = self._repository(repository, branches)
            except DamagedRecord as error:
                self._damage.add(error)
                continue
            except (
                EngineFailed,
                RequestError,
            ) as error:  # git cannot read it: the others are swept all the same
                unread[repository] = str(error)
                continue
            present |= {(repository, note.push) for note in notes}
            found += said
        found += [
            f"pushes to {name} are not looked for: {why}"
            for name, why in unread.items()
            if self._unread.get(name) != why
        ]
        self._unread = unread
        self._since = {key: since for key, since in self._since.items() if key in present or key[0] in unread}
        if not unread and not self._store.facts.get(NOTED):
            self._store.facts.set(NOTED, "1")
        return found

    def _repository(self, repository: str, branches: dict[str, str]) -> tuple[tuple[Note, ...], list[str]]:
        """Its notes, and what was recorded now."""
        self._begin(branches, repository)
        heads = self.repositories.heads(repository)
        notes = self.repositories.noted(repository)
        found: list[str] = []
        for note in notes:
            found += self._look(branches, repository, note, heads)
        for name, branch in branches.items():
            try:
                self._tell(name, branch, heads, notes)
            except DamagedRecord as error:
                self._damage.add(error)
        return notes, found

    # ── one noted push ───────────────────────────────────────────────────────

    def _look(
        self, branches: dict[str, str], repository: str, note: Note, heads: dict[str, str]
    ) -> Iterator[str]:
        """Records what of it is not recorded, and removes the note once there is nothing more to come. ``branches``:
        those of the repository's pipelines."""
        now, key = self._clock.monotonic(), (repository, note.push)
        if key not in self._since:  # the hook reports a push within milliseconds
            self._since[key] = now
            return
        unmoved = False
        for update in note.updates:
            if update.deletes or not update.ref.startswith(BRANCH):
                continue
            branch = update.ref.removeprefix(BRANCH)
            if heads.get(branch) != update.after:  # not yet, or another push came after it
                unmoved = True
                continue
            names = [one for one, wanted in branches.items() if wanted == branch]
            for name in (*names, *self._previews(update.ref)):
                try:
                    yield from self._take(name, repository, note, update)
                except NoPreview as error:
                    yield str(error)
                except DamagedRecord as error:
                    self._damage.add(error)
                    return
        if not unmoved or now - self._since[key] > UNMOVED:
            self.repositories.forget(repository, note.push)

    def _take(self, name: str, repository: str, note: Note, update: Update) -> Iterator[str]:
        if self._store.head(name, update.ref) == update.after:
            return
        push = Push(
            name, repository, update.ref, update.after, f"git:{note.push}", note.pusher,
            before=update.before if update.before.strip("0") else "", skip=by_option(note.option),
        )  # fmt: skip
        accepted = self._accept(push, Actor(note.pusher, note.role, note.address, "git"))
        if not accepted.duplicate:
            yield f"{accepted.run.id}: {push.commit[:7]} was pushed but not recorded; its run starts now"

    # ── repositories of an earlier version, or of a backup ───────────────────

    def _begin(self, branches: dict[str, str], repository: str) -> None:
        """Notes what may have been pushed and not recorded before pushes were noted here."""
        if self.repositories.keeps_notes(repository):
            return
        heads, lost = self.repositories.heads(repository), []
        for name, branch in branches.items():
            head, ref = heads.get(branch, ""), BRANCH + branch
            known = self._store.head(name, ref)
            if head and head != known and (known or self._is_first(name, ref, head)):
                lost.append(Update(known or "0" * len(head), head, ref))
        self.repositories.keep_notes(repository, Note("before-notes", "", "", "", tuple(dict.fromkeys(lost))))

    def _is_first(self, name: str, ref: str, head: str) -> bool:
        """Whether the head may be the first push to a pipeline: no run is known, under no name of the pipeline."""
        if self._store.facts.get(NOTED) or self._store.last_run(name):
            return False
        return all(self._store.head(one, ref) != head for one in self._store.pipelines())

    # ── heads that nothing deploys ───────────────────────────────────────────

    def _tell(self, name: str, branch: str, heads: dict[str, str], notes: tuple[Note, ...]) -> None:
        """Stores the branch's head as ``undeployed`` while no push and no run of the pipeline has it."""
        head, ref = heads.get(branch, ""), BRANCH + branch
        if self._deployed.get(name) == (ref, head):
            return
        if any((one.ref, one.after) == (ref, head) for note in notes for one in note.updates):
            return
        value = head if head and self._is_undeployed(name, ref, head) else ""
        if self._store.facts.get(f"undeployed:{name}") != value:
            self._store.facts.set(f"undeployed:{name}", value)
        if not value:
            self._deployed[name] = (ref, head)

    def _is_undeployed(self, name: str, ref: str, head: str) -> bool:
        if self._store.head(name, ref) == head:
            return False
        return all(run.commit != head for run in self._store.recent(name, 50, readable=True))


def _by_repository(config: Config) -> dict[str, list[str]]:
    """The pipelines of each repository on the built-in server. A push to a preview's branch is taken for its
    pipeline."""
    found: dict[str, list[str]] = {}
    for name in config.pipelines:
        if is_preview(name):
            continue
        if repository := config.repository_of(name):
            found.setdefault(repository, []).append(name)
    return found
