"""Old deliveries that come again: nothing goes backwards, whoever recorded them."""

from __future__ import annotations

from pipeline.domain.run import Outcome


def test_fault_05_an_old_delivery_returns_its_run_long_afterwards(world):
    first = world.accept(world.commit("one"), delivery="github:1")
    world.work()
    for text in ("two", "three"):
        world.push(text)
    commit = world.run(first.number).commit
    again = world.accept(commit, delivery="github:1")
    assert again.number == first.number
    world.work()
    assert world.serving()["live"] == 3
    assert world.store.last_run("hello") == 3


def test_fault_08_an_old_delivery_under_a_new_id_deploys_nothing_older(world):
    """A signature says nothing of when: a body that was overheard can be sent again, with an id of its own."""
    old = world.push("one")
    world.push("two")
    switches = (
        len([c for c in world.engine.calls if c[0] == "switch"]) if hasattr(world.engine, "calls") else 0
    )
    for number in range(5):
        run = world.accept(old.commit, delivery=f"replayed:{number}")
        world.work()
        assert world.run(run.number).outcome == Outcome.SUPERSEDED
        assert "is no longer the head" in world.run(run.number).reason
    assert world.serving() == {"dev": 2, "qa": 2, "live": 2}
    if switches:
        assert len([c for c in world.engine.calls if c[0] == "switch"]) == switches


def test_fault_08_a_replay_supersedes_no_newer_run(world):
    """It arrives last and is the newest run, while the head's own run has not begun."""
    old = world.push("one")
    head = world.accept(world.commit("two"))
    world.accept(old.commit, delivery="replayed")
    world.work()
    assert world.serving()["live"] == 2
    live = world.environment("live")
    assert world.store.release("hello", live.serving).commit == head.commit
    ends = [run.outcome for run in world.store.recent("hello", 10)]
    assert None not in ends


def test_fault_08_a_replay_after_a_revert_does_not_undo_it(world):
    """The head once more is held and in quarantine as before."""
    world.push("one")
    bad = world.push("two")
    world.revert()
    assert world.serving()["live"] == 1
    for number in range(3):
        world.accept(bad.commit, delivery=f"replayed:{number}")
        world.work()
    assert world.serving()["live"] == 1
