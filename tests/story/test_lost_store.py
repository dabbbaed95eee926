"""An empty store beside what runs: it was lost, and nothing is done until a person decides."""

from __future__ import annotations

import pytest

from pipeline.deploy import build_stage
from pipeline.domain.run import Outcome, State
from pipeline.errors import RequestError, StoreUnknown, TryAgain
from pipeline.lib.secret import Secret
from pipeline.store import Store, snapshot
from pipeline.store.origin import Beside
from tests.story.test_processes import ALONE


def lose(world) -> None:
    """What `mv data/store away` does."""
    world.store.client.delete(*world.store.client.keys(world.store.key() + "*"))


def test_fault_51_an_empty_store_beside_containers_changes_nothing(world):
    world.push("one")
    world.push("two")
    lose(world)
    before = dict(world.engine.contents), dict(world.engine.active)
    world.engine.calls.clear()
    keeper = world.another_keeper()
    said = keeper.tick()
    for _ in range(5):
        world.clock.sleep(10)
        said += keeper.tick()
    assert (world.engine.contents, world.engine.active) == before
    assert set(world.engine.names()) <= {"slots", "accessories"}
    assert len(said) == 1  # once, not in every round
    assert "hello/live (green) is on docker" in said[0]
    assert "`pushlive adopt`" in said[0]
    assert "`pushlive restore FILE`" in said[0]
    assert world.store.pipelines() == ()


@pytest.mark.parametrize(
    "act",
    [
        lambda world: world.accept(world.commit("three")),
        lambda world: world.commands.deploy("hello", "ann"),
        lambda world: world.commands.revert("hello", "ann"),
        lambda world: world.commands.hold("hello", "ann"),
        lambda world: world.commands.resume("hello", "ann"),
        lambda world: world.commands.gc("ann"),
        lambda world: world.commands.fix("ann"),
    ],
)
def test_fault_51_nothing_is_accepted_meanwhile(world, act):
    world.push("one")
    lose(world)
    with pytest.raises(StoreUnknown):
        act(world)
    assert world.store.last_run("hello") == 0
    assert not {"stop", "remove"} & set(world.engine.names())


def test_fault_51_a_process_that_knew_the_store_writes_nothing_into_an_empty_one(world):
    run = world.push("one")
    assert world.store.origin.known()
    lose(world)
    with pytest.raises(StoreUnknown):
        world.store.transact("hello", lambda tx: tx.put_run(run))
    assert world.store.last_run("hello") == 0


def test_a_new_installation_marks_its_store_and_goes_on(world):
    lose(world)
    assert not world.store.origin.known()
    assert world.keeper.tick() == []
    assert world.store.origin.known()
    assert world.push("one").outcome == Outcome.LIVE


def test_a_store_of_the_version_before_is_known_by_its_records(world):
    world.push("one")
    world.store.client.delete(world.store.key("fact", "known"))
    assert Store(world.redis, world.settings.instance).origin.known()
    assert world.store.client.exists(world.store.key("fact", "known"))


def test_an_engine_that_does_not_answer_may_run_something(world):
    lose(world)
    world.engine.fail("slots", TryAgain("the Docker Engine does not answer."))
    (said,) = world.keeper.tick()
    assert "what runs on docker is unknown (the Docker Engine does not answer)" in said
    assert not world.store.origin.known()
    world.clock.sleep(10)
    world.keeper.tick()
    assert world.store.origin.known()


def test_status_says_what_happened_and_the_ways_out(world):
    world.push("one")
    assert world.commands.status()["unknown_store"] == ""
    lose(world)
    assert "Try again" in world.commands.status()["unknown_store"]  # nobody has looked yet
    world.another_keeper().tick()
    text = world.commands.status()["unknown_store"]
    assert "hello/dev (blue) is on docker" in text
    assert "`pushlive adopt`" in text


def test_what_is_beside_an_unknown_store_is_kept_and_read_back(world):
    beside = Beside(("the repository hello has commits",), ())
    world.store.origin.note(beside)
    assert world.store.origin.beside() == beside
    assert not beside.new


# ── adopt ────────────────────────────────────────────────────────────────────


def adopted(world) -> tuple[str, ...]:
    """Two releases are live; the store is lost; what runs is adopted."""
    world.push("one")
    world.push("two")
    lose(world)
    world.another_keeper().tick()
    return world.commands.adopt("ann")


def test_fault_51_what_runs_is_adopted_as_it_is(world):
    world.push("one")
    world.push("two")
    before = world.store.environments("hello")
    contents, active = dict(world.engine.contents), dict(world.engine.active)
    lose(world)
    world.another_keeper().tick()
    world.engine.calls.clear()
    said = world.commands.adopt("ann")
    assert set(world.engine.names()) <= {
        *("slots", "survey", "spec_hash"),
        *("accessories", "accessories_found"),
    }
    assert "hello/live: r1 (blue) is warm, r2 (green) serves" in said
    found = world.store.environments("hello")
    for name, one in found.items():
        assert (one.index, one.active, one.good) == (before[name].index, before[name].active, (1, 2))
        assert one.pairs == before[name].pairs
        assert {slot: r.release for slot, r in one.slots.items()} == {"blue": 1, "green": 2}
        assert one.hold is None
    keeper = world.another_keeper()
    assert keeper.tick() == []  # nothing drifts
    assert (world.engine.contents, world.engine.active) == (contents, active)


def test_after_an_adoption_a_warm_revert_and_the_next_push_work(world):
    adopted(world)
    world.another_keeper().tick()
    assert world.store.last_run("hello") == 2
    world.engine.calls.clear()
    reverted = world.revert(reason="bad")
    assert reverted.number == 3
    assert reverted.outcome == Outcome.LIVE
    assert world.serving() == {"dev": 2, "qa": 2, "live": 1}
    world.commands.resume("hello", "ann")
    run = world.push("three")
    assert (run.number, run.release, run.outcome) == (4, 3, Outcome.LIVE)
    assert world.serving() == {"dev": 3, "qa": 3, "live": 3}


def test_a_release_that_was_reverted_is_not_a_target_and_the_environment_is_held(world):
    world.push("one")
    world.push("two")
    world.revert(reason="bad")
    lose(world)
    world.another_keeper().tick()
    world.commands.adopt("ann")
    live = world.environment("live")
    assert (live.serving, live.good) == (1, (1,))
    assert "r2 was there beside r1" in live.hold.reason
    assert [one.release for one in live.quarantine] == [2]
    with pytest.raises(RequestError):
        world.commands.revert("hello", "ann")


def test_the_head_of_the_repository_is_not_deployed_by_itself(world):
    world.push("one")
    world.break_app(2)
    world.push("bad")
    lose(world)
    world.another_keeper().tick()
    said = world.commands.adopt("ann")
    assert any("does not serve live; `pushlive deploy hello` deploys it" in line for line in said)
    keeper = world.another_keeper()
    for _ in range(3):
        world.clock.sleep(10)
        keeper.tick()
    assert [run.number for run in world.store.recent("hello", 9)] == []


@pytest.fixture
def earlier(monkeypatch: pytest.MonkeyPatch) -> None:
    """Releases as versions made them whose containers do not remember what they were made from."""
    monkeypatch.setattr(build_stage, "FORM", 0)


def test_containers_of_an_earlier_version_are_adopted_by_what_pipelines_yaml_says(world, earlier):
    world.engine.forgetful = True
    adopted(world)
    assert world.serving() == {"dev": 2, "qa": 2, "live": 2}


def test_what_was_made_with_another_configuration_is_refused_and_nothing_changes(world):
    world.engine.forgetful = True
    world.push("one")
    lose(world)
    world.configure("pipelines: {hello: {service: {env: {NEW: one}}, environments: {dev: , qa: , live: }}}")
    world.another_keeper().tick()
    with pytest.raises(RequestError, match="r1 serves hello/dev, but was made with another configuration"):
        world.commands.adopt("ann")
    assert not world.store.origin.known()
    assert world.store.environments("hello") == {}


def test_an_adoption_that_was_interrupted_is_not_taken_for_a_whole_one(world):
    world.push("one")
    lose(world)
    world.another_keeper().tick()
    world.store.client.sadd(world.store.key("with-secrets"), "hello")
    assert not world.store.origin.known()
    world.commands.adopt("ann")
    assert world.store.origin.known()


def test_a_known_store_has_nothing_to_adopt(world):
    world.push("one")
    with pytest.raises(RequestError, match="nothing to adopt"):
        world.commands.adopt("ann")


def test_a_backup_is_loaded_into_a_store_that_waits_for_it(world):
    world.push("one")
    lines = list(snapshot.dump(world.store))
    with pytest.raises(RequestError):
        snapshot.load(world.store, lines)  # it has records
    lose(world)
    world.another_keeper().tick()
    world.store.tokens.create("first", "maintainer")  # what `up` does
    assert snapshot.load(world.store, lines) == len(lines)
    assert world.store.origin.known()
    assert world.serving() == {"dev": 1, "qa": 1, "live": 1}
    assert "first" not in [row["name"] for row in world.commands.tokens()]


SECRET = """
pipelines:
  hello: {service: {secrets: [PASSWORD]}, environments: {live: }}
"""


def test_what_needs_a_lost_secret_is_held_until_it_is_set(make_world):
    world = make_world(SECRET)
    world.commands.set_secret("hello", "ann", "PASSWORD", Secret("first value"))
    world.commands.set_secret("hello", "ann", "PASSWORD", Secret("second value"))
    world.push("one")
    lose(world)
    world.another_keeper().tick()
    said = world.commands.adopt("ann")
    assert any("has lost its secrets: PASSWORD" in line for line in said)
    live = world.environment("live")
    assert live.slots[live.active].secrets == {"PASSWORD": 2}
    assert "lost with the store: PASSWORD" in live.hold.reason
    assert world.another_keeper().tick() == []  # what serves keeps its containers
    set_again = world.commands.set_secret("hello", "ann", "PASSWORD", Secret("third value"))
    assert set_again["version"] == 3  # 2 still means the value that is lost
    waits = world.push("two")
    assert waits.state == State.WAITING
    world.commands.resume("hello", "ann")
    world.work()
    assert world.run(waits.number).outcome == Outcome.LIVE


def test_numbers_of_secrets_that_containers_do_not_remember_are_found_again(make_world, earlier):
    world = make_world(SECRET)
    world.engine.forgetful = True
    for value in ("first value", "second value", "third value"):
        world.commands.set_secret("hello", "ann", "PASSWORD", Secret(value))
    world.push("one")
    lose(world)
    world.another_keeper().tick()
    world.commands.adopt("ann")
    live = world.environment("live")
    assert live.slots[live.active].secrets == {"PASSWORD": 3}


def test_the_audit_log_begins_again_and_says_where_the_old_one_ended(world):
    world.push("one")
    assert world.services.audit_head.verify().entries > 0
    said = adopted(world)
    assert any("entries is lost; a new one begins" in line for line in said)
    report = world.commands.verify_audit()
    assert report.problems == []
    details = [str(entry.get("detail")) for entry in world.commands.audit_log()]
    assert any("the log before was lost; it ended with entry" in detail for detail in details)


def test_fault_51_an_environment_without_web_is_adopted_by_its_other_processes(make_world):
    world = make_world(ALONE)
    world.push("one")
    world.push("two")
    before = world.environment("live")
    lose(world)
    world.another_keeper().tick()
    said = world.commands.adopt("ann")
    assert any("r2 (green) serves" in line for line in said)
    found = world.environment("live")
    assert (found.active, found.serving, found.index) == ("green", 2, before.index)
    assert found.pairs[2] == before.pairs[2]
    assert not [line for line in world.another_keeper().tick() if "started" in line]
    assert world.push("three").outcome == Outcome.LIVE


CRON_ALONE = """\
pipelines:
  hello:
    service:
      web: false
      processes: {mail: {command: [./mail], cron: "* * * * *"}}
    environments: {live: }
"""


def test_fault_51_an_environment_with_schedules_alone_is_adopted_by_its_last_run(make_world):
    world = make_world(CRON_ALONE)
    world.push("one")
    world.push("two")
    before = world.environment("live")
    world.keeper.tick()
    world.clock.sleep(90.0)
    world.keeper.tick()
    [job] = world.engine.jobs(next(iter(world.engine.contents)))
    world.engine.finish(next(iter(world.engine.contents)), job.job)
    world.keeper.tick()
    lose(world)
    world.another_keeper().tick()
    said = world.commands.adopt("ann")
    assert any(f"r2 ({before.active}) serves" in line for line in said), said
    found = world.environment("live")
    assert (found.active, found.serving, found.index) == (before.active, 2, before.index)


def test_fault_51_schedules_of_which_none_has_run_are_named(make_world):
    world = make_world(CRON_ALONE)
    world.push("one")
    lose(world)
    world.another_keeper().tick()
    said = world.commands.adopt("ann")
    assert any("runs by schedules alone" in line and "`pushlive deploy hello`" in line for line in said), said
    assert world.environment("live").active is None
