"""Faults tried on several services at once: each as often as it says, whatever becomes of one service."""

from __future__ import annotations

import threading
from collections import Counter
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from tests.faults import session as sessions
from tests.faults.registry import Fault
from tests.faults.session import LANES, Session, bounded
from tests.faults.trial import Result


def fault(name: str, scene: str, times: int = 1) -> Fault:
    return Fault(name, (1,), name, scene, lambda trial: None, times)


CHOSEN = [
    fault("killed", "main", 9),
    *(fault(f"store-{number}", "alone") for number in range(6)),
    fault("not-in-the-bounded-form", "alone", 0),
    fault("disk", "own"),
    fault("many", "large"),
]


class Services:
    """Opens nothing real; those whose kind is ``broken`` fail at the opening or at the end."""

    def __init__(self, broken: str = "", at: str = "opening") -> None:
        self.broken, self.at = broken, at
        self.opened: Counter[str] = Counter()
        self.lock = threading.Lock()

    def __call__(self, kind: str):
        @contextmanager
        def service():
            with self.lock:
                self.opened[kind] += 1
            if (self.broken, self.at) == (kind, "opening"):
                raise AssertionError("not true within 40 s")
            yield SimpleNamespace(kind=kind, names=("one", "two", "three"), pushed_at={})
            if (self.broken, self.at) == (kind, "end"):
                raise AssertionError("not ended within 60 s")

        return service


@pytest.fixture
def tried(monkeypatch):
    """What was tried: name of the fault, service, application, seed."""
    found = []

    def attempt(fault, scene, name, seed):
        found.append((fault.name, scene.kind, name, seed))
        return Result(fault, "", [], [], 1.0)

    monkeypatch.setattr(sessions, "attempt", attempt)
    return found


def test_each_fault_is_tried_as_often_as_it_says_on_its_kind_of_service(tried, capsys):
    session, services = Session("seed"), Services()
    bounded(session, CHOSEN, services)
    wanted = {one.name: one.times for one in CHOSEN if one.times}
    assert Counter(name for name, *_ in tried) == wanted
    assert {name: tally.survived for name, tally in session.tallies.items()} == wanted
    assert {scene for name, scene, *_ in tried if name.startswith("store")} == {"alone"}
    assert len({seed for *_, seed in tried}) == len(tried)
    assert session.good
    lines = capsys.readouterr().out.splitlines()
    assert sorted(lines) == sorted(f"✓ {name}: 1.0 s" for name, times in wanted.items() for _ in range(times))


def test_the_same_seed_gives_each_try_the_same_chance(tried, capsys):
    bounded(Session("seed"), CHOSEN, Services())
    first = {(name, seed) for name, _, _, seed in tried}
    tried.clear()
    bounded(Session("seed"), CHOSEN, Services())
    assert {(name, seed) for name, _, _, seed in tried} == first


@pytest.mark.parametrize("kind", ["main", "own", "large"])
def test_a_service_that_cannot_be_opened_ends_no_other(tried, capsys, kind):
    session = Session("seed")
    bounded(session, CHOSEN, Services(kind))
    left_out = {one.name for one in CHOSEN if one.scene == kind or not one.times}
    assert {name for name, *_ in tried} == {one.name for one in CHOSEN} - left_out
    assert (session.good, session.broken) == (False, [kind])
    assert "not true within 40 s" in capsys.readouterr().out


def test_a_service_that_cannot_be_taken_away_is_no_success(tried, capsys):
    session = Session("seed")
    bounded(session, CHOSEN, Services("large", "end"))
    assert {name for name, *_ in tried} == {one.name for one in CHOSEN if one.times}
    assert not session.good


def test_one_fault_alone_needs_one_service(tried, capsys):
    services = Services()
    bounded(Session("seed"), [fault("store", "alone")], services)
    assert services.opened == {"alone": 1}
    assert [name for name, *_ in tried] == ["store"]


def test_every_kind_of_service_is_in_a_lane():
    assert {kind for lane in LANES for kind in lane} == {kind for kinds in sessions.SCENES for kind in kinds}
