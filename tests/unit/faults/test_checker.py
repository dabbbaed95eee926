"""The judge of histories is judged: a good history passes, and every way of spoiling it is told in the right words."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.faults.checker import RULES, History, judge

STAGES = ("build", "dev", "live")


def run(
    number: int, outcome: str, release: int | None, kind: str = "push", through: int = 0
) -> dict[str, Any]:
    stages = list(STAGES) if kind == "push" else ["live"]
    done = [stage for stage in stages if stage != "build"][:through]
    return {
        "pipeline": "hello",
        "number": number,
        "kind": kind,
        "state": "ended",
        "outcome": outcome,
        "commit": f"c{number}" if kind == "push" else f"c{release}",
        "delivery": f"d{number}" if kind == "push" else "",
        "release": release,
        "stages": stages,
        "steps": [{"stage": stage, "step": "verify", "ok": True} for stage in done],
        "gate": "",
    }


def place(
    name: str, active: str, slots: dict[str, tuple[int, int, str]], quarantine: int = 0
) -> dict[str, Any]:
    return {
        "pipeline": "hello",
        "name": name,
        "active": active,
        "switching": None,
        "slots": {slot: {"release": r, "run": n, "state": state} for slot, (r, n, state) in slots.items()},
        "quarantine": [{"image": f"i{quarantine}", "fingerprint": "f"}] if quarantine else [],
    }


def good() -> History:
    """#1 live, #2 superseded, #3 live, #4 failed in dev, #5 reverts live to r1, #6 waits there."""
    waits = {**run(6, "", 4, through=1), "state": "waiting", "outcome": None, "gate": "live"}
    runs = [
        run(1, "live", 1, through=2),
        run(2, "superseded", None),
        run(3, "live", 2, through=2),
        run(4, "failed", 3),
        run(5, "live", 1, "revert", through=1),
        waits,
    ]
    pushed = [one for one in runs if one["kind"] == "push"]
    pushes = [
        {
            "pipeline": "hello",
            "commit": one["commit"],
            "delivery": one["delivery"],
            "status": 202,
            "run": one["number"],
            "duplicate": False,
        }
        for one in pushed
    ]
    pushes.append({**pushes[2], "duplicate": True})
    pushes.append({**pushes[0], "delivery": "refused", "status": 503, "run": None})
    events = []
    for one in runs:
        name = f"hello#{one['number']}"
        events += [{"run": name, "kind": kind, "outcome": None} for kind in ("accepted", "step")]
        if one["state"] == "ended":
            events.append({"run": name, "kind": "end", "outcome": one["outcome"]})
    ways = [(1, "dev", 1), (1, "live", 1), (3, "dev", 2), (3, "live", 2), (5, "live", 1), (6, "dev", 4)]
    return {
        "pushes": pushes,
        "runs": runs,
        "environments": [
            place("dev", "blue", {"blue": (4, 6, "serving"), "green": (2, 3, "warm")}),
            place("live", "blue", {"blue": (1, 5, "serving"), "green": (2, 3, "warm")}, quarantine=2),
        ],
        "releases": [
            {
                "pipeline": "hello",
                "number": n,
                "image": f"i{n}",
                "commit": f"c{n}",
                "fingerprints": {"dev": "f", "live": "f"},
            }
            for n in (1, 2, 3, 4)
        ],
        "events": events,
        "heads": [{"pipeline": "hello", "commit": "c6"}],
        "traffic": [{"pipeline": "hello", "environment": name, "slot": "blue"} for name in ("dev", "live")],
        "switches": [
            {"pipeline": "hello", "environment": env, "run": n, "release": r, "holder": f"hello#{n}"}
            for n, env, r in ways
        ],
        "acts": [
            {"pipeline": "hello", "environment": env, "run": f"hello#{n}", "begin": 2 * at, "end": 2 * at + 1}
            for at, (n, env, _) in enumerate(ways)
        ],
    }


def test_a_good_history_passes():
    assert judge(good()) == []


def test_missing_parts_of_a_history_are_not_judged():
    assert judge({"runs": []}) == []


Spoil = Callable[[History], object]
BAD: list[tuple[str, Spoil, str]] = [
    ("a lost run", lambda h: h["runs"].pop(1), "the runs have the numbers [1, 3, 4, 5, 6]"),
    (
        "a lost push",
        lambda h: h["pushes"][0].update(run=7),
        "lost: d1 was accepted as hello#7, which is not there",
    ),
    ("a number dealt twice", lambda h: h["runs"].append(h["runs"][0]), "the runs have the numbers [1, 1, 2"),
    (
        "a release's number left out",
        lambda h: h["releases"].pop(2),
        "the releases have the numbers [1, 2, 4]",
    ),
    (
        "another commit",
        lambda h: h["runs"][0].update(commit="x"),
        "hello#1 carries x, but was the answer to c1",
    ),
    (
        "a delivery answered twice",
        lambda h: h["pushes"][5].update(run=4),
        "doubled: delivery d3 made hello#[3, 4]",
    ),
    (
        "a delivery run twice",
        lambda h: h["runs"][1].update(delivery="d1"),
        "doubled: hello has 2 runs of delivery d1",
    ),
    (
        "a duplicate not told",
        lambda h: h["pushes"][5].update(duplicate=False),
        "hello#3 was the answer to two deliveries, neither told to be a duplicate",
    ),
    (
        "no end",
        lambda h: h["runs"][3].update(state="running", outcome=None),
        "hello#4 has no end: it is running",
    ),
    (
        "an end without an outcome",
        lambda h: h["runs"][3].update(outcome=None),
        "hello#4 is ended with the outcome None",
    ),
    (
        "an outcome without an end",
        lambda h: h["runs"][5].update(outcome="live"),
        "hello#6 is waiting with the outcome live",
    ),
    (
        "waits for nothing",
        lambda h: h["runs"][5].update(gate=""),
        "hello#6 waits, and nobody knows before what",
    ),
    (
        "two at one gate",
        lambda h: h["runs"][3].update(state="waiting", outcome=None, gate="live"),
        "hello: 2 runs wait before live",
    ),
    ("an end not told", lambda h: h["events"].pop(2), "hello#1: 0 ends were told, it has 1"),
    (
        "an end told twice",
        lambda h: h["events"].insert(2, h["events"][2]),
        "hello#1: 2 ends were told, it has 1",
    ),
    (
        "a word after the end",
        lambda h: h["events"].insert(3, h["events"][1]),
        "hello#1: step was told after the end",
    ),
    (
        "another end",
        lambda h: h["events"][2].update(outcome="failed"),
        "hello#1: another end was told than live",
    ),
    (
        "never accepted",
        lambda h: h["events"].pop(0),
        "hello#1: was told to be accepted 0 times, first was step",
    ),
    (
        "events of nobody",
        lambda h: h["events"].append({"run": "hello#9", "kind": "accepted", "outcome": None}),
        "hello#9 has events and no record",
    ),
    (
        "a silent run",
        lambda h: h.update(events=[e for e in h["events"] if e["run"] != "hello#4"]),
        "hello#4: nothing was told of it",
    ),
    (
        "live, not verified",
        lambda h: h["runs"][2]["steps"].pop(),
        "hello#3 is live and was never verified in live",
    ),
    (
        "live without a release",
        lambda h: h["runs"][2].update(release=None),
        "hello#3 is live without a release",
    ),
    (
        "two that serve",
        lambda h: h["environments"][1]["slots"]["green"].update(state="serving"),
        "hello/live: blue is active, and ['blue', 'green'] serve",
    ),
    (
        "a switch left undone",
        lambda h: h["environments"][1].update(switching="green"),
        "hello/live: still means to switch to green",
    ),
    (
        "the proxy elsewhere",
        lambda h: h["traffic"][1].update(slot="green"),
        "hello/live: the proxy serves green, the record says blue",
    ),
    (
        "nothing serves",
        lambda h: (h["environments"][0].update(active=None, slots={}), h["traffic"][0].update(slot=None)),
        "hello/dev serves nothing, and hello#6 was verified there",
    ),
    (
        "an unverified one serves",
        lambda h: h["runs"][5]["steps"].clear(),
        "serves r4 of #6, which was never verified",
    ),
    (
        "another release serves",
        lambda h: h["environments"][0]["slots"]["blue"].update(release=1),
        "hello/dev serves r1 for hello#6, whose release is r4",
    ),
    (
        "an older one serves",
        lambda h: h["environments"][0]["slots"]["blue"].update(release=2, run=3),
        "hello/dev serves hello#3, and #6 is newer and passed there",
    ),
    (
        "the head superseded",
        lambda h: h["runs"][5].update(state="ended", outcome="superseded"),
        "hello: the head c6 has no run of its own that was not superseded",
    ),
    (
        "quarantine broken",
        lambda h: h["environments"][1]["quarantine"][0].update(image="i1"),
        "hello/live serves r1, which is in quarantine there",
    ),
    ("backwards", lambda h: h["switches"].reverse(), "hello/live: #1 was switched to after #3"),
    (
        "switched by nobody",
        lambda h: h["switches"][3].update(holder=""),
        "hello/live: r2 was switched to while nobody held it",
    ),
    (
        "two at once",
        lambda h: h["acts"][1].update(end=8),
        "hello/live: hello#1 and hello#3 acted there at once",
    ),
]


@pytest.mark.parametrize(("spoil", "words"), [bad[1:] for bad in BAD], ids=[bad[0] for bad in BAD])
def test_a_bad_history_is_refused_with_the_reason(spoil, words):
    history = copy.deepcopy(good())
    spoil(history)
    assert any(words in wrong for wrong in judge(history)), judge(history)


def test_every_rule_has_a_history_that_it_alone_refuses():
    refused = set()
    for _, spoil, _ in BAD:
        history = copy.deepcopy(good())
        spoil(history)
        refused |= {rule.__name__ for rule in RULES if list(rule(history))}
    assert refused == {rule.__name__ for rule in RULES}


def spoil_somewhere(history: History, choose: Callable[[list[Any]], Any]) -> str:
    """One small spoiling of a kind that no rule may overlook, anywhere in the history."""
    ended = [one for one in history["runs"] if one["state"] == "ended"]
    ends = [event for event in history["events"] if event["kind"] == "end"]
    kind = choose(["drop", "double", "unend", "swap", "end twice", "end never", "renumber", "late", "repeat"])
    if kind == "drop":
        history["runs"].remove(choose(history["runs"][:-1]))
    elif kind == "double":
        history["runs"].append(dict(choose(history["runs"])))
    elif kind == "unend":
        choose(ended).update(state=choose(["queued", "running"]), outcome=None)
    elif kind == "swap":
        choose(history["environments"]).update(active="green")
    elif kind == "end twice":
        history["events"].append(dict(choose(ends)))
    elif kind == "end never":
        history["events"].remove(choose(ends))
    elif kind == "renumber":
        choose(history["runs"]).update(number=choose([0, 7, 99]))
    elif kind == "late":
        history["events"].append({"run": choose(ends)["run"], "kind": "note", "outcome": None})
    else:
        history["pushes"].append({**choose(history["pushes"][:5]), "duplicate": False})
    return kind


@settings(derandomize=True, max_examples=200)
@given(st.data())
def test_any_spoiled_part_of_a_history_is_found(data):
    history = copy.deepcopy(good())
    kind = spoil_somewhere(history, lambda found: data.draw(st.sampled_from(found)))
    # The last number may simply not have been dealt yet; everything else must be missed by somebody.
    assert judge(history), kind
