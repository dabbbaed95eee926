"""Judges a history: what was sent, what was answered, and what is there at the end. Plain functions over plain data.

``judge(history)`` returns what is wrong, a sentence each; nothing where all rules were kept. ``history`` is a dict of
lists of dicts. Only ``runs`` has to be there; each rule looks at what it finds and is silent about what is not given.

    pushes        in the order of the answers: pipeline, commit, delivery, status (202 where it was accepted), run (its
                  number), duplicate (whether the answer said so)
    runs          as stored (``pipeline.lib.codec.plain``): pipeline, number, kind, state, outcome, commit, delivery,
                  release, stages, steps (stage, step, ok), gate, reason
    environments  as stored: pipeline, name, active, slots {slot: release, run, state}, quarantine [image, fingerprint],
                  newest_run, hold, switching; ``last``: whether it is the pipeline's last one
    releases      pipeline, number, image, commit, fingerprints {environment: text}
    events        run ("hello#1"), kind, outcome (of an end), in the order of each run's stream
    heads         pipeline, commit: what the branch really points to
    traffic       pipeline, environment, slot: what the proxy really serves, "" or None where nothing
    switches      pipeline, environment, run, release, holder: in the order in which the proxy made them; ``run`` is the
                  one that the slot's containers carry, ``holder`` who had the environment's lease ("hello#3", "keeper")
    acts          pipeline, environment, run, begin, end: calls to the Engine, on one counter for all

``drained``: true (as it is by default) where the history is over, so that nothing is queued or running any more.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import Any

Row = dict[str, Any]
History = dict[str, Any]


def judge(history: History) -> list[str]:
    """Everything that is wrong with the history, in the order of the rules."""
    return [wrong for rule in RULES for wrong in rule(history)]


def _by(rows: Iterable[Row], *keys: str) -> dict[tuple[Any, ...], list[Row]]:
    found: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for row in rows:
        found[tuple(row[key] for key in keys)].append(row)
    return found


def _id(run: Row) -> str:
    return f"{run['pipeline']}#{run['number']}"


def _runs(history: History) -> dict[str, Row]:
    return {_id(run): run for run in history["runs"]}


def numbers(history: History) -> Iterator[str]:
    """Numbers of runs and releases are unique and without gaps."""
    for what in ("runs", "releases"):
        for (pipeline,), rows in _by(history.get(what, ()), "pipeline").items():
            found = sorted(row["number"] for row in rows)
            if found != list(range(1, len(found) + 1)):
                yield f"{pipeline}: the {what} have the numbers {found}"


def answers(history: History) -> Iterator[str]:
    """What was accepted is there, and is what was sent. The same delivery has one run, and nobody else's."""
    runs = _runs(history)
    accepted = [push for push in history.get("pushes", ()) if push["status"] == 202]
    for push in accepted:
        run = runs.get(f"{push['pipeline']}#{push['run']}")
        if run is None:
            yield f"lost: {push['delivery']} was accepted as {push['pipeline']}#{push['run']}, which is not there"
        elif run["commit"] != push["commit"]:
            yield f"{_id(run)} carries {run['commit'][:7]}, but was the answer to {push['commit'][:7]}"
    for (pipeline, delivery), rows in _by(accepted, "pipeline", "delivery").items():
        if len({row["run"] for row in rows}) > 1:
            yield f"doubled: delivery {delivery} made {pipeline}#{sorted({row['run'] for row in rows})}"
    for (pipeline, number), rows in _by(accepted, "pipeline", "run").items():
        if sum(not row["duplicate"] for row in rows) > 1:
            yield f"{pipeline}#{number} was the answer to two deliveries, neither told to be a duplicate"
    made = (run for run in history["runs"] if run["delivery"])
    for (pipeline, delivery), rows in _by(made, "pipeline", "delivery").items():
        if len(rows) > 1:
            yield f"doubled: {pipeline} has {len(rows)} runs of delivery {delivery}"


def ends(history: History) -> Iterator[str]:
    """Every run has one recorded end, or waits for a person."""
    for run in history["runs"]:
        over = run["state"] == "ended"
        if over != bool(run["outcome"]):
            yield f"{_id(run)} is {run['state']} with the outcome {run['outcome']}"
        if history.get("drained", True) and not over and run["state"] != "waiting":
            yield f"{_id(run)} has no end: it is {run['state']}"
        if run["state"] == "waiting" and not run["gate"]:
            yield f"{_id(run)} waits, and nobody knows before what"
    waiting = (run for run in history["runs"] if run["state"] == "waiting")
    for (pipeline, gate), rows in _by(waiting, "pipeline", "gate").items():
        if len(rows) > 1:
            yield f"{pipeline}: {len(rows)} runs wait before {gate}"


def events(history: History) -> Iterator[str]:
    """Each run's stream: accepted first and once, the end last and once, where there is one, and the same one."""
    runs = _runs(history)
    told = _by(history.get("events", ()), "run")
    for (name,), rows in told.items():
        kinds = Counter(row["kind"] for row in rows)
        run = runs.get(name)
        if run is None:
            yield f"{name} has events and no record"
            continue
        if rows[0]["kind"] != "accepted" or kinds["accepted"] != 1:
            yield f"{name}: was told to be accepted {kinds['accepted']} times, first was {rows[0]['kind']}"
        wanted = 1 if run["state"] == "ended" else 0
        if kinds["end"] != wanted:
            yield f"{name}: {kinds['end']} ends were told, it has {wanted}"
        elif wanted and rows[-1]["kind"] != "end":
            yield f"{name}: {rows[-1]['kind']} was told after the end"
        if wanted and any(row["outcome"] != run["outcome"] for row in rows if row["kind"] == "end"):
            yield f"{name}: another end was told than {run['outcome']}"
    if told:
        yield from (f"{name}: nothing was told of it" for name in runs if (name,) not in told)


def passed_everything(history: History) -> Iterator[str]:
    """A run that ended live was verified in each of its environments, and has a release."""
    for run in history["runs"]:
        if run["outcome"] != "live":
            continue
        verified = {step["stage"] for step in run["steps"] if step["step"] == "verify" and step["ok"]}
        missing = [stage for stage in run["stages"] if stage != "build" and stage not in verified]
        if missing:
            yield f"{_id(run)} is live and was never verified in {', '.join(missing)}"
        if not run["release"]:
            yield f"{_id(run)} is live without a release"


def one_serves(history: History) -> Iterator[str]:
    """One slot of an environment serves: that which the record calls active, and the proxy sends traffic to."""
    traffic = {(row["pipeline"], row["environment"]): row["slot"] for row in history.get("traffic", ())}
    for place in history.get("environments", ()):
        name, active = f"{place['pipeline']}/{place['name']}", place["active"]
        serving = [slot for slot, record in place["slots"].items() if record["state"] == "serving"]
        if serving != ([active] if active else []):
            yield f"{name}: {active} is active, and {serving} serve"
        if place["switching"]:
            yield f"{name}: still means to switch to {place['switching']}"
        real = traffic.get((place["pipeline"], place["name"]), active)
        if (real or None) != (active or None):
            yield f"{name}: the proxy serves {real or 'nothing'}, the record says {active or 'nothing'}"


def newest_good(history: History) -> Iterator[str]:
    """What serves is of the newest run that became live, or of the revert that came after it; a run that passed takes
    its environment for good."""
    for place in history.get("environments", ()):
        name = f"{place['pipeline']}/{place['name']}"
        through = [run for run in history["runs"] if _through(run, place)]
        record = place["slots"].get(place["active"]) if place["active"] else None
        if record is None:
            if through:
                yield f"{name} serves nothing, and {_id(through[-1])} was verified there"
            continue
        mine = [run for run in through if run["number"] == record["run"]]
        if not mine:
            yield f"{name} serves r{record['release']} of #{record['run']}, which was never verified there"
            continue
        run = mine[0]
        if run["release"] != record["release"]:
            yield f"{name} serves r{record['release']} for {_id(run)}, whose release is r{run['release']}"
        same = [one for one in through if (one["kind"] == "revert") == (run["kind"] == "revert")]
        newest = max(
            same, key=lambda one: int(one["number"])
        )  # of the same release again nothing is switched
        if newest["release"] != run["release"] and not _went_back(history, place, newest["number"]):
            yield f"{name} serves {_id(run)}, and #{newest['number']} is newer and passed there"


def _through(run: Row, place: Row) -> bool:
    steps = run["steps"] if run["pipeline"] == place["pipeline"] else ()
    return any(s["stage"] == place["name"] and s["step"] == "verify" and s["ok"] for s in steps)


def _went_back(history: History, place: Row, newest: int) -> bool:
    """A revert of this environment came after that run, and what it put back serves."""
    reverts = [r for r in history["runs"] if r["kind"] == "revert" and _through(r, place)]
    return any(run["number"] > newest for run in reverts)


def heads_arrive(history: History) -> Iterator[str]:
    """The commit that a branch points to has a run that was not superseded; nobody else's takes its place."""
    for head in history.get("heads", ()):
        mine = [run for run in history["runs"] if run["pipeline"] == head["pipeline"]]
        carrying = [r for r in mine if r["commit"] == head["commit"] and r["outcome"] != "superseded"]
        by_hand = [run for run in mine if run["kind"] == "deploy"]
        if mine and not carrying and not by_hand:
            yield f"{head['pipeline']}: the head {head['commit'][:7]} has no run of its own that was not superseded"


def quarantine(history: History) -> Iterator[str]:
    """Nothing serves that is in quarantine there, unless a revert that meant to take it away did not come through."""
    releases = {(row["pipeline"], row["number"]): row for row in history.get("releases", ())}
    for place in history.get("environments", ()):
        record = place["slots"].get(place["active"]) if place["active"] else None
        release = releases.get((place["pipeline"], record["release"])) if record else None
        if record is None or release is None:
            continue
        pair = (release["image"], release["fingerprints"].get(place["name"]))
        bad = {(entry["image"], entry["fingerprint"]) for entry in place["quarantine"]}
        if pair in bad and not _stayed(history, place, record):
            yield f"{place['pipeline']}/{place['name']} serves r{release['number']}, which is in quarantine there"


def _stayed(history: History, place: Row, record: Row) -> bool:
    reverts = [run for run in history["runs"] if run["kind"] == "revert" and run["stages"] == [place["name"]]]
    mine = [run for run in reverts if run["pipeline"] == place["pipeline"] and run["number"] > record["run"]]
    return any(run["outcome"] != "live" for run in mine)


def forward(history: History) -> Iterator[str]:
    """Runs switch an environment in the order of their numbers; reverts and going back apart."""
    runs = _runs(history)
    for (pipeline, name), rows in _by(history.get("switches", ()), "pipeline", "environment").items():
        newest = 0
        for row in rows:
            run = runs.get(f"{pipeline}#{row['run']}")
            own = row["holder"] == f"{pipeline}#{row['run']}"
            if run is None or run["kind"] == "revert" or not own:
                continue
            if row["run"] < newest:
                yield f"{pipeline}/{name}: #{row['run']} was switched to after #{newest}"
            if _through(run, {"pipeline": pipeline, "name": name}):
                newest = max(newest, row["run"])


def holders(history: History) -> Iterator[str]:
    """Traffic is moved by who holds the environment, and by nobody else."""
    for row in history.get("switches", ()):
        if row["holder"] != "keeper" and not row["holder"].startswith(f"{row['pipeline']}#"):
            name = f"{row['pipeline']}/{row['environment']}"
            yield f"{name}: r{row['release']} was switched to while {row['holder'] or 'nobody'} held it"


def one_at_a_time(history: History) -> Iterator[str]:
    """No two runs act in one environment at once."""
    for (pipeline, name), rows in _by(history.get("acts", ()), "pipeline", "environment").items():
        before: Row | None = None
        for row in sorted(rows, key=lambda one: one["begin"]):
            if before and before["run"] != row["run"] and row["begin"] < before["end"]:
                yield f"{pipeline}/{name}: {before['run']} and {row['run']} acted there at once"
            if before is None or row["end"] > before["end"]:
                before = row


RULES: tuple[Callable[[History], Iterator[str]], ...] = (
    numbers,
    answers,
    ends,
    events,
    passed_everything,
    one_serves,
    newest_good,
    heads_arrive,
    quarantine,
    forward,
    holders,
    one_at_a_time,
)
