"""Loads pipelines.yaml when it changes: the file, or the head of its repository."""

from __future__ import annotations

import threading

from pipeline.config.place.repository import ConfigRepository
from pipeline.deploy.configuring.taking import KEEPER, Taken, Taking
from pipeline.deploy.configuring.telling import Telling
from pipeline.deploy.configuring.wanted import wanted
from pipeline.deploy.services import Services
from pipeline.domain.audit_chain import Actor, Who
from pipeline.errors import EngineFailed, RequestError, TimedOut
from pipeline.lib.push_notes import Note
from pipeline.maintenance.job import Changes, Job
from pipeline.ports.clock import Clock
from pipeline.store import Store
from pipeline.store.configurations import Configurations

EVERY = 180.0  # seconds between two looks at a repository elsewhere without a webhook
SAVED = 10.0  # seconds after which a wrong file is told: it may be in the middle of being saved
UNMOVED = 3600.0  # seconds that a note is kept whose ref git has not moved


class Configuration(Job):
    """Reports what is wrong with the file once for each change."""

    def __init__(self, services: Services, clock: Clock) -> None:
        self._configurations, self._problems = services.configurations, Changes()
        self._telling, self._clock, self._wrong = (
            Telling(services.store, services.configurations.place),
            clock,
            ("", 0.0),
        )

    def run(self) -> list[str]:
        self._configurations.refresh()
        problem = self._configurations.problem()
        self._tell(problem)
        if self._problems.over(problem):
            self._problems.report("")
            return ["pipelines.yaml is valid again and in force"]
        return [
            f"{text}\nThe last good configuration stays in force until it is corrected."
            for text in self._problems.report(problem)
        ]

    def _tell(self, problem: str) -> None:
        """A file may be wrong for a moment while it is edited; what was pushed is not."""
        now = self._clock.monotonic()
        if self._wrong[0] != problem:
            self._wrong = (problem, now)
        if not problem:
            self._telling.right_again(self._clock.now())
            return
        refused = self._configurations.refused()
        if refused and (refused.commit or now - self._wrong[1] >= SAVED):
            self._telling.refused(refused)


class ConfigurationRepository(Job):
    """Takes what a push left in the configuration's repository if the service was killed before it did; looks at one
    elsewhere when a webhook says so, and now and then. ``taking``: None if the configuration is a file."""

    def __init__(
        self, taking: Taking | None, configurations: Configurations, store: Store, clock: Clock
    ) -> None:
        self._taking, self._configurations, self._store, self._clock = taking, configurations, store, clock
        self._thread: threading.Thread | None = None
        self._said: list[str] = []
        self._first, self._looked, self._handled = True, 0.0, ""
        self._since: dict[str, float] = {}  # when a note was first seen

    def run(self) -> list[str]:
        if self._taking is None:
            return []
        place = self._taking.place
        return self._hosted(self._taking, place) if place.repository else self._elsewhere()

    # ── on the built-in server ───────────────────────────────────────────────

    def _hosted(self, taking: Taking, place: ConfigRepository) -> list[str]:
        repositories, now = taking.repositories, self._clock.monotonic()
        if not repositories.keeps_notes(place.repository):
            repositories.keep_notes(place.repository, Note("before-notes", "", "", "", ()))
        notes = repositories.noted(place.repository)
        fresh = [note for note in notes if note.push not in self._since]
        self._since = {note.push: self._since.get(note.push, now) for note in notes}
        head = taking.head()
        if any(_brings(note, place, head) for note in fresh):
            return []  # the hook reports a push within milliseconds

        def pusher(commit: str) -> Who:
            note = next((one for one in notes if _brings(one, place, commit)), None)
            return Actor(note.pusher, note.role, note.address, "git") if note else KEEPER

        said = self._told(taking.take(pusher, again=self._first))
        self._first = False
        for note in notes:
            moved = not any(one.ref == place.ref for one in note.updates) or _brings(note, place, head)
            if note not in fresh and (moved or now - self._since[note.push] > UNMOVED):
                repositories.forget(place.repository, note.push)
        return said

    # ── elsewhere ────────────────────────────────────────────────────────────

    def _elsewhere(self) -> list[str]:
        """In a thread: a server that does not answer must hold up no repair."""
        if self._thread is not None and self._thread.is_alive():
            return []
        said, self._said = self._said, []
        asked, now = wanted(self._store), self._clock.monotonic()
        if self._first or asked.id != self._handled or now - self._looked >= EVERY:
            self._handled, self._looked = asked.id, now
            self._thread = threading.Thread(target=self.look, name="configuration", daemon=True)
            self._thread.start()
        return said

    def look(self) -> None:
        """Fetches the repository and takes its head; what went wrong is the configuration's problem until the next
        look."""
        if self._taking is None:
            return
        asked = wanted(self._store)
        try:
            taken = self._taking.take(asked.who, again=self._first)
        except (EngineFailed, RequestError, TimedOut) as error:
            self._configurations.trouble(str(error))
            return
        self._first = False
        self._said += self._told(taken)

    def _told(self, taken: Taken) -> list[str]:
        if not taken.changed:
            return []
        origin = self._configurations.origin(taken.digest)
        return [f"the configuration of {origin} is in force"]


def _brings(note: Note, place: ConfigRepository, commit: str) -> bool:
    return any((one.ref, one.after) == (place.ref, commit) for one in note.updates)
