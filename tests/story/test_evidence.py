"""What a run leaves behind for good. On fakes and a real store."""

from __future__ import annotations

import json
import os
import shutil
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.adapters.fake import Killed
from pipeline.domain.audit_chain import Actor
from pipeline.domain.run import Outcome
from pipeline.errors import EngineFailed, NotFound, TryAgain
from pipeline.evidence import baked
from pipeline.evidence.acts import Acts
from pipeline.evidence.bundle import SCHEMA_FILE
from pipeline.evidence.record import PARTS
from pipeline.evidence.recorder import POSITION
from pipeline.evidence.records import Records
from pipeline.evidence.signing import public_key
from pipeline.evidence.verify import verify
from pipeline.maintenance.doctor.evidence import examine
from tests.support.json_schema import problems

ANN = Actor("ann", "developer", "10.0.0.9", "cli")
GATED = "pipelines: {hello: {environments: {dev: , live: {promote: manual}}}}"


def killed(*_: object, **__: object) -> None:
    raise Killed("SIGKILL")


def records(world) -> list[dict]:
    """Of runs."""
    return [one.record() for one in Records(world.settings.data).of("hello") if one.kind == "run"]


def names(world) -> list[str]:
    return [one.name for one in Records(world.settings.data).of("hello") if one.kind == "run"]


def acts(world, pipeline: str = "hello") -> list[str]:
    """Those that have records of their own."""
    return [one.record()["act"]["act"] for one in Acts(world.settings.data).of(pipeline)]


def files(world) -> dict[str, bytes]:
    folder = world.settings.data / "evidence"
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_each_end_of_a_run_writes_one_record_of_all_that_was_known(world):
    world.push("one")
    run = world.push("two")
    world.keeper.tick()

    first, record = records(world)

    assert run.outcome == Outcome.LIVE
    assert (record["id"], record["run"]["outcome"], record["run"]["pusher"]) == ("hello#2", "live", "ann")
    assert record["release"]["image"] == world.store.release("hello", 2).image
    assert [step["step"] for step in record["steps"] if step["stage"] == "live"] == [
        "start",
        "smoke",
        "switch",
        "verify",
    ]
    assert {check["asked"] for check in record["checks"]["live"]} == {"GET /", "GET /healthz"}
    assert (record["commits"]["release"], [one["message"] for one in record["commits"]["list"]]) == (
        1,
        ["two"],
    )
    assert first["commits"]["list"] == []
    assert record["environments"]["live"]["configuration"]["service"]["replicas"] == 2
    assert record["environments"]["live"]["before"] == 1
    assert [act["act"] for act in record["acts"]] == ["push"]
    assert record["log"]["size"] > 0


def test_the_reason_of_each_act_is_in_the_record_and_no_address(make_world):
    world = make_world(GATED)
    world.push("one")
    world.commands.hold("hello", ANN, environment="live", reason="lunch")
    world.commands.resume("hello", ANN, environment="live")
    world.commands.promote("hello", ANN, run=1)
    world.work()
    world.keeper.tick()

    (record,) = records(world)

    assert [(act["act"], act["who"]) for act in record["acts"]] == [("push", "ann"), ("promote", "ann")]
    assert "10.0.0.9" not in json.dumps(record)


def test_a_run_that_no_worker_had_is_recorded_as_well(world):
    world.accept(world.commit("one"))
    world.accept(world.commit("two"))  # supersedes it
    world.keeper.tick()

    assert [(one["id"], one["run"]["outcome"]) for one in records(world)] == [("hello#1", "superseded")]


def test_a_failed_run_has_its_card_and_the_release_that_went_on_serving(world):
    world.push("one")
    world.break_app(2)
    world.push("two")
    world.keeper.tick()

    record = records(world)[-1]

    assert (record["run"]["outcome"], record["run"]["failure"]["stage"]) == ("failed", "dev")
    assert record["checks"]["dev"][-1]["answer"].startswith("status 500")
    assert record["environments"]["live"]["before"] == 1


def test_a_record_is_written_once_and_nothing_changes_it(world):
    world.push("one")
    world.keeper.tick()
    before = files(world)

    world.configure("pipelines: {hello: {environments: {live: }}}")
    (world.settings.data / "logs" / "hello" / "1.log").write_text("cleaned up")
    with world.store.client.pipeline() as pipe:
        pipe.sadd(world.store.key("evidence-due"), "run hello#1").execute()
    world.clock.sleep(10)
    world.keeper.tick()
    world.another_keeper().tick()

    after = files(world)
    assert {name: after[name] for name in before} == before
    assert names(world) == ["run-1"]
    assert world.store.evidence_due() == ()


def test_fault_64_a_keeper_that_dies_before_it_wrote_leaves_the_record_to_the_next(world, monkeypatch):
    world.push("one")
    folder = world.settings.data / "evidence" / "hello"
    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", killed)
        patched.setattr(shutil, "rmtree", killed)
        with pytest.raises(Killed):
            world.jobs.evidence.run()
    assert (names(world), len(os.listdir(folder))) == ([], 1)
    os.utime(next(folder.iterdir()), (1.0, 1.0))

    world.jobs.evidence.run()

    assert (names(world), len(os.listdir(folder))) == (["run-1"], 1)


def test_fault_64_a_disk_that_is_full_is_reported_once_and_tried_again(world, monkeypatch):
    world.push("one")
    with monkeypatch.context() as patched:
        patched.setattr(
            Path, "mkdir", lambda *_, **__: (_ for _ in ()).throw(OSError(28, "No space left on device"))
        )
        said = world.jobs.evidence.run() + world.jobs.evidence.run()
    assert [line.split(":")[0] for line in said] == [
        f"the record of hello#1 cannot be written to {world.settings.data}/evidence/hello",
        f"the record of entry 1 of the audit log cannot be written to {world.settings.data}/evidence/_acts/_",
    ]

    assert world.jobs.evidence.run() == []
    assert names(world) == ["run-1"]


def test_what_the_repository_cannot_tell_is_named_in_the_record(world):
    world.push("one")
    world.source.fail("history", EngineFailed("git is gone."))
    world.push("two")
    world.keeper.tick()

    assert records(world)[-1]["commits"]["problem"] == "git is gone."


def test_a_secret_is_in_no_record(make_world):
    world = make_world(
        "pipelines: {hello: {service: {secrets: [PASSWORD], env: {COPY: hunter22}}, environments: {live: }}}"
    )
    from pipeline.lib.secret import Secret

    world.commands.set_secret("hello", ANN, "PASSWORD", Secret("hunter22"))
    world.push("the password is hunter22")
    world.keeper.tick()

    (record,) = records(world)
    assert "hunter22" not in json.dumps(record)
    assert record["environments"]["live"]["configuration"]["service"]["env"]["COPY"] == "•••"
    assert record["release"]["secrets"] == {"live": {"PASSWORD": 1}}


def test_records_are_kept_as_long_as_the_setting_says_and_those_of_what_serves_for_ever(world):
    for text in ("one", "two"):
        world.push(text)
    world.keeper.tick()
    settings = world.settings.model_copy(update={"evidence_keep": 3600.0})
    jobs = world.another_process(settings)
    world.commands.hold("hello", ANN, environment="live")
    jobs.evidence.run()
    assert (names(world), acts(world)) == (["run-1", "run-2"], ["hold"])

    world.clock.sleep(7200)

    assert jobs.evidence.run() == [
        "removed the records of 1 run, 1 bake and 1 act (PUSHLIVE_EVIDENCE_KEEP)",
    ]
    assert (names(world), acts(world)) == (["run-2"], [])
    world.store.facts.set(POSITION, "0")
    jobs.evidence.run()
    assert acts(world) == []  # what is too old is not written again


def test_the_doctor_says_what_the_records_take_and_which_is_missing(world):
    world.push("one")
    now = world.clock.now
    assert examine(world.services, now())["ok"]
    found = examine(world.services, now() + 120)
    assert found["text"].startswith(
        f"the record of hello#1 was not written to {world.settings.data}/evidence, 2 min"
    )

    world.keeper.tick()

    found = examine(world.services, now() + 120)
    assert (found["ok"], found["text"].partition(",")[0]) == (True, "records of 1 run and 1 act")
    assert found["text"].endswith("kept for ever (PUSHLIVE_EVIDENCE_KEEP)")

    world.push("two")  # ends the bake of one
    world.keeper.tick()
    world.jobs.bake_evidence.run()
    found = examine(world.services, now() + 120)
    assert found["text"].startswith("records of 2 runs, 1 bake and 1 act, ")


def lose(world, *numbers: int) -> None:
    """As if the keeper had never come to write these, and no one had noted it."""
    with world.store.client.pipeline() as pipe:
        pipe.delete(world.store.key("evidence-due")).execute()
    for one in Records(world.settings.data).of("hello"):
        if one.run in numbers:
            shutil.rmtree(one.folder)


def test_an_end_without_a_record_is_found_and_caught_up_and_the_record_says_so(world, folder):
    for text in ("one", "two", "three"):
        world.push(text)
    world.keeper.tick()
    lose(world, 2, 3)
    now = world.clock.now()
    found = examine(world.services, now + 120)
    assert found["ok"]
    assert found["text"].startswith("hello#2, hello#3 ended without a record; records of 1 run")
    assert "later than their ends" in found["advice"]
    assert world.jobs.missing_evidence.run() == []  # what has only just ended may have one in a second

    world.clock.sleep(660)
    assert world.another_process().missing_evidence.run() == [
        "hello#2 to hello#3: 2 ended without a record; they are written now, later than the end, which it says"
    ]
    assert world.another_process().missing_evidence.run() == []  # what is due already is not missing
    assert examine(world.services, world.clock.now() + 30)["ok"]
    assert "was not written" in examine(world.services, world.clock.now() + 90)["text"]
    world.jobs.evidence.run()

    assert [one["id"] for one in records(world)] == ["hello#1", "hello#2", "hello#3"]
    assert problems(records(world)[-1], json.loads(SCHEMA_FILE.read_text())["$defs"]["run"]) == []
    rows = {
        one["id"]: one["late"]
        for one in world.evidence.listed("hello", 10)["records"]
        if one["kind"] == "run"
    }
    assert rows["hello#1"] == 0
    assert 600 < rows["hello#3"] < 700
    page = content(exported(world, folder, run=3))["index.html"].decode()
    assert (
        "Written 11 min after the run&#x27;s end: what was removed or changed meanwhile is not in it." in page
    )
    assert "Written" not in content(exported(world, folder, run=1))["index.html"].decode()
    assert examine(world.services, world.clock.now())["ok"]


def test_what_is_too_old_to_be_kept_is_not_missing(world):
    world.push("one")
    world.keeper.tick()
    lose(world, 1)
    world.clock.sleep(7200)
    settings = world.settings.model_copy(update={"evidence_keep": 3600.0})
    assert world.another_process(settings).missing_evidence.run() == []


# ── bundles ──────────────────────────────────────────────────────────────────


def exported(world, folder: Path, **what) -> Path:
    size, pieces = world.evidence.bundle("hello", ANN, **what)
    target = folder / f"{len(os.listdir(folder))}.tar.gz"
    target.write_bytes(b"".join(pieces))
    assert target.stat().st_size == size
    return target


def content(archive: Path) -> dict[str, bytes]:
    with tarfile.open(archive) as opened:
        return {member.name: opened.extractfile(member).read() for member in opened}


@pytest.fixture
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("exported")


def test_a_release_is_exported_with_every_run_of_it_and_its_hash_is_in_the_audit_log(world, folder):
    for text in ("one", "two"):
        world.push(text)
    world.revert(reason="it is slow")
    world.commands.resume("hello", ANN, environment="live")
    key = public_key(world.evidence.key()["key"].encode())

    found = verify(exported(world, folder, release=1), key)

    assert (found.problems, found.signed, found.name) == ([], True, "hello r1")
    entry = world.commands.audit_log(limit=1)[0]
    assert (entry["act"], entry["who"], entry["release"]) == ("evidence", "ann", "r1")
    assert entry["detail"] == f"sha256 of hello r1: {found.sha256}"
    about = json.loads(content(folder / "0.tar.gz")["bundle.json"])
    assert [one["id"] for one in about["records"]] == ["hello#1", "hello#3"]
    assert [one["why"] for one in about["acts"] if one["act"] == "revert"] == ["it is slow"]


def test_neither_configuration_nor_logs_nor_the_store_change_a_bundle_later(world, folder):
    world.push("one")
    first = content(exported(world, folder, release=1))

    world.configure("pipelines: {hello: {service: {env: {A: b}}, environments: {live: }}}")
    shutil.rmtree(world.settings.data / "logs")
    world.store.client.delete(world.store.key("runs", "hello"))
    world.store.client.delete(world.store.key("releases", "hello"))

    assert content(exported(world, folder, release=1)) == first
    assert [one["act"] for one in world.commands.audit_log()].count("evidence") == 1
    assert content(exported(world, folder, run=1))["records/run-1.json"] == first["records/run-1.json"]


def test_a_record_and_the_image_s_provenance_are_as_their_schemas_say(world, folder):
    world.push("one")
    world.break_app(2)
    world.push("two")
    world.accept(world.commit("three"))
    world.commands.cancel("hello", 3, ANN)

    for number in (1, 2, 3):
        files = content(exported(world, folder, run=number))
        record = json.loads(files[f"records/run-{number}.json"])
        assert problems(record, json.loads(files["schema.json"])["$defs"]["run"]) == []
        assert world.evidence.record_of("hello", number) == record
        assert ("provenance.intoto.jsonl" in files) == (number < 3)
    described = json.loads(SCHEMA_FILE.read_text())["$defs"]
    assert set(PARTS) <= set(described["run"]["properties"])
    assert set(baked.PARTS) <= set(described["bake"]["properties"])


def test_an_image_that_an_earlier_run_built_has_that_run_s_provenance(world, folder):
    world.push("one")
    world.push("two")
    world.revert()
    world.commands.resume("hello", ANN, environment="live")
    text = world.settings.config.read_text().replace("service: {", "service: {env: {A: b}, ")
    world.commands.deploy("hello", replace(ANN, role="maintainer"), config=text)
    world.work()
    world.keeper.tick()
    key = public_key(world.evidence.key()["key"].encode())

    for name, number, built in (({"run": 3}, 3, "hello#1"), ({"release": 3}, 4, "hello#1")):
        files = content(exported(world, folder, **name))
        assert f"records/run-{number}.json" in files
        statement = key.opened(files["provenance.intoto.jsonl"])
        assert statement["predicate"]["runDetails"]["metadata"]["invocationId"] == built


def test_the_page_shows_what_a_hostile_commit_says_as_text(world, folder):
    world.push("<script>alert(1)</script>")
    page = content(exported(world, folder, release=1))["index.html"].decode()
    assert "<script" not in page
    assert "&lt;script&gt;" in page


def test_a_record_waits_until_the_worker_has_written_the_last_of_the_log(world, folder):
    world.push("one")
    lease = world.store.leases.take("run:hello#1", "worker")
    world.keeper.tick()
    assert names(world) == []
    with pytest.raises(TryAgain, match="hello#1 has only just ended"):
        world.evidence.bundle("hello", ANN, run=1)
    world.store.leases.drop(lease)
    assert "records/run-1.json" in content(exported(world, folder, run=1))


def test_what_is_not_there_is_named(world, folder):
    world.push("one")
    with pytest.raises(NotFound, match="there is no release r7 of hello"):
        world.evidence.bundle("hello", ANN, release=7)
    with pytest.raises(NotFound, match="no run of hello r1 was to reach 'prod'"):
        world.evidence.bundle("hello", ANN, release=1, environment="prod")
    with pytest.raises(NotFound, match="there is no run hello#9"):
        world.evidence.bundle("hello", ANN, run=9)
    world.accept(world.commit("two"))
    with pytest.raises(NotFound, match="hello#2 has not ended"):
        world.evidence.bundle("hello", ANN, run=2)


# ── bakes ────────────────────────────────────────────────────────────────────

BAKED = "pipelines: {hello: {environments: {live: {bake: 1m}}}}"


def look(world, times: int) -> None:
    for _ in range(times):
        world.clock.sleep(5)
        world.jobs.health.run()
        world.jobs.baking.run()
        world.jobs.bake_evidence.run()


def test_each_bake_leaves_a_record_of_what_was_seen(make_world, folder):
    world = make_world(BAKED)
    world.push("one")
    look(world, 5)
    world.push("two")
    world.commands.hold("hello", ANN, environment="live", reason="lunch")
    look(world, 14)
    world.another_process().bake_evidence.run()

    files = content(exported(world, folder, release=2))

    first, second = (
        one.record() for one in Records(world.settings.data).of("hello") if one.kind == "bake-live"
    )
    assert (first["bake"]["outcome"], second["bake"]["outcome"]) == ("superseded", "baked")
    assert (first["usage"], second["health"]["serving"]) == ([], 1)
    assert [(act["act"], act["why"]) for act in second["acts"]] == [("hold", "lunch")]
    for record in (first, second):
        assert problems(record, json.loads(files["schema.json"])["$defs"]["bake"]) == []
    about = json.loads(files["bundle.json"])
    assert [(one["kind"], one["outcome"]) for one in about["records"]] == [("run", "live"), ("bake", "baked")]
    assert json.loads(files["records/bake-live-2.json"]) == second
    assert "hello#2 bake in live" in files["index.html"].decode()
    assert (
        content(exported(world, folder, run=2))["records/bake-live-2.json"]
        == files["records/bake-live-2.json"]
    )


def test_a_release_that_was_reverted_says_so(make_world, folder):
    world = make_world(BAKED)
    for text in ("one", "two"):
        world.push(text)
    world.revert(reason="it is slow")

    acts = json.loads(content(exported(world, folder, release=2))["bundle.json"])["acts"]

    assert [(one["act"], one["run"], one["why"]) for one in acts if one["act"] == "revert"] == [
        ("revert", "hello#3", "it is slow")
    ]


def test_acts_in_the_environments_of_a_release_are_in_it_until_another_one_serves(make_world, folder):
    world = make_world(GATED)
    world.push("one")
    world.commands.promote("hello", ANN, run=1)
    world.work()
    world.clock.sleep(60)
    world.commands.hold("hello", ANN, environment="live", reason="lunch")
    world.commands.resume("hello", ANN, environment="live")
    world.clock.sleep(60)
    world.push("two")
    world.commands.promote("hello", ANN, run=2)
    world.work()
    world.keeper.tick()
    world.clock.sleep(60)
    world.commands.hold("hello", ANN, environment="live", reason="dinner")

    acts = json.loads(content(exported(world, folder, release=1))["bundle.json"])["acts"]

    assert [one["act"] for one in acts] == ["push", "promote", "hold", "resume"]
    assert [one["why"] for one in acts if one["act"] == "hold"] == ["lunch"]
