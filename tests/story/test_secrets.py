"""Secrets: set, chosen for a release, given to containers only, and masked in everything a run says."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pipeline.domain.engine_types import CommandResult
from pipeline.domain.release import Release
from pipeline.domain.run import Kind, Outcome
from pipeline.errors import ConfigError, EngineFailed, NotFound, RequestError
from pipeline.lib.secret import Secret

CONFIG = """\
pipelines:
  hello:
    service: {health: /healthz, secrets: [TOKEN]}
    smoke: [{get: /, contains: r}]
    environments: {dev: , live: {secrets: [DATABASE_URL]}}
"""


@pytest.fixture
def world(make_world):
    one = make_world(CONFIG)
    put(one, "TOKEN", "the-first-token")
    put(one, "DATABASE_URL", "postgres://one", "live")
    return one


def put(world, name: str, value: str, environment: str = "") -> dict:
    return world.commands.set_secret("hello", "ann", name, Secret(value), environment=environment)


def test_setting_a_secret_says_if_pipelines_yaml_does_not_use_it(world):
    assert len(put(world, "TOKEN", "the-second-token")["messages"]) == 1
    assert len(put(world, "DATABASE_URL", "postgres://two", "live")["messages"]) == 1
    assert "does not use it there yet" in put(world, "DATABASE_URL", "postgres://two", "dev")["messages"][1]
    assert "does not use it there yet" in put(world, "OTHER", "some value")["messages"][1]


def given(world, environment: str = "live") -> dict[str, str]:
    """The secrets of the containers that serve there."""
    active = world.environment(environment).active
    [slot] = [s for p, s in world.engine.contents.items() if (p.environment, p.slot) == (environment, active)]
    return {name: value.reveal() for name, value in slot.secrets.items()}


def everything(world) -> str:
    """Everything in the store and the logs."""
    found = [path.read_text() for path in (world.settings.data / "logs").rglob("*.log")]
    client = world.store.client
    for key in client.scan_iter(f"{world.settings.instance}:*"):
        kind = client.type(key)
        read = {
            "string": client.get,
            "hash": client.hgetall,
            "set": client.smembers,
            "stream": client.xrange,
            "list": lambda name: client.lrange(name, 0, -1),
            "zset": lambda name: client.zrange(name, 0, -1),
        }
        found.append(repr(read[kind](key)))
    return "\n".join(found)


def test_containers_get_the_values_and_the_release_remembers_their_versions(world):
    run = world.push("one")
    assert run.outcome == Outcome.LIVE
    assert given(world, "dev") == {"TOKEN": "the-first-token"}
    assert given(world) == {"TOKEN": "the-first-token", "DATABASE_URL": "postgres://one"}
    release = world.store.release("hello", 1)
    assert release.secrets == {"dev": {"TOKEN": 1}, "live": {"TOKEN": 1, "DATABASE_URL": 1}}
    assert world.environment("live").slots["blue"].secrets == release.secrets["live"]
    for value in ("the-first-token", "postgres://one"):
        assert value not in everything(world)


def test_a_missing_secret_stops_the_run_before_anything_is_built(world):
    world.configure(CONFIG.replace("[TOKEN]", "[TOKEN, API_KEY]"))
    run = world.push("one")
    assert (run.outcome, run.failure.whose, run.failure.stage) == (Outcome.FAILED, "configuration", "build")
    assert "API_KEY for dev, API_KEY for live" in run.failure.message
    assert "`pushlive secret set hello API_KEY --env dev`" in run.failure.advice
    assert world.builder.calls == world.source.calls == []
    [warning] = [
        w for w in world.commands.plan(CONFIG.replace("TOKEN", "OTHER"))["warnings"] if "dev.secrets" in w
    ]
    assert "OTHER is not set" in warning
    put(world, "API_KEY", "now-it-is-there")
    world.commands.retry("hello", run.number, "ann")
    world.work()
    assert given(world)["API_KEY"] == "now-it-is-there"


def test_passwords_of_visitors_go_to_the_proxy_and_to_no_container(world):
    asks = CONFIG.replace("dev: ,", "dev: {http: {basic: {alice: DEV_PASSWORD, bob: TOKEN}}},")
    world.configure(asks)
    run = world.push("one")
    assert "DEV_PASSWORD for dev" in run.failure.message
    assert "`pushlive secret set hello DEV_PASSWORD --env dev`" in run.failure.advice
    assert len(put(world, "DEV_PASSWORD", "open sesame", "dev")["messages"]) == 1
    world.commands.retry("hello", run.number, "ann")
    world.work()
    assert passwords(world) == {"DEV_PASSWORD": "open sesame", "TOKEN": "the-first-token"}
    assert given(world, "dev") == {"TOKEN": "the-first-token"}
    assert passwords(world, "live") == {}
    assert "open sesame" not in everything(world)
    before = world.store.release("hello", 1)
    put(world, "DEV_PASSWORD", "another one", "dev")
    world.commands.deploy("hello", "ann", config=asks)
    world.work()
    assert passwords(world)["DEV_PASSWORD"] == "another one"
    after = world.store.release("hello", 2)
    assert after.fingerprint("dev") != before.fingerprint("dev")
    assert after.environments["dev"].fingerprint() == before.environments["dev"].fingerprint()
    assert after.fingerprint("live") == before.fingerprint("live")
    world.engine.contents.clear()  # it is made again with the versions that it had
    world.reconcile()
    assert passwords(world)["DEV_PASSWORD"] == "another one"
    assert given(world, "dev") == {"TOKEN": "the-first-token"}


def passwords(world, environment: str = "dev") -> dict[str, str]:
    """Those that the proxy was given for what serves there."""
    active = world.environment(environment).active
    [slot] = [s for p, s in world.engine.contents.items() if (p.environment, p.slot) == (environment, active)]
    return {name: value.reveal() for name, value in slot.passwords.items()}


def test_commands_in_the_image_get_the_secrets_and_builds_do_not(world):
    world.configure(CONFIG.replace("secrets: [TOKEN]", "secrets: [TOKEN], release: [migrate]").replace(
        "[{get: /, contains: r}]", "[{run: [./check]}]"))  # fmt: skip
    world.push("one")
    assert {name.partition("-")[0] for name in world.engine.given} == {"release", "smoke"}
    assert all(value["TOKEN"].reveal() == "the-first-token" for value in world.engine.given.values())
    assert "the-first-token" not in repr(world.builder.calls)


def test_a_rotated_secret_goes_live_with_the_same_image_and_a_revert_uses_the_old_one(world):
    world.push("one")
    world.push("two")
    put(world, "TOKEN", "the-second-token")
    world.commands.deploy("hello", "ann")
    world.work()
    assert given(world)["TOKEN"] == "the-second-token"
    run = world.revert()
    assert (run.outcome, run.release) == (Outcome.LIVE, 2)
    assert given(world)["TOKEN"] == "the-first-token"
    assert not world.events(run, "warning")
    assert world.revert(to=3).outcome == Outcome.LIVE
    assert given(world)["TOKEN"] == "the-second-token"


def test_a_commit_with_another_secret_is_another_release(world):
    """Image and configuration are the same: only the secret's version tells the good one from the bad one."""
    first = world.push("one")
    put(world, "TOKEN", "a-wrong-token")
    world.commands.deploy("hello", "ann", commit=first.commit)
    world.work()
    assert world.serving()["live"] == 2
    run = world.revert()
    assert (run.release, given(world)["TOKEN"]) == (1, "the-first-token")
    put(world, "TOKEN", "a-right-token")  # the same image may enter again with it
    world.commands.resume("hello", "ann")
    world.commands.deploy("hello", "ann", commit=first.commit)
    world.work()
    assert (world.serving()["live"], given(world)["TOKEN"]) == (3, "a-right-token")


def test_a_revert_uses_the_newest_version_instead_of_a_revoked_one_and_says_so(world):
    world.push("one")
    put(world, "TOKEN", "the-second-token")
    world.push("two")
    world.commands.remove_secret("hello", "bob", "TOKEN", version=1)
    run = world.revert()  # its slot is warm, but has the revoked version
    assert (run.outcome, run.release) == (Outcome.LIVE, 1)
    assert given(world) == {"TOKEN": "the-second-token", "DATABASE_URL": "postgres://one"}
    assert (
        "version 1 of the secret TOKEN was revoked by bob; version 2" in world.events(run, "warning")[0].text
    )
    assert not next(step for step in run.steps if step.step == "start").detail.endswith("warm")


def test_a_warm_revert_needs_no_key_and_a_cold_one_fails_before_it_starts_anything(world):
    world.push("one")
    world.push("two")
    world.settings.secrets_key.rename(world.settings.data / "lost")
    run = world.revert()
    assert (run.outcome, run.release) == (Outcome.LIVE, 1)
    started = world.engine.names().count("start")
    world.commands.unquarantine("hello", "ann", 2)
    world.environment("live")
    world.engine.vanish(
        next(p for p in world.engine.contents if p.environment == "live" and p.slot == "green")
    )
    ref = world.environment("live")
    world.store.transact("hello", lambda tx: tx.put_environment(
        type(ref)(**{**vars(ref), "slots": {"blue": ref.slots["blue"]}})))  # fmt: skip
    run = world.revert(to=2)
    assert (run.outcome, run.failure.whose) == (Outcome.FAILED, "engine")
    assert "does not exist" in run.failure.message
    assert "Restore it from a backup" in run.failure.advice
    assert world.engine.names().count("start") == started
    assert world.serving()["live"] == 1


def test_a_version_that_is_no_longer_kept_is_reported_before_anything_starts(world):
    world.push("one")
    for number in range(2, 14):
        put(world, "TOKEN", f"token-number-{number}")
        if number in (3, 4):
            world.push(f"push {number}")
    # No slot uses version 1 any more. Versions in a slot are kept beyond the ten.
    numbers = [one["version"] for one in world.commands.secret("hello", "TOKEN")]
    assert numbers == [13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3]
    started = world.engine.names().count("start")
    gone = "version 1 of the secret TOKEN is no longer kept .only the last 10 are., and hello/live needs it"
    with pytest.raises(RequestError, match=gone):
        world.revert(to=1)
    live = world.environment("live")
    assert (live.hold, live.quarantine, live.interrupt) == (
        None,
        (),
        0,
    )  # nothing was changed
    assert world.engine.names().count("start") == started


def test_recreated_containers_get_the_versions_they_had(world):
    world.push("one")
    put(world, "TOKEN", "the-second-token")
    ref = next(ref for ref in world.engine.contents if ref.environment == "live")
    world.engine.vanish(ref)
    assert any("was not running" in line for line in world.reconcile())
    assert given(world)["TOKEN"] == "the-first-token"
    world.commands.remove_secret("hello", "bob", "TOKEN", version=1)
    assert world.reconcile() == []  # a running container is left alone
    world.engine.vanish(ref)
    assert any("version 2, the newest for live, is used instead" in line for line in world.reconcile())
    assert given(world)["TOKEN"] == "the-second-token"
    world.commands.remove_secret("hello", "bob", "TOKEN")
    world.engine.vanish(ref)
    world.reconcile()
    problem = world.store.facts.get("problem:hello/live")
    assert "TOKEN for live" in problem
    assert "pushlive secret set hello TOKEN" in problem


def test_nothing_is_encrypted_with_a_key_that_is_missing_wrong_or_accessible(world):
    key = world.settings.secrets_key
    text = key.read_text()
    key.unlink()
    with pytest.raises(EngineFailed, match="does not exist"):
        put(world, "OTHER", "some value")
    key.write_text("A" * 43 + "=\n")
    key.chmod(0o600)
    with pytest.raises(EngineFailed, match="encrypted with the key"):
        put(world, "OTHER", "some value")
    run = world.push("one")
    assert (run.outcome, run.failure.whose) == (Outcome.FAILED, "engine")
    assert "encrypted with the key" in run.failure.message
    assert any("they are not masked" in e.text for e in world.events(run, "warning"))
    key.write_text(text)
    key.chmod(0o640)
    with pytest.raises(EngineFailed, match="is accessible to other users"):
        put(world, "OTHER", "some value")
    key.chmod(0o600)
    assert put(world, "OTHER", "some value")["version"] == 1
    assert world.push("two").outcome == Outcome.LIVE


def test_after_a_lost_key_every_secret_can_be_revoked_and_set_again(world):
    world.settings.secrets_key.unlink()
    world.commands.remove_secret("hello", "ann", "TOKEN")
    world.commands.remove_secret("hello", "ann", "DATABASE_URL", environment="live")
    assert put(world, "TOKEN", "the-second-token")["version"] == 2
    put(world, "DATABASE_URL", "postgres://two")
    assert world.push("one").outcome == Outcome.LIVE
    assert given(world) == {"TOKEN": "the-second-token", "DATABASE_URL": "postgres://two"}


def test_an_encrypted_value_moved_to_another_secret_is_not_decrypted(world):
    record = world.store.secrets("hello")
    moved = record["TOKEN"].versions[0].sealed
    own = record["DATABASE_URL"]
    version = type(own.versions[0])(**{**vars(own.versions[0]), "sealed": moved})
    swapped = type(own)(own.name, own.last, (version,))
    world.store.transact("hello", lambda tx: tx.put_secret(swapped))
    run = world.push("one")
    assert run.outcome == Outcome.FAILED
    assert "version 1 of the secret DATABASE_URL of hello cannot be read" in run.failure.message


def test_names_and_versions_are_listed_without_values(world):
    put(world, "DATABASE_URL", "postgres://two", "live")
    world.commands.remove_secret("hello", "bob", "TOKEN")
    found = {(one["name"], one["environment"]): one for one in world.commands.secrets("hello")}
    assert found["DATABASE_URL", "live"]["version"] == 2
    assert (found["TOKEN", ""]["revoked_by"], found["TOKEN", ""]["by"]) == ("bob", "ann")
    assert [one["version"] for one in world.commands.secret("hello", "DATABASE_URL")] == [2, 1]
    shown = repr([found, world.commands.secret("hello", "DATABASE_URL")])
    assert "postgres" not in shown
    assert "sealed" not in shown
    with pytest.raises(NotFound):
        world.commands.secret("hello", "NOBODY")
    with pytest.raises(NotFound, match="no version to revoke"):
        world.commands.remove_secret("hello", "bob", "TOKEN")
    with pytest.raises(NotFound, match="for every environment; it is set for live") as raised:
        world.commands.remove_secret("hello", "bob", "DATABASE_URL")
    assert raised.value.advice == "`pushlive secret rm hello DATABASE_URL --env live` revokes that."
    put(world, "WIDE", "some value", "")
    with pytest.raises(NotFound, match="for live; it is set for every environment") as raised:
        world.commands.remove_secret("hello", "bob", "WIDE", environment="live")
    assert raised.value.advice == "`pushlive secret rm hello WIDE` revokes that."
    with pytest.raises(NotFound):
        put(world, "TOKEN", "some value", "nowhere")
    with pytest.raises(RequestError):
        world.commands.secrets("nobody")


def test_releases_recorded_before_secrets_existed_load_and_revert(make_world):
    world = make_world("pipelines: {hello: {environments: {live: }}}")
    world.push("one")
    world.push("two")
    key = world.store.key("releases", "hello")
    for number in ("1", "2"):
        text = world.store.client.hget(key, number).replace(',"secrets":{}', "").replace(',"secrets":[]', "")
        assert "secrets" not in text
        world.store.client.hset(key, number, text)
    assert isinstance(world.store.release("hello", 1), Release)
    assert world.revert().release == 1


def test_fault_21_a_runs_record_events_and_log_contain_no_secret(world):
    world.configure(CONFIG.replace("secrets: [TOKEN]", "secrets: [TOKEN], release: [migrate]"))
    put(world, "TOKEN", "line one of it\nline two of it")
    world.engine.commands = lambda spec, argv: CommandResult(
        3, f"using {spec.reveal()['TOKEN'].reveal()}\nand postgres://one, the-first-token", 0.1
    )
    run = world.push("one")
    assert run.outcome == Outcome.FAILED
    assert run.failure.evidence == ("using •••", "•••", "and •••, •••")
    assert [e.text for e in world.events(run, "line")][1:] == ["using •••", "•••", "and •••, •••"]
    shown = everything(world)
    for value in ("line one of it", "line two of it", "postgres://one", "the-first-token"):
        assert value not in shown


def test_fault_21_checks_reasons_and_the_applications_output_are_masked(world):
    world.push("one")
    answers = world.engine.answers

    def leaks(spec, path):
        answer = answers(spec, path)
        body = b"x" * 190 + b" the-first-token"
        return answer if path == "/healthz" else type(answer)(500, {}, body, 0.001)

    world.engine.answers = leaks
    run = world.push("two")
    assert run.outcome == Outcome.FAILED
    assert "the-first" not in run.failure.message
    assert run.failure.message.count("•••") == 1
    world.engine.printed = ("password: the-first-tok", "en", "fine")
    said = world.commands.output("hello", environment="dev")
    assert said[-3:] == ("password: •••", "•••", "fine")
    assert "the-first" not in everything(world)


def test_fault_21_the_quarantines_reason_is_masked(world):
    world.push("one")
    answers = world.engine.answers
    world.engine.answers = lambda spec, path: (
        type(answers(spec, path))(500, {}, b"the-first-token", 0.001)
        if spec.ref.environment == "live" and path == "/"
        else answers(spec, path)
    )
    world.push("two")
    [entry] = world.environment("live").quarantine
    assert "•••" in entry.reason
    assert "the-first-token" not in everything(world)


def test_fault_21_notifications_are_masked(world):
    told = "notify: [{url: 'https://chat.example/hook', when: [failed]}]\n"
    world.configure(told + CONFIG.replace("secrets: [TOKEN]", "secrets: [TOKEN], release: [migrate]"))
    world.engine.commands = lambda spec, argv: CommandResult(0, "fine\n", 0.1)
    answers = world.engine.answers
    world.engine.answers = lambda spec, path: (
        type(answers(spec, path))(500, {}, b"the-first-token", 0.001) if path == "/" else answers(spec, path)
    )
    run = world.push("one")
    assert run.outcome == Outcome.FAILED
    shown = everything(world)
    assert "chat.example" in shown
    assert shown.count("body begins '•••'") >= 2  # in the run's record and in the message
    assert "the-first-token" not in shown


def test_a_release_deployed_again_uses_its_own_versions(world):
    world.push("one")
    put(world, "TOKEN", "the-second-token")
    world.push("two")
    run = world.commands.deploy("hello", "ann", release=1)
    world.work()
    assert (run.kind, world.run(run.number).outcome) == (Kind.DEPLOY, Outcome.LIVE)
    assert given(world)["TOKEN"] == given(world, "dev")["TOKEN"] == "the-first-token"
    world.commands.remove_secret("hello", "ann", "DATABASE_URL", environment="live")
    run = world.commands.deploy("hello", "ann", release=2)
    world.work()
    failed = world.run(run.number)
    assert "DATABASE_URL for live" in failed.failure.message
    assert [step for step in failed.steps if step.step == "start"] == []  # not even in dev


def test_a_damaged_secret_affects_only_its_own_pipeline(make_world):
    world = make_world(CONFIG + "  other: {service: {health: /healthz}, environments: {live: }}\n")
    put(world, "TOKEN", "the-first-token")
    put(world, "DATABASE_URL", "postgres://one", "live")
    for pipeline in ("hello", "other"):
        assert world.push("one", pipeline).outcome == Outcome.LIVE
    for ref in [ref for ref in world.engine.contents if ref.environment == "live"]:
        world.engine.vanish(ref)
    world.store.client.hset(world.store.key("secrets", "hello"), "TOKEN", "[]")
    assert any(line.startswith("other/live") for line in world.reconcile())
    assert "secrets:hello [TOKEN]" in world.store.facts.get("problem:hello/live")
    assert world.push("two").outcome == Outcome.FAILED
    assert world.push("two", "other").outcome == Outcome.LIVE


@pytest.mark.parametrize("word", ["live", "hello", "Green", "push"])
def test_a_word_of_pushlives_own_messages_is_refused_as_a_value(world, word):
    with pytest.raises(ConfigError, match="own messages"):
        world.commands.set_secret("hello", "ann", "MODE", Secret(word))
    assert "MODE" not in {one["name"] for one in world.commands.secrets("hello")}


def test_an_empty_value_is_called_empty(world):
    with pytest.raises(ConfigError, match="the value of MODE is empty"):
        world.commands.set_secret("hello", "ann", "MODE", Secret(""))


def test_the_versions_that_a_revert_needs_are_kept_and_status_knows_those_that_are_not(world):
    world.push("one")
    put(world, "TOKEN", "the-second-token")
    world.push("two")
    world.clock.sleep(world.settings.failed_for + 600.0)
    world.reconcile()  # the warm slot is empty: only the record says that a revert would need version 1
    for number in range(3, 20):
        put(world, "TOKEN", f"token-number-{number}")
    assert world.revert().release == 1
    assert given(world)["TOKEN"] == "the-first-token"
    world.commands.unquarantine("hello", "ann", 2)
    environment = world.environment("live")
    world.store.transact(
        "hello",
        lambda tx: tx.put_environment(
            replace(environment, good=(2, 1), slots={"blue": environment.slots["blue"]})
        ),
    )
    world.store.transact("hello", lambda tx: tx.put_secret(replace(tx.secrets()["TOKEN"], versions=())))
    live = world.commands.status("hello")["pipelines"][0]["environments"][-1]
    assert live["revert"]["ready"] is False
    assert "version 2 of the secret TOKEN is no longer kept" in live["revert"]["text"]


def test_the_versions_of_a_run_that_waits_are_kept(make_world):
    world = make_world(CONFIG.replace("live: {", "live: {promote: manual, "))
    put(world, "TOKEN", "the-first-token")
    put(world, "DATABASE_URL", "postgres://one", "live")
    waiting = world.push("one")
    for number in range(2, 15):
        put(world, "TOKEN", f"token-number-{number}")
    world.commands.promote("hello", "ann")
    world.work()
    assert world.run(waiting.number).outcome == Outcome.LIVE
    assert given(world)["TOKEN"] == "the-first-token"
