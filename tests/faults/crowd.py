"""Very many pushes at once: duplicates, forced ones, deliveries in the wrong order, and workers that die meanwhile."""

from __future__ import annotations

import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from tests.faults.judge import Accepted
from tests.faults.kills import STEPS, WHO
from tests.faults.registry import fault
from tests.faults.scene import application
from tests.faults.traps import Trap
from tests.faults.trial import SETTLED, Trial
from tests.support.remote_repository import RemoteRepository
from tests.support.waiting import until

PUSHES = 8  # of each application
KILLS = 2
LATE = 1.5  # seconds that a webhook may come after its push


@dataclass
class Sender:
    """One remote repository, pushed to over and over. ``answers``: by delivery, the runs that were named."""

    remote: RemoteRepository
    random: random.Random
    answers: dict[str, set[str]] = field(default_factory=dict)
    accepted: list[Accepted] = field(default_factory=list)
    _late: list[threading.Timer] = field(default_factory=list)

    def push_all(self, number: int) -> None:
        for count in range(number):
            if count and self.random.random() < 0.2:
                commit = self._force_back()
            else:
                commit = self.remote.push(
                    application(f"version {count} {self.random.random()}"), f"Push {count}"
                )
            delivery = f"{self.remote.name}-{count}-{self.random.random()}"
            for _ in range(self.random.choice((1, 1, 2, 3))):
                self._later(commit, delivery)
            self._later(commit, delivery)
        for timer in self._late:
            timer.join(60)

    def _force_back(self) -> str:
        clone = self.remote.clone
        if clone.git("rev-list", "--count", "HEAD").strip() != "1":
            clone.git("reset", "-q", "--hard", "HEAD~1")
        clone.git("push", "-q", "-f", "pushlive", "main")
        return clone.head

    def _later(self, commit: str, delivery: str) -> None:
        timer = threading.Timer(self.random.uniform(0.0, LATE), self._deliver, (commit, delivery))
        timer.start()
        self._late.append(timer)

    def _deliver(self, commit: str, delivery: str) -> None:
        """As a server does: again, until it is taken."""
        end = time.monotonic() + 30
        while time.monotonic() < end:
            status, answer = self.remote.deliver(commit, delivery)
            if status == 202:
                self.answers.setdefault(delivery, set()).update(answer["runs"])
                self.accepted.append(Accepted(self.remote.name, commit, tuple(answer["runs"])))
                return


def _together(trial: Trial, pushes: int) -> None:
    names = trial.scene.away_names
    senders = [Sender(trial.scene.away(name), random.Random(f"{trial.random.random()}")) for name in names]
    places = [place for found in STEPS.values() for place in found if place[0] != "engine.command"]
    caught = trial.random.sample(names, KILLS)
    for name in caught:
        call, when, nth = trial.random.choice(places)
        Trap(call, when, trial.random.choice(WHO), nth).write(trial.scene.traps, name)
    trial.push()
    began = time.monotonic()
    with ThreadPoolExecutor(len(senders)) as pool:
        for done in [pool.submit(sender.push_all, pushes) for sender in senders]:
            done.result()
    for sender in senders:
        trial.accepted += sender.accepted
        several = {delivery: runs for delivery, runs in sender.answers.items() if len(runs) != 1}
        assert not several, f"one delivery, several runs: {several}"
        assert len(sender.answers) == pushes, "a webhook was not taken within 30 s"
    for sender in senders:
        head = sender.remote.clone.head
        until(lambda one=sender, head=head: one.remote.live_at(head), 4 * SETTLED)  # type: ignore[misc]
    trial.recovered(began)
    for name in caught:
        trial.scene.forget(name)


@fault(
    "crowd",
    5,
    8,
    9,
    35,
    words="40 pushes to 5 applications at once, two workers killed",
    scene="alone",
    times=0,
)
def crowd(trial: Trial) -> None:
    _together(trial, PUSHES)


@fault(
    "crowd-large",
    5,
    8,
    9,
    35,
    words="200 pushes to 20 applications, 8 workers, two killed",
    scene="large",
)
def crowd_large(trial: Trial) -> None:
    _together(trial, 10)
