"""What people do outside of runs has records of its own. On fakes and a real store."""

from __future__ import annotations

import ast
import hashlib
import json
import os
from pathlib import Path

import pytest

from pipeline.adapters.fake import Killed
from pipeline.adapters.fake.terminals import MISSING
from pipeline.deploy.tools.sessions import Ended
from pipeline.domain import audit_chain
from pipeline.domain.audit_chain import Actor
from pipeline.domain.engine_types import CommandResult
from pipeline.errors import AppFailed, EngineFailed
from pipeline.evidence.acts import NOT_KEPT, Acts
from pipeline.evidence.bundle import SCHEMA_FILE
from pipeline.evidence.recorder import POSITION
from pipeline.lib.secret import Secret
from pipeline.service.tools import Asked
from tests.story.test_evidence import content, exported, folder  # noqa: F401 - a fixture
from tests.support.json_schema import problems
from tests.support.paths import ROOT

ANN = Actor("ann", "maintainer", "10.0.0.9", "cli")
BEN = Actor("ben", "developer", "10.0.0.8", "page")
SCHEMA = json.loads(SCHEMA_FILE.read_text())["$defs"]
TWO = "pipelines: {hello: {environments: {dev: , live: {promote: {manual: true, approvals: 2}}}}}"


def kept(world, pipeline: str = "hello") -> list[dict]:
    return [one.record() for one in Acts(world.settings.data).of(pipeline)]


def told(world, pipeline: str = "hello") -> list[tuple[str, ...]]:
    keys = ("act", "who", "environment", "why", "before", "after")
    return [tuple(one["act"][key] for key in keys) for one in kept(world, pipeline)]


def files(world) -> dict[str, bytes]:
    place = world.settings.data / "evidence" / "_acts"
    return {str(path.relative_to(place)): path.read_bytes() for path in place.rglob("*") if path.is_file()}


def test_each_act_of_a_person_writes_a_record_with_what_it_changed(make_world):
    world = make_world(TWO)
    world.push("one")
    world.commands.hold("hello", ANN, environment="live", reason="lunch")
    world.commands.resume("hello", ANN, environment="live")
    world.commands.promote("hello", BEN, run=1, reason="tried it")
    world.commands.promote("hello", ANN, run=1)
    world.commands.set_secret("hello", ANN, "PASSWORD", Secret("hunter22"), environment="live")
    world.commands.remove_secret("hello", ANN, "PASSWORD", environment="live")
    world.commands.freeze(ANN, reason="sale")
    world.commands.thaw(ANN, reason="over")
    world.commands.create_token("cat", "developer", ANN)
    world.commands.revoke_token("cat", ANN)
    world.jobs.evidence.run()

    assert told(world) == [
        ("hold", "ann", "live", "lunch", "not held", "held by ann: lunch"),
        ("resume", "ann", "live", "", "held by ann: lunch", "not held"),
        ("promote", "ben", "live", "tried it", "waiting, 0 of 2 approvals", "waiting, 1 of 2 approvals"),
        ("promote", "ann", "live", "", "waiting, 1 of 2 approvals", "running, 2 of 2 approvals"),
        ("secret set", "ann", "live", "", "not set", "version 1"),
        ("secret rm", "ann", "live", "", "version 1", "removed: version 1"),
    ]
    assert sorted(one for one in told(world, "") if one[1] == "ann") == [
        ("freeze", "ann", "", "sale", "not frozen", "frozen until a thaw"),
        ("thaw", "ann", "", "over", "frozen: hello/dev, hello/live", "open"),
        ("token create", "ann", "", "", "no token", "developer, never expires"),
        ("token revoke", "ann", "", "", "developer, never expires", "no token"),
    ]
    log = {entry["number"]: entry for entry in world.commands.audit_log(limit=100)}
    for one in (*kept(world), *kept(world, "")):
        assert problems(one, SCHEMA["act"]) == []
        entry = log[one["act"]["number"]]
        assert (one["act"]["hash"], one["act"]["previous"]) == (entry["hash"], entry["previous"])
        assert "10.0.0" not in json.dumps(one)
    assert world.commands.verify_audit().problems == []


def test_a_withdrawn_approval_and_a_release_from_quarantine_have_records_with_their_reasons(make_world):
    world = make_world(TWO)
    for text in ("one", "two"):
        run = world.push(text)
        for by in (ANN, BEN):
            world.commands.promote("hello", by, run=run.number)
        world.work()
    world.commands.revert("hello", ANN, environment="live", reason="slow")
    world.work()
    world.commands.unquarantine("hello", ANN, 2, reason="the index is there")
    world.commands.resume("hello", ANN, environment="live")
    run = world.push("three")
    world.commands.promote("hello", BEN, run=run.number)
    world.commands.withdraw("hello", BEN, reason="not yet")
    world.jobs.evidence.run()
    assert (
        "unquarantine",
        "ann",
        "live",
        "the index is there",
        "in quarantine: r2 (slow)",
        "r2 may enter",
    ) in told(world)
    withdrawn = (
        "withdraw",
        "ben",
        "live",
        "not yet",
        "waiting, 1 of 2 approvals",
        "waiting, 0 of 2 approvals",
    )
    assert withdrawn in told(world)
    for one in kept(world):
        assert problems(one, SCHEMA["act"]) == []


def test_a_value_that_is_set_says_what_was_there(world):
    world.push("one")
    values = {"replicas": "3", "env.A": "b"}
    shown = world.commands.set_values("hello", ANN, values=values)
    world.commands.set_values("hello", ANN, values=values, seen=shown["config"])
    world.jobs.evidence.run()

    (one,) = (record["act"] for record in kept(world) if record["act"]["act"] == "set")
    assert (one["before"], one["after"]) == ("replicas: 2; env.A: not set", "replicas: 3; env.A: b")


def test_a_value_that_was_there_is_said_as_it_is_written(make_world):
    world = make_world("pipelines: {hello: {environments: {live: {shift: {steps: [20%, 50%], for: 60s}}}}}")
    world.push("one")
    values = {"shift": "{steps: [30%], for: 60s}"}
    shown = world.commands.set_values("hello", ANN, values=values)
    world.commands.set_values("hello", ANN, values=values, seen=shown["config"])
    world.jobs.evidence.run()

    (one,) = (record["act"] for record in kept(world) if record["act"]["act"] == "set")
    assert (one["before"], one["after"]) == (
        "shift: {steps: [20%, 50%], for: 60s}",
        "shift: {steps: [30%], for: 60s}",
    )


def ends(world, pipeline: str = "hello") -> list[tuple[str, str, str]]:
    world.jobs.evidence.run()
    keys = ("act", "before", "after")
    return [tuple(one["act"][key] for key in keys) for one in kept(world, pipeline)]


def test_what_a_command_did_is_recorded_at_its_end(world):
    world.push("one")
    image = f"r1, image {world.store.release('hello', 1).image}"
    world.engine.commands = lambda *_: CommandResult(3, "four", 0.1)
    session = world.tools.exec_command("hello", ANN, Asked(("ls", "-l")), environment="live")
    assert list(session.events())[-1] == Ended(3)
    session.close()
    hashed = hashlib.sha256(b"four").hexdigest()

    begun, ended = ends(world)
    assert begun == ("exec", image, "")
    assert ended[:2] == ("exec ended", image)
    assert ended[2].startswith("exit code 3 after 0")
    assert ended[2].endswith(f"; 0 B in, 4 B out (sha256 {hashed})")
    for one in kept(world):
        assert problems(one, SCHEMA["act"]) == []
        assert one["act"]["detail"].endswith(": ls -l")


def test_a_command_that_its_client_left_or_that_did_not_start_has_an_end_too(world):
    world.push("one")
    world.tools.run_command("hello", ANN, Asked(("cat",)), environment="live").close()
    with pytest.raises(AppFailed):
        world.tools.run_command("hello", ANN, Asked((MISSING,)), environment="live")

    told = [one for one in ends(world) if one[0] == "run ended"]
    assert told[0][2].startswith("ended before it was done after ")
    assert told[1][2].startswith("it could not be started: ")
    assert MISSING in told[1][2]


def test_the_end_of_a_command_whose_service_died_is_recorded_by_the_keeper(world):
    world.push("one")
    session = world.tools.exec_command("hello", ANN, Asked(("cat", "x hunter22")), environment="live")
    world.store.client.delete(world.store.key("lease", session.record.lease))
    assert "was ended, since the service" in world.another_process().left_sessions.run()[0]

    act = next(one["act"] for one in kept_now(world) if one["act"]["act"] == "exec ended")
    assert (act["who"], act["way"], act["release"]) == ("ann", "keeper", "r1")
    assert act["after"].startswith("what came of it is not known")
    assert act["detail"].endswith("cat 'x hunter22'")


def kept_now(world) -> list[dict]:
    world.jobs.evidence.run()
    return kept(world)


def test_a_restart_and_what_gc_and_doctor_did_say_so(world, monkeypatch):
    world.push("one")
    list(world.tools.restart("hello", ANN, environment="live"))
    world.commands.gc(ANN)
    world.commands.fix(ANN)
    monkeypatch.setattr(world.commands._operations, "gc", lambda _: failing())
    with pytest.raises(EngineFailed):
        world.commands.gc(ANN)

    restarted = ends(world)[-1]
    assert (restarted[0], restarted[1].split(",")[0]) == ("restart ended", "r1")
    assert restarted[2].startswith("started again")
    others = [one for one in ends(world, "") if one[0].endswith(" ended")]
    assert [one[0] for one in others] == ["gc ended", "doctor --fix ended", "gc ended"]
    assert all(one[2] for one in others)
    assert others[-1][2] == "failed: the disk is full."


def failing() -> None:
    raise EngineFailed("the disk is full.")


def test_every_act_in_the_code_says_what_it_changed():
    """Either its entry has `after`, or it has a second one at its end."""
    without = []
    for file in sorted((ROOT / "pipeline").rglob("*.py")):
        for call in ast.walk(ast.parse(file.read_text())):
            if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute):
                continue
            name = call.func.attr
            texts = {
                one.value for one in call.args if isinstance(one, ast.Constant) and isinstance(one.value, str)
            }
            known = {one.arg for one in call.keywords}
            if name not in ("entry", "_entry", "record") or not texts or texts & NOT_KEPT:
                continue
            if "after" not in known and None not in known:
                without.append((file.name, call.lineno, *texts))
    assert without == []


def test_a_secret_in_a_reason_is_not_in_its_record(world):
    world.commands.set_secret("hello", ANN, "PASSWORD", Secret("hunter22"))
    world.commands.hold("hello", ANN, environment="live", reason="the password is hunter22")
    world.jobs.evidence.run()

    assert "hunter22" not in json.dumps(kept(world))
    assert kept(world)[-1]["act"]["why"] == "the password is •••"


@pytest.mark.parametrize("point", ["open", "link", "unlink", "set"])
def test_fault_64_a_keeper_that_dies_while_it_writes_leaves_each_act_one_record(world, monkeypatch, point):
    def killed(*_: object, **__: object) -> None:
        raise Killed("SIGKILL")

    for reason in ("lunch", "dinner"):
        world.commands.hold("hello", ANN, environment="live", reason=reason)
    with monkeypatch.context() as patched:
        if point == "set":
            patched.setattr(type(world.store.facts), "set", killed)
        else:
            patched.setattr(Path if point == "unlink" else os, point, killed)
            patched.setattr(Path, "unlink", killed)
        with pytest.raises(Killed):
            world.jobs.evidence.run()
    before = {name: text for name, text in files(world).items() if name.endswith(".json")}

    world.jobs.evidence.run()
    world.another_process().evidence.run()

    after = files(world)
    assert {name: after[name] for name in before} == before
    assert [one[3] for one in told(world)] == ["lunch", "dinner"]


def test_entries_of_a_chain_that_began_again_have_records_as_well(world):
    world.commands.hold("hello", ANN, environment="live", reason="lunch")
    world.jobs.evidence.run()
    world.store.facts.set(POSITION, "1000")  # of a log that was longer
    world.commands.resume("hello", ANN, environment="live")

    world.jobs.evidence.run()

    assert [one[0] for one in told(world)] == ["hold", "resume"]


def test_an_entry_of_an_earlier_version_has_a_record_and_its_chain_is_intact(world):
    entry = audit_chain.entry(ANN, "hold", world.clock.now(), pipeline="hello", environment="live", why="old")
    del entry["before"], entry["after"]
    world.store.audit.record(entry)
    world.jobs.audit.run()
    world.jobs.evidence.run()

    assert told(world) == [("hold", "ann", "live", "old", "", "")]
    assert problems(kept(world)[0], SCHEMA["act"]) == []
    assert world.commands.verify_audit().problems == []


def test_a_bundle_has_the_records_of_the_acts_that_concern_its_release(make_world, folder):  # noqa: F811
    world = make_world(TWO)
    world.push("one")
    world.commands.promote("hello", BEN, run=1, reason="tried it")
    world.commands.promote("hello", ANN, run=1)
    world.work()
    world.commands.hold("hello", ANN, environment="live", reason="lunch")
    world.commands.freeze(ANN, environment="live", reason="<b>sale</b>")
    world.commands.create_token("cat", "developer", ANN)  # by another clock, which is far behind

    archive = exported(world, folder, release=1)
    found = content(archive)
    about = json.loads(found["bundle.json"])

    records = {name: json.loads(text) for name, text in found.items() if name.startswith("records/act-")}
    assert sorted(one["act"]["act"] for one in records.values()) == ["freeze", "hold", "promote", "promote"]
    listed = {one["record"]: one["act"] for one in about["acts"] if one["record"]}
    assert listed == {name: one["act"]["act"] for name, one in records.items()}
    assert [(one["by"], one["why"], one["number"], one["needed"]) for one in about["approvals"]] == [
        ("ben", "tried it", 1, 2),
        ("ann", "", 2, 2),
    ]
    assert problems(about, SCHEMA["bundle"]) == []
    assert json.loads(found["records/run-1.json"])["approvals"] == [
        {key: value for key, value in one.items() if key != "run"} for one in about["approvals"]
    ]
    page = found["index.html"].decode()
    assert "1 of 2" in page
    assert "&lt;b&gt;sale" in page
    assert all(name in page for name in records)
    assert content(exported(world, folder, release=1)) == found


def test_what_only_begins_a_run_or_reads_has_none(world, folder):  # noqa: F811
    world.push("one")
    exported(world, folder, release=1)
    world.commands.record(Actor("", "", "10.0.0.9", "page"), "log-in failed")
    world.jobs.evidence.run()

    assert kept(world) == []
    assert not {one["act"]["act"] for one in kept(world, "")} & NOT_KEPT
