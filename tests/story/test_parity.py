"""Environments side by side, and a release that would run otherwise than it was tested."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from pipeline.config.parity.properties import plain
from pipeline.domain.engine_types import SlotRef
from pipeline.domain.parity import seen
from pipeline.domain.parity.by_hand import changed
from pipeline.domain.run import Outcome, Run
from pipeline.domain.sleep.records import Asleep
from pipeline.domain.slots import slot_ref
from pipeline.errors import EngineAway, NotFound
from pipeline.store import Transaction
from tests.story.conftest import World

ASLEEP = Asleep(1, 0.0, "no request for 30m")
MakeWorld = Callable[..., World]

BASE = """\
accessories:
  db: {image: "postgres:15"}
pipelines:
  hello:
    service:
      health: /healthz
      env: {GREETING: hello, PASSWORD: topsecret}
    uses: {db: db}
    smoke: [{get: /}]
    environments:
"""
EQUAL = BASE + "      dev: {}\n      qa: {}\n      live: {}\n"
UNLIKE = (
    BASE + "      dev: {}\n      qa: {}\n      live: {parity: block, memory: 512MiB, env: {DEBUG: '1'}}\n"
)


def ref_of(world: World, name: str) -> SlotRef:
    record = world.environment(name)
    assert record.active
    return slot_ref(record, record.active)


def kinds(shown: dict[str, Any]) -> dict[str, str]:
    return {row["name"]: row["kind"] for row in shown["rows"] if row["kind"] != "same"}


def texts(shown: dict[str, Any], name: str) -> list[str]:
    [row] = [row for row in shown["rows"] if row["name"] == name]
    return [cell["text"] for cell in row["cells"]]


def parity(world: World) -> dict[str, Any]:
    return world.commands.parity("hello")


def notes(world: World, run: Run) -> list[str]:
    return [one.text for one in world.events(run)]


@pytest.fixture
def equal(make_world: MakeWorld) -> World:
    world = make_world(EQUAL)
    world.push()
    return world


def test_environments_that_are_alike_are_wholly_the_same(equal: World) -> None:
    shown = parity(equal)
    assert kinds(shown) == {}
    assert (shown["percent"], shown["same"], shown["undeclared"]) == (100, shown["of"], 0)
    assert [one["release"] for one in shown["environments"]] == [1, 1, 1]


def test_what_is_the_same_is_shown_as_well_and_no_value_of_a_variable(equal: World) -> None:
    shown = parity(equal)
    names = {row["name"] for row in shown["rows"]}
    assert {
        "image", "replicas", "cpu", "memory", "env.GREETING", "env.PASSWORD", "uses.db", "accessories.db.image",
        "smoke", "engine", "engine.version", "tls", "timeout",
    } <= names  # fmt: skip
    assert "topsecret" not in json.dumps(shown)
    assert texts(shown, "env.PASSWORD") == ["set", "set", "set"]


def test_what_is_kept_warm_in_live_alone_is_no_difference_that_needs_a_reason(make_world: MakeWorld) -> None:
    world = make_world(BASE + "      dev: {}\n      qa: {}\n      live: {parity: block, keep_warm: 30m}\n")
    assert kinds(parity(world)) == {"keep_warm": "inherent"}
    assert world.push().outcome == Outcome.LIVE
    shown = parity(world)
    assert kinds(shown) == {"keep_warm": "inherent"}
    assert texts(shown, "keep_warm") == ["0s", "0s", "30m"]


def test_what_is_kept_warm_is_compared_where_it_is_written(make_world: MakeWorld) -> None:
    world = make_world(BASE + "      dev: {keep_warm: 10m}\n      qa: {}\n      live: {keep_warm: 30m}\n")
    shown = parity(world)
    assert kinds(shown) == {"keep_warm": "undeclared"}
    assert texts(shown, "keep_warm") == ["10m", "0s", "30m"]


def test_an_unknown_pipeline_is_said(equal: World) -> None:
    with pytest.raises(NotFound, match="there is no pipeline 'nope'"):
        equal.commands.parity("nope")


def test_before_the_first_push_the_file_is_compared(make_world: MakeWorld) -> None:
    shown = parity(make_world(UNLIKE))
    assert kinds(shown) == {"memory": "undeclared", "env.DEBUG": "undeclared"}
    assert texts(shown, "memory") == ["256 MiB", "256 MiB", "512 MiB"]
    assert [one["release"] for one in shown["environments"]] == [None, None, None]


# ── differences, one after the other ─────────────────────────────────────────

PLANTED = {
    "memory": ("memory: 512MiB", "memory", ["256 MiB", "256 MiB", "512 MiB"]),
    "cpu": ("cpu: 2", "cpu", ["1", "1", "2"]),
    "replicas": ("replicas: 2", "replicas", ["1", "1", "2"]),
    "another value": ("env: {GREETING: hi}", "env.GREETING", ["value A", "value A", "value B"]),
    "one more variable": ("env: {DEBUG: '1'}", "env.DEBUG", ["none", "none", "set"]),
    "a secret": ("secrets: [TOKEN]", "secrets.TOKEN", ["none", "none", "set"]),
    "a volume": ("volumes: {data: {path: /data}}", "volumes.data", ["none", "none", "/data"]),
    "a process": ("processes: {worker: {command: [work]}}", "processes.worker", ["none", "none", "work"]),
    "checks": ("smoke: [{get: /}, {get: /other}]", "smoke", ["GET /", "GET /", "GET /, GET /other"]),
    "health": ("health: /other", "health", ["/healthz", "/healthz", "/other"]),
    "timeout": ("timeout: 5m", "timeout", ["1m", "1m", "5m"]),
    "release command": ("release: [migrate]", "release", ["none", "none", "migrate"]),
    "a host elsewhere": ("uses: {db: {address: 'h:1'}}", "uses.db", ["db", "db", "h:1"]),
}


@pytest.mark.parametrize("case", PLANTED)
def test_each_difference_is_found_and_named(case: str, make_world: MakeWorld) -> None:
    text, name, values = PLANTED[case]
    shown = parity(make_world(BASE + f"      dev: {{}}\n      qa: {{}}\n      live: {{{text}}}\n"))
    assert kinds(shown)[name] == "undeclared"
    assert texts(shown, name) == values
    assert shown["percent"] < 100


def test_host_names_are_no_difference_that_anyone_has_to_explain(make_world: MakeWorld) -> None:
    shown = parity(make_world(EQUAL.replace("live: {}", "live: {host: www.example.com}")))
    assert kinds(shown) == {"hosts": "inherent"}
    assert (shown["percent"], shown["inherent"]) == (100, 1)


def test_a_reason_declares_a_difference_and_another_part_covers_all_below_it(make_world: MakeWorld) -> None:
    reasons = "differs: {memory: more visitors, env: it is watched}"
    shown = parity(make_world(UNLIKE.replace("parity: block", reasons)))
    assert kinds(shown) == {"memory": "declared", "env.DEBUG": "declared"}
    assert shown["percent"] < 100
    cells = {row["name"]: row["cells"][2]["reason"] for row in shown["rows"] if row["kind"] == "declared"}
    assert cells == {"memory": "more visitors", "env.DEBUG": "it is watched"}


def test_a_reason_of_one_environment_does_not_explain_another_one(make_world: MakeWorld) -> None:
    text = "      dev: {memory: 64MiB}\n      qa: {}\n      live: {memory: 1GiB, differs: {memory: more visitors}}\n"
    assert kinds(parity(make_world(BASE + text))) == {"memory": "undeclared"}


def test_what_the_next_release_changes_is_said(equal: World) -> None:
    equal.configure(EQUAL.replace("live: {}", "live: {memory: 512MiB}"))
    [row] = [row for row in parity(equal)["rows"] if row["name"] == "memory"]
    assert [cell["text"] for cell in row["cells"]] == ["256 MiB"] * 3
    assert [cell["wanted"] for cell in row["cells"]] == [None, None, "512 MiB"]


# ── what really runs ─────────────────────────────────────────────────────────


def test_a_change_by_hand_is_a_difference_that_no_reason_covers(make_world: MakeWorld) -> None:
    world = make_world(
        EQUAL.replace("qa: {}", "qa: {replicas: 2, differs: {replicas: 'two', memory: 'why not'}}")
    )
    world.push()
    qa = ref_of(world, "qa")
    world.engine.found[qa] = {"memory": seen.memory(64 << 20)}
    world.engine.changed[qa] = (changed("memory", "256 MiB", "64 MiB"),)
    shown = parity(world)
    assert kinds(shown) == {"replicas": "declared", "memory": "undeclared"}
    assert texts(shown, "memory") == ["256 MiB", "64 MiB", "256 MiB"]
    [row] = [row for row in shown["rows"] if row["name"] == "memory"]
    assert row["by_hand"]
    assert [cell["made"] for cell in row["cells"]] == [None, "256 MiB", None]
    assert shown["environments"][1]["by_hand"] == ["memory: 256 MiB → 64 MiB"]


def test_the_same_change_by_hand_everywhere_is_found(equal: World) -> None:
    for name in ("dev", "qa", "live"):
        equal.engine.found[ref_of(equal, name)] = {"memory": seen.memory(64 << 20)}
    assert kinds(parity(equal)) == {"memory": "undeclared"}


def test_a_variable_that_was_removed_by_hand_is_none(equal: World) -> None:
    equal.engine.found[ref_of(equal, "live")] = {"env.GREETING": None}
    assert texts(parity(equal), "env.GREETING") == ["set", "set", "none"]


def test_containers_that_are_gone_are_named(equal: World) -> None:
    equal.engine.exit(ref_of(equal, "live"))
    assert parity(equal)["environments"][2]["by_hand"] == ["its containers have exited"]


def test_an_accessory_of_another_version_is_found(equal: World) -> None:
    [mine] = [one for ref, one in equal.engine.running.items() if ref.environment == "live"]
    mine.image = "postgres:16"
    shown = parity(equal)
    assert kinds(shown) == {"accessories.db.image": "undeclared"}
    assert texts(shown, "accessories.db.image") == ["postgres:15", "postgres:15", "postgres:16"]


def test_an_accessory_that_was_made_from_an_older_definition_is_found(equal: World) -> None:
    equal.configure(EQUAL.replace("postgres:15", "postgres:16"))
    [row] = [row for row in parity(equal)["rows"] if row["name"] == "accessories.db.image"]
    assert {cell["wanted"] for cell in row["cells"]} == {"postgres:16"}


def test_an_engine_that_is_away_is_said_and_what_was_started_is_shown(equal: World) -> None:
    equal.engine.fail("seen", EngineAway("the engine does not answer."), times=9)
    shown = parity(equal)
    assert {one["problem"] for one in shown["environments"]} == {"the engine does not answer."}
    assert kinds(shown) == {}
    assert "engine.version" not in {row["name"] for row in shown["rows"]}


def test_what_sleeps_is_as_it_was_started_and_nothing_of_it_is_missing(equal: World) -> None:
    def sleep(transaction: Transaction) -> None:
        transaction.put_environment(replace(transaction.environment("dev"), asleep=ASLEEP))

    equal.store.transact("hello", sleep)
    equal.engine.exit(ref_of(equal, "dev"), 0)
    shown = parity(equal)
    assert shown["environments"][0]["by_hand"] == []
    assert kinds(shown) == {}


def test_a_change_by_hand_is_on_the_page_of_the_status_until_it_is_taken_back(equal: World) -> None:
    qa = ref_of(equal, "qa")
    equal.engine.changed[qa] = (changed("memory", "256 MiB", "64 MiB"),)
    equal.reconcile()

    def problem() -> str:
        [shown] = equal.commands.status("hello")["pipelines"]
        return str(shown["environments"][1]["problem"])

    assert "was changed by hand: memory: 256 MiB → 64 MiB" in problem()
    assert qa in equal.engine.changed, "it is left as it is"
    assert any("the changes were reverted: memory: 64 MiB → 256 MiB" in text for text in equal.fix())
    assert qa not in equal.engine.changed
    equal.reconcile()
    assert problem() == ""


# ── `parity` of an environment ───────────────────────────────────────────────


def test_a_release_that_would_be_unlike_does_not_enter(make_world: MakeWorld) -> None:
    world = make_world(UNLIKE)
    run = world.push()
    assert (run.outcome, run.stage) == (Outcome.FAILED, "live")
    assert world.serving() == {"dev": 1, "qa": 1, "live": None}
    assert run.reason.startswith("live would differ from qa in 2 properties without a reason: ")
    assert "memory: 256 MiB (qa), 512 MiB (live)" in run.reason
    assert "env.DEBUG: none (qa), set (live)" in run.reason
    assert not world.environment("live").quarantine


def test_with_the_reasons_the_same_run_enters_when_it_is_tried_again(make_world: MakeWorld) -> None:
    world = make_world(UNLIKE)
    run = world.push()
    world.configure(
        UNLIKE.replace("parity: block", "parity: block, differs: {memory: visitors, env.DEBUG: x}")
    )
    world.commands.retry("hello", run.number, "ann")
    world.work()
    assert world.serving()["live"] == 2


def test_a_warning_is_a_line_of_the_log_and_the_run_goes_on(make_world: MakeWorld) -> None:
    world = make_world(UNLIKE.replace("block", "warn"))
    run = world.push()
    assert run.outcome == Outcome.LIVE
    [text] = [text for text in notes(world, run) if "without a reason" in text]
    assert text.startswith("live will differ from qa without a reason: memory: 256 MiB (qa), 512 MiB (live)")


def test_without_the_key_nothing_is_said(make_world: MakeWorld) -> None:
    world = make_world(UNLIKE.replace("parity: block, ", ""))
    run = world.push()
    assert run.outcome == Outcome.LIVE
    assert not [text for text in notes(world, run) if "differ" in text]


def test_it_is_compared_by_what_the_run_brings_not_by_what_ran_before(make_world: MakeWorld) -> None:
    world = make_world(EQUAL.replace("live: {}", "live: {parity: block}"))
    assert world.push("one").outcome == Outcome.LIVE
    world.engine.found[ref_of(world, "live")] = {"memory": seen.memory(64 << 20)}  # goes with the release
    assert world.push("two").outcome == Outcome.LIVE
    assert world.serving() == {"dev": 2, "qa": 2, "live": 2}


def test_what_was_changed_by_hand_where_it_was_tested_keeps_it_out(make_world: MakeWorld) -> None:
    world = make_world(EQUAL.replace("live: {}", "live: {parity: block, promote: manual}"))
    run = world.push()
    world.engine.found[ref_of(world, "qa")] = {"memory": seen.memory(64 << 20)}
    world.commands.promote("hello", "ann", run=run.number)
    world.work()
    run = world.run(run.number)
    assert run.outcome == Outcome.FAILED
    assert "memory: 64 MiB (qa, by hand: 256 MiB was started), 256 MiB (live)" in run.reason


def test_an_engine_of_another_version_counts(make_world: MakeWorld) -> None:
    world = make_world(EQUAL.replace("live: {}", "live: {parity: block, promote: manual}"))
    run = world.push()
    world.engine.found[ref_of(world, "qa")] = {"engine.version": plain("a fake 0.9")}
    world.commands.promote("hello", "ann", run=run.number)
    world.work()
    assert "engine.version: a fake 0.9 (qa" in world.run(run.number).reason


def test_a_revert_is_never_kept_out(make_world: MakeWorld) -> None:
    world = make_world(EQUAL)
    world.push("one")
    world.push("two")
    world.configure(UNLIKE)
    assert world.revert().outcome == Outcome.LIVE


def test_the_first_environment_has_none_before_it(make_world: MakeWorld) -> None:
    world = make_world(EQUAL.replace("dev: {}", "dev: {parity: block}"))
    assert world.push().outcome == Outcome.LIVE


def test_what_cannot_be_compared_does_not_enter_with_block_and_does_with_warn(make_world: MakeWorld) -> None:
    world = make_world(EQUAL.replace("live: {}", "live: {parity: warn}"))
    world.engine.fail("seen", EngineAway("the engine does not answer."), times=99)
    run = world.push("one")
    assert run.outcome == Outcome.LIVE
    assert "live was not compared with qa: the engine does not answer." in notes(world, run)
    world.configure(EQUAL.replace("live: {}", "live: {parity: block}"))
    run = world.push("two")
    assert run.outcome == Outcome.FAILED
    assert (
        "live cannot be compared with qa, as `parity: block` says: the engine does not answer." in run.reason
    )
