"""Databases, caches and brokers: made and ready before a release starts, and touched by nothing that deploys."""

from __future__ import annotations

import io
import tarfile

import pytest

from pipeline.domain.accessories import AccessoryRef
from pipeline.domain.audit_chain import Actor
from pipeline.domain.engine_types import CommandResult
from pipeline.domain.run import Outcome
from pipeline.errors import EngineFailed, Forbidden, NotFound, RequestError
from pipeline.lib import codec
from pipeline.maintenance.doctor.accessories import examine
from pipeline.runlog.failure_card import whose
from pipeline.service.tools import Asked
from tests.story.test_secrets import everything

CONFIG = """\
accessories:
  shop-db:
    image: postgres:15
    volume: /var/lib/postgresql/data
    port: 5432
    ready: 2s
    secrets: {POSTGRES_PASSWORD: generate}
pipelines:
  hello:
    uses: {db: shop-db}
    service:
      health: /healthz
      release: [./migrate]
      env: {DATABASE_URL: "postgres://postgres:${db.POSTGRES_PASSWORD|url}@${db.HOST}:${db.PORT}/x", PRICE: "$5 ${x}"}
    smoke: [{get: /, contains: r}]
    environments: {dev: , live: }
  other:
    uses: {database: shop-db}
    service: {health: /healthz, env: {PASSWORD: "${database.POSTGRES_PASSWORD}"}}
    environments: {live: }
"""
DEV, LIVE = AccessoryRef("shop-db", "dev"), AccessoryRef("shop-db", "live")


@pytest.fixture
def world(make_world):
    return make_world(CONFIG)


def password(world, environment: str) -> str:
    return world.engine.running[AccessoryRef("shop-db", environment)].secrets["POSTGRES_PASSWORD"].reveal()


def given(world, environment: str, pipeline: str = "hello") -> dict[str, str]:
    """The variables that the containers which serve there got as secrets."""
    active = world.environment(environment, pipeline).active
    [slot] = [
        content
        for ref, content in world.engine.contents.items()
        if (ref.pipeline, ref.environment, ref.slot) == (pipeline, environment, active)
    ]
    return {name: value.reveal() for name, value in slot.secrets.items()}


def test_one_is_made_in_each_environment_before_the_release_command(world):
    assert world.push("one").outcome == Outcome.LIVE
    order = [name for name in world.engine.names() if name in ("keep_accessory", "command", "start")]
    assert order == ["keep_accessory", "command", "start"] * 2
    assert set(world.engine.running) == {DEV, LIVE}
    assert password(world, "dev") != password(world, "live")


def test_references_are_filled_in_where_the_container_is_created_and_nowhere_else(world):
    world.engine.commands = lambda spec, argv: CommandResult(
        0, f"with {password(world, spec.ref.environment)}\n", 0.0
    )
    run = world.push("one")
    value = password(world, "live")
    assert given(world, "live") == {"DATABASE_URL": f"postgres://postgres:{value}@db:5432/x"}
    release = world.store.release("hello", run.release)
    assert release.environments["live"].service.env["PRICE"] == "$5 ${x}"
    assert value not in everything(world)
    assert "${db.POSTGRES_PASSWORD|url}" in everything(world)
    assert "with •••" in everything(world)


def test_several_pipelines_use_one(world):
    world.push("one")
    world.push("one", "other")
    assert given(world, "live", "other") == {"PASSWORD": password(world, "live")}
    assert set(world.engine.running[LIVE].attached) == {"hello", "other"}
    assert world.engine.running[LIVE].made == 1


def test_a_changed_definition_changes_nothing_by_a_push(world):
    world.push("one")
    world.configure(CONFIG.replace("postgres:15", "postgres:16"))
    assert world.push("two").outcome == Outcome.LIVE
    assert world.engine.running[LIVE].made == 1
    assert "replace_accessory" not in world.engine.names()


def test_one_that_was_never_made_is_made_as_the_file_says_by_the_next_run(world):
    world.engine.fail("keep_accessory", EngineFailed("there is no such image"))
    assert world.push("one").outcome == Outcome.FAILED
    world.configure(CONFIG.replace("postgres:15", "postgres:16"))
    assert world.push("two").outcome == Outcome.LIVE
    assert world.engine.running[DEV].spec.config.image == "postgres:16"
    assert [one["changes"] for one in world.accessories.overview()] == [[], []]


def test_one_that_lost_its_container_keeps_the_definition_that_its_data_know(world):
    world.push("one")
    del world.engine.running[DEV]
    world.configure(CONFIG.replace("postgres:15", "postgres:16"))
    assert world.push("two").outcome == Outcome.LIVE
    assert world.engine.running[DEV].spec.config.image == "postgres:15"


def test_one_that_is_not_ready_fails_the_run_before_anything_starts(world):
    world.push("one")
    world.engine.running[DEV].sick = "pg_isready exited with 2: no response"
    run = world.push("two")
    assert run.outcome == Outcome.FAILED
    assert (run.failure.step, run.failure.whose) == ("accessories", "accessory")
    assert run.failure.message == (
        "the accessory shop-db/dev did not become ready within 2s: pg_isready exited with 2: no response."
    )
    assert world.environment("dev").quarantine == ()
    assert world.serving() == {"dev": 1, "live": 1}


def test_the_card_of_one_with_a_wrong_definition_leads_to_one_that_works(world):
    world.accessories.start("shop-db", "ann", environment="dev")
    world.engine.running[DEV].sick = "TCP 10.0.0.29:5433: connection refused"
    failure = world.push("one").failure
    assert (whose(codec.plain(failure)), failure.whose) == ("the accessory", "accessory")
    assert (
        "`pushlive accessory apply shop-db dev` takes that over. Then `pushlive retry 'hello#1'`."
        in failure.advice
    )
    world.configure(CONFIG.replace("port: 5432", "port: 5433"))
    world.accessories.apply("shop-db", "ann", environment="dev")
    world.commands.retry("hello", 1, "ann")
    world.work()
    assert world.run(2).outcome == Outcome.LIVE


def test_an_application_that_fails_while_its_database_is_away_is_not_to_blame(world):
    world.push("one")

    def migrate(spec, argv):
        if spec.ref.environment == "live":
            world.engine.running[LIVE].sick = "no response"
        return CommandResult(1 if spec.ref.environment == "live" else 0, "cannot connect\n", 0.0)

    world.engine.commands = migrate
    run = world.push("two")
    assert run.failure.whose == "accessory"
    assert "the accessory shop-db/live is away: no response" in run.failure.message
    assert "cannot connect" in run.failure.evidence
    assert world.environment("live").quarantine == ()


def test_a_revert_does_not_wait_for_it(world):
    world.push("one")
    world.push("two")
    world.engine.running[LIVE].sick = "no response"
    run = world.revert(environment="live")
    assert run.outcome == Outcome.LIVE
    assert world.serving()["live"] == 1


# ── people ───────────────────────────────────────────────────────────────────


def row(world, environment: str = "live") -> dict:
    [found] = [one for one in world.accessories.overview() if one["environment"] == environment]
    return found


def test_status_hears_soon_that_one_which_was_away_is_ready(world):
    def shown() -> str:
        world.jobs.accessories.run()
        live = world.commands.status("hello")["pipelines"][0]["environments"][-1]
        return live["accessories"][0]["problem"]

    world.push("one")
    world.engine.running[LIVE].sick = "no response"
    assert "no response" in shown()
    world.engine.running[LIVE].sick = ""
    world.clock.sleep(5)
    assert shown() == ""
    world.engine.running[LIVE].sick = "no response"
    world.clock.sleep(5)
    assert shown() == ""  # what is well is looked at twice a minute
    world.clock.sleep(30)
    assert "no response" in shown()


def test_the_overview_says_what_is_there_and_what_apply_would_change(world):
    assert (row(world)["state"], row(world)["used_by"]) == ("missing", [])
    world.push("one")
    assert (row(world)["state"], row(world)["used_by"], row(world)["changes"]) == ("ready", ["hello"], [])
    world.configure(CONFIG.replace("postgres:15", "postgres:15.8"))
    assert row(world)["changes"] == ["image: postgres:15 → postgres:15.8"]
    world.engine.running[LIVE].sick = "no response"
    assert (row(world)["state"], row(world)["why"]) == ("not ready", "no response")


def test_apply_makes_it_as_the_file_says_with_the_same_secret(world):
    world.push("one")
    before = password(world, "live")
    world.configure(CONFIG.replace("postgres:15", "postgres:15.8"))
    [said] = world.accessories.apply("shop-db", "ann", environment="live")
    assert "image: postgres:15 → postgres:15.8" in said
    assert world.engine.running[LIVE].spec.config.image == "postgres:15.8"
    assert (world.engine.running[LIVE].made, world.engine.running[DEV].made) == (2, 1)
    assert password(world, "live") == before
    assert row(world)["changes"] == []
    assert [one["act"] for one in world.commands.audit_log()][:1] == ["accessory apply"]


def test_apply_refuses_another_folder_for_the_data(world):
    world.push("one")
    world.configure(CONFIG.replace("/var/lib/postgresql/data", "/elsewhere"))
    with pytest.raises(RequestError, match="keeps its data in /var/lib/postgresql/data"):
        world.accessories.apply("shop-db", "ann", environment="live")
    assert world.engine.running[LIVE].made == 1


def test_one_that_a_person_stopped_stays_so_and_fails_a_run_by_name(world):
    world.push("one")
    world.accessories.stop("shop-db", "ann", environment="dev")
    assert not world.engine.running[DEV].alive
    world.jobs.accessories.run()
    assert not world.engine.running[DEV].alive
    run = world.push("two")
    assert run.failure.message == "the accessory shop-db/dev was stopped by ann."
    assert "`pushlive accessory start shop-db dev`" in run.failure.advice
    world.accessories.start("shop-db", "ann", environment="dev")
    assert world.push("three").outcome == Outcome.LIVE


def test_one_can_be_made_before_anything_is_deployed(world):
    assert world.accessories.start("shop-db", "ann", environment="live") == ("shop-db/live is ready.",)
    assert world.engine.running[LIVE].attached == ("hello", "other")
    assert world.push("one").outcome == Outcome.LIVE
    assert world.engine.running[LIVE].made == 1


def test_the_keeper_brings_back_what_was_removed_by_hand_as_it_was_made(world):
    world.push("one")
    world.configure(CONFIG.replace("postgres:15", "postgres:16"))
    before = password(world, "live")
    del world.engine.running[LIVE]
    world.engine.running[DEV].alive = False
    said = world.jobs.accessories.run()
    assert sorted(said) == [
        f"the accessory shop-db/{name} was not running as it should, and was started"
        for name in ("dev", "live")
    ]
    assert world.engine.running[LIVE].spec.config.image == "postgres:15"
    assert (password(world, "live"), world.engine.running[DEV].alive) == (before, True)
    assert world.jobs.accessories.run() == []


def test_one_that_cannot_be_made_is_tried_again_later_and_leaves_its_lease_free(world):
    world.push("one")
    del world.engine.running[LIVE]
    world.engine.fail(
        "keep_accessory", EngineFailed("there is no such image"), times=4
    )  # twice in dev and twice in live
    # The next round comes at once; what a run or a person does about it must find the lease free.
    assert [world.jobs.accessories.run() for _ in range(2)] == [[], []]
    assert world.store.facts.get("accessory-problem:shop-db/live") == "there is no such image"
    for seconds in (20, 20):
        world.clock.sleep(seconds)
        assert world.jobs.accessories.run() == []
    world.clock.sleep(20)
    assert world.jobs.accessories.run() == [
        "the accessory shop-db/live was not running as it should, and was started"
    ]


def test_the_clean_up_leaves_one_that_nothing_uses_any_more(world):
    world.push("one")
    world.configure("pipelines: {different: {environments: {live: }}}")
    world.gc()
    assert set(world.engine.running) == {DEV, LIVE}
    calls = len(world.engine.calls)
    assert world.jobs.accessories.run() == []  # the environment's network may belong to another one by now
    assert "keep_accessory" not in [name for name, _ in world.engine.calls[calls:]]
    assert row(world)["changes"] == ["it is no longer in pipelines.yaml; it goes on as it is"]


def test_plan_says_that_a_push_does_not_change_it(world):
    world.push("one")
    changed = world.commands.plan(CONFIG.replace("postgres:15", "postgres:15.8"))["pipelines"]
    line = "accessory shop-db: image: postgres:15 → postgres:15.8; only `pushlive accessory apply shop-db {}` does it"
    assert changed["hello"]["live"] == (line.format("live"),)
    assert changed["hello"]["dev"] == (line.format("dev"),)
    assert "other" not in changed  # it has not used it yet


def test_plan_says_that_the_next_run_changes_one_that_was_never_made(world):
    world.engine.fail("keep_accessory", EngineFailed("there is no such image"))
    world.push("one")
    changed = world.commands.plan(CONFIG.replace("postgres:15", "postgres:15.8"))["pipelines"]
    assert changed["hello"]["dev"] == (
        "accessory shop-db: image: postgres:15 → postgres:15.8; the next run does it if there is none yet, otherwise "
        "only `pushlive accessory apply shop-db dev` does it",
    )


def test_doctor_has_a_line_for_each(world):
    def said() -> dict[str, str]:
        return {one["name"]: one["text"] for one in examine(world.services, world.adapters) if not one["ok"]}

    world.push("one")
    assert said() == {}
    world.engine.running[LIVE].sick = "no response"
    world.accessories.stop("shop-db", "ann", environment="dev")
    assert said() == {
        "accessory shop-db/live": "no response.",
        "accessory shop-db/dev": "was stopped by ann; deploys that need it fail",
    }


def test_status_says_which_accessory_is_away(world):
    world.push("one")
    world.jobs.accessories.run()

    def said() -> list:
        [hello] = world.commands.status("hello")["pipelines"]
        return [one["accessories"] for one in hello["environments"]]

    assert said() == [[{"name": "shop-db", "problem": ""}]] * 2
    world.engine.running[LIVE].sick = "no response"
    world.clock.sleep(31)
    world.jobs.accessories.run()
    world.accessories.stop("shop-db", "ann", environment="dev")
    assert said() == [
        [{"name": "shop-db", "problem": "it was stopped by ann"}],
        [{"name": "shop-db", "problem": "no response"}],
    ]
    world.engine.running[LIVE].sick = ""
    world.clock.sleep(31)
    world.jobs.accessories.run()
    assert said()[1] == [{"name": "shop-db", "problem": ""}]


# ── what is no longer needed ─────────────────────────────────────────────────

WITHOUT = """\
pipelines:
  hello: {service: {health: /healthz}, smoke: [{get: /, contains: r}], environments: {dev: , live: }}
"""


def unused(world) -> None:
    """The release that serves does not use it any more, and the one before is no longer warm."""
    world.configure(WITHOUT)
    world.push("two")
    world.clock.sleep(3600)
    world.reconcile()
    world.clock.sleep(31)
    world.jobs.accessories.run()


def test_one_that_is_in_use_is_not_removed(world):
    world.push("one")
    with pytest.raises(
        RequestError, match=r"in use by hello \(pipelines.yaml\), other \(pipelines.yaml\)"
    ) as caught:
        world.accessories.remove("shop-db", "ann", environment="live")
    assert "Remove it from `uses` of hello, other in pipelines.yaml" in caught.value.advice
    world.configure(WITHOUT)
    with pytest.raises(RequestError, match=r"in use by hello \(r1, which is serving there\)"):
        world.accessories.remove("shop-db", "ann", environment="live")
    assert row(world)["left"] == (
        "no pipeline in pipelines.yaml uses it there; still in use by hello (r1, which is serving there)"
    )
    world.configure(CONFIG)
    world.push("two")
    world.configure(WITHOUT)
    assert row(world)["left"].endswith(
        "still in use by hello (r1, which is warm there, and r2, which is serving there)"
    )
    assert world.engine.running[LIVE].alive


def test_one_that_nothing_uses_is_removed_and_comes_back_with_its_secrets(world):
    world.push("one")
    before = password(world, "live")
    unused(world)
    assert (row(world)["used_by"], row(world)["left"]) == (
        [],
        "no pipeline in pipelines.yaml uses it there",
    )
    assert world.engine.running[LIVE].attached == ()
    lines = [
        one for one in examine(world.services, world.adapters) if one["name"] == "accessory shop-db/live"
    ]
    assert [(one["ok"], one["text"]) for one in lines] == [
        (True, "nothing uses it; `pushlive accessory rm shop-db live` removes it")
    ]
    with pytest.raises(RequestError):
        world.commands.remove_volume("shop-db", "live", "data", "ann")
    said = world.accessories.remove("shop-db", "ann", environment="live")
    assert said[1] == "`pushlive volume rm shop-db/live/data` removes the data for ever."
    assert set(world.engine.running) == {DEV}
    assert [one["environment"] for one in world.accessories.overview()] == ["dev"]
    assert world.jobs.accessories.run() == []
    [volume] = [one for one in world.commands.volumes("shop-db")["volumes"] if one["environment"] == "live"]
    assert volume["left"] == "no pipeline uses an accessory shop-db in live"
    assert [one["act"] for one in world.commands.audit_log()][:1] == ["accessory rm"]
    world.configure(CONFIG)
    assert world.push("three").outcome == Outcome.LIVE
    assert password(world, "live") == before


def test_its_data_are_removed_when_a_person_says_so(world):
    world.push("one")
    unused(world)
    world.accessories.remove("shop-db", "ann", environment="live")
    world.commands.remove_volume("shop-db", "live", "data", "ann")
    assert LIVE.volume not in world.engine.stored


def test_its_data_are_restored_where_nothing_is_left_of_it(world):
    with tarfile.open(fileobj=(archive := io.BytesIO()), mode="w") as tar:
        tar.addfile(tarfile.TarInfo("PG_VERSION"))
    world.commands.restore_volume("shop-db", "live", "data", "ann", [archive.getvalue()])
    assert world.engine.stored[LIVE.volume] == archive.getvalue()
    with pytest.raises(NotFound):
        world.commands.restore_volume("shop-db", "qa", "data", "ann", [archive.getvalue()])
    run = world.push("one")  # it would generate a password that these data do not know
    assert (run.failure.stage, "its volume shop-db/live/data exists" in run.failure.message) == ("live", True)


FIVE = """\
accessories: {ACCESSORIES}
pipelines:
  hello:
    uses: {USES}
    service: {health: /healthz}
    smoke: [{get: /, contains: r}]
    environments: {live: {keep_warm: 1m}}
"""


def with_accessories(*numbers: int) -> str:
    all_of_them = ", ".join(f"db-{number}: {{image: redis}}" for number in range(1, 8))
    uses = ", ".join(f"h{number}: db-{number}" for number in numbers)
    return FIVE.replace("{ACCESSORIES}", f"{{{all_of_them}}}").replace("{USES}", f"{{{uses}}}")


def test_a_sixth_one_takes_the_place_of_one_that_is_no_longer_used(make_world):
    world = make_world(with_accessories(1, 2, 3, 4, 5))
    world.push("one")
    world.configure(with_accessories(2, 3, 4, 5, 6))
    run = world.push("two")
    assert "the most that its network has addresses for" in run.failure.message  # r1 still serves with db-1
    world.configure(with_accessories(2, 3, 4, 5))
    assert world.push("three").outcome == Outcome.LIVE
    world.clock.sleep(61)
    world.reconcile()
    world.configure(with_accessories(2, 3, 4, 5, 7))
    assert world.push("four").outcome == Outcome.LIVE
    assert world.engine.running[AccessoryRef("db-1", "live")].attached == ()
    places = {ref.name: one.places[0].place for ref, one in world.engine.running.items() if one.places}
    assert sorted(places.values()) == [29, 30, 31, 32, 33]
    assert places["db-7"] == 29


# ── damaged records ──────────────────────────────────────────────────────────


def test_a_damaged_record_is_reported_once_and_the_others_go_on(world):
    world.push("one")
    world.store.client.hset(world.store.key("accessories"), "shop-db/dev", "[]")
    world.engine.running[LIVE].alive = False
    said = []
    for _ in range(3):
        world.clock.sleep(31)
        said += world.keeper.tick()
    assert len([line for line in said if "accessories [shop-db/dev]" in line]) == 1
    assert world.engine.running[LIVE].alive
    assert (row(world, "dev")["state"], row(world)["state"]) == ("unknown", "ready")
    assert "is damaged" in row(world, "dev")["why"]
    [check] = [one for one in examine(world.services, world.adapters) if not one["ok"]]
    assert check["name"] == "accessory shop-db/dev"
    value = password(world, "dev")
    assert world.services.vault.mask("hello")[0].lines((value,)) == ("•••",)
    assert world.push("three", "other").outcome == Outcome.LIVE


def test_a_persons_command_in_one_is_recorded_and_a_maintainers_in_the_last_environment(world):
    world.push("one")
    who, secret = Actor("ann", "developer"), password(world, "dev")
    session = world.tools.exec_accessory("shop-db", who, Asked(("cat",)), environment="dev")
    session.write(f"it is {secret}".encode())
    session.end_input()
    *pieces, _ = [one for one in session.events() if one]
    shown = b"".join(data for _, data in pieces).decode()
    # Twice, if the value ends as it begins: its last part is held back for a moment.
    assert shown in ("it is •••", "it is ••••••")
    with pytest.raises(Forbidden, match="run commands in hello/live, the last environment"):
        world.tools.exec_accessory("shop-db", who, Asked(("cat",)), environment="live")
    world.tools.exec_accessory(
        "shop-db", Actor("bo", "maintainer"), Asked(("id",)), environment="live"
    ).close()
    entries = [one for one in world.commands.audit_log() if one["act"] == "accessory exec"]
    assert [(one["who"], one["environment"], one["detail"]) for one in entries] == [
        ("bo", "live", "shop-db: id"),
        ("ann", "dev", "shop-db: cat"),
    ]
    assert world.store.sessions.all()[0] == ()


def test_a_command_in_one_that_does_not_run_says_how_to_start_it(world):
    world.push("one")
    world.accessories.stop("shop-db", "ada", environment="dev")
    with pytest.raises(RequestError, match="the accessory shop-db/dev does not run") as raised:
        world.tools.exec_accessory("shop-db", "ada", Asked(("sh",)), environment="dev")
    assert raised.value.advice == "`pushlive accessory start shop-db dev` starts it."
    with pytest.raises(NotFound):
        world.tools.exec_accessory("other", "ada", Asked(("sh",)), environment="dev")
