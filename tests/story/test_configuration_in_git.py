"""The configuration is a file in a repository: what a push, a lost report and a wrong file do."""

from __future__ import annotations

import json
import secrets
from dataclasses import replace

import pytest

from pipeline.adapters.fake import Killed
from pipeline.config.place.repository import ConfigRepository
from pipeline.deploy.configuring.wanted import Wanted
from pipeline.domain.audit_chain import Actor
from pipeline.errors import ConfigError, EngineFailed, RequestError
from pipeline.lib import codec
from pipeline.lib.push_notes import Note, Update
from pipeline.notify.delivery import body_of
from pipeline.notify.messages import Notice
from pipeline.store import Transaction
from tests.story.conftest import CONFIG, World

ANN = Actor("ann", "maintainer", way="git")
OPS = ConfigRepository("ops")
AWAY = ConfigRepository("", "https://code.example/ops.git")
KEY = "pipelines.yaml"  # of the mirror


@pytest.fixture
def world(make_world) -> World:
    return make_world(place=OPS)


def push(world: World, text: str | None, message: str = "a change", *, noted: bool = False) -> str:
    """A head of the configuration's repository."""
    place = world.settings.config
    files = {} if text is None else {place.path: text.encode()}
    commit = world.source.push(place.repository or KEY, files, message)
    if noted:
        world.hosted.note("ops", Note(secrets.token_hex(16), "ann", "maintainer", "", (update(commit),)))
    return commit


def update(commit: str) -> Update:
    return Update("0" * 40, commit, "refs/heads/main")


def taken(world: World, text: str | None, message: str = "a change") -> dict:
    push(world, text, message)
    return world.commands.take_configuration(ANN)


def keep(world: World) -> list[str]:
    world.clock.sleep(10)
    return world.jobs.pushed_configuration.run()


def test_before_the_first_push_there_are_no_pipelines(world):
    assert world.services.configurations.current()[1].pipelines == {}
    keep(world)
    status = world.commands.status()
    assert (status["pipelines"], status["origin"]) == ([], None)
    assert "ops on the built-in git server has no branch main" in status["config_error"]


def test_a_push_is_in_force_at_once_and_its_commit_is_kept(world):
    answer = taken(world, CONFIG, "the first")
    assert answer["changed"]
    assert "added" in answer["plan"]["pipelines"]["hello"]["live"][0]
    run = world.push("one")
    origin = world.commands.status()["origin"]
    assert (origin["subject"], origin["pusher"], origin["place"]) == (
        "the first",
        "ann",
        "git:ops/pipelines.yaml",
    )
    assert world.commands.show("hello", run.number)["configuration"]["origin"] == origin
    assert world.commands.plan(CONFIG)["origin"] == origin
    entry = next(one for one in world.commands.audit_log() if one["act"] == "configuration")
    assert (entry["who"], entry["role"]) == ("ann", "maintainer")
    assert "“the first” by A. Developer" in str(entry["detail"])


def test_a_release_names_the_commit_that_it_was_made_with(world):
    taken(world, CONFIG, "the first")
    run = world.push("one")
    taken(world, CONFIG.replace("replicas: 2", "replicas: 3"), "three")
    again = world.commands.deploy("hello", "ann", release=run.release)
    world.work()
    shown = world.commands.show("hello", again.number)
    assert shown["configuration"]["origin"]["subject"] == "the first"
    record = world.evidence.record_of("hello", again.number)
    assert record["configuration"]["origin"]["subject"] == "the first"


def test_a_later_commit_with_the_same_text_does_not_change_what_earlier_runs_say(world):
    taken(world, CONFIG, "less")
    run, ignored = world.push("one"), world.push("two [skip ci]")
    world.clock.sleep(60)
    taken(world, CONFIG.replace("replicas: 2", "replicas: 3"), "three")
    taken(world, CONFIG, "back to less")
    assert world.commands.status()["origin"]["subject"] == "back to less"
    back = world.commands.deploy("hello", "ann", release=run.release)
    for number in (run.number, ignored.number, back.number):
        assert subject_of(world, number) == "less"
    assert subject_of(world, world.push("three").number) == "back to less"


def subject_of(world: World, number: int) -> str | None:
    origin = world.commands.show("hello", number)["configuration"]["origin"]
    return origin and origin["subject"]


def test_of_a_run_of_an_earlier_version_only_a_commit_from_before_it_is_named(world):
    taken(world, CONFIG, "less")
    run = world.push("one")
    with_record(world, run.number)
    assert subject_of(world, run.number) == "less"
    world.clock.sleep(60)
    taken(world, CONFIG.replace("replicas: 2", "replicas: 3"), "three")
    taken(world, CONFIG, "back to less")
    assert subject_of(world, run.number) is None


def with_record(world: World, number: int) -> None:
    """As an earlier version wrote it."""

    def act(tx: Transaction) -> None:
        tx.put_run(replace(tx.run(number), origin=None))

    world.store.transact("hello", act)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nonsense: 1\n", "pipelines.yaml:1: nonsense"),
        ("pipelines: {ops: {environments: {live: }}}\n", "ops has the configuration"),
        (
            CONFIG.replace("hello:", "hello:\n    source: {repository: ops}"),
            "pipelines.yaml:3: pipelines.hello.source",
        ),
        ("a\0b", "NUL"),
        ("#" * (1 << 20) + "\n", "is too large"),
        (None, "there is no file pipelines.yaml in"),
    ],
)
def test_a_wrong_one_is_refused_before_git_takes_it_and_never_in_force(world, text, said):
    before = taken(world, CONFIG)["config"]
    commit = push(world, text)
    assert said in " ".join(world.commands.judge_configuration((update(commit),), ""))
    keep(world)  # it came about in another way than by a push
    assert said in world.commands.status()["config_error"]
    assert world.services.configurations.current()[0] == before
    entry = world.commands.audit_log()[0]
    assert (entry["act"], entry["detail"]) == ("configuration-refused", commit[:7])
    assert keep(world) == []
    assert world.commands.audit_log()[0] == entry
    taken(world, CONFIG)
    assert world.commands.status()["config_error"] == ""


def test_what_is_not_text_is_refused(world):
    commit = world.source.push("ops", {"pipelines.yaml": b"\xff\xfe"}, "binary")
    assert "byte 1 is not UTF-8" in world.commands.judge_configuration((update(commit),), "")[0]


def test_the_branch_cannot_be_deleted_and_other_branches_are_not_looked_at(world):
    gone = Update("a" * 40, "0" * 40, "refs/heads/main")
    assert "cannot be deleted" in world.commands.judge_configuration((gone,), "")[0]
    other = Update("0" * 40, "b" * 40, "refs/heads/draft")
    assert world.commands.judge_configuration((other,), "") == ()


def test_a_branch_that_is_gone_all_the_same_changes_nothing_that_is_in_force(world):
    digest = taken(world, CONFIG)["config"]
    world.source.repositories["ops"].heads.clear()
    keep(world)
    assert world.services.configurations.current()[0] == digest
    assert "has no branch main" in world.commands.status()["config_error"]
    taken(world, CONFIG)
    assert world.commands.status()["config_error"] == ""


def test_a_push_whose_report_was_lost_is_taken_by_the_keeper_with_its_pusher(world):
    push(world, CONFIG, "the first", noted=True)
    assert keep(world) == []  # the hook may be about to report it
    assert "the configuration of" in keep(world)[0]
    assert world.commands.status()["origin"]["pusher"] == "ann"
    assert world.hosted.noted("ops") == ()
    assert keep(world) == []


def test_the_last_of_two_pushes_at_once_is_in_force(world, monkeypatch):
    first, second = CONFIG, CONFIG.replace("replicas: 2", "replicas: 3")
    push(world, first)
    read, pushed = world.source.read, []

    def reads(*given: object) -> bytes | None:
        found = read(*given)
        if not pushed:  # another push arrives between reading and taking
            pushed.append(push(world, second))
        return found

    monkeypatch.setattr(world.source, "read", reads)
    world.commands.take_configuration(ANN)
    config = world.services.configurations.current()[1]
    assert config.pipelines["hello"].environment("live").replicas == 3


def killed_at(number: int, patch: pytest.MonkeyPatch, facts: type) -> None:
    """The write of that number, from 1, ends the process."""
    calls: list[object] = []

    def dying(method):
        def act(*given, **named):
            calls.append(method)
            if len(calls) == number:
                raise KeyboardInterrupt
            return method(*given, **named)

        return act

    for name in ("set", "change"):
        patch.setattr(facts, name, dying(getattr(facts, name)))


def test_a_kill_at_every_write_leaves_a_whole_configuration_and_the_keeper_takes_the_rest(world, monkeypatch):
    digest = taken(world, CONFIG)["config"]
    wanted = CONFIG.replace("replicas: 2", "replicas: 3")
    push(world, wanted)
    for number in range(1, 5):
        with monkeypatch.context() as patch:
            killed_at(number, patch, type(world.store.facts))
            with pytest.raises(KeyboardInterrupt):
                world.commands.take_configuration(ANN)
        now = world.services.configurations.current()[0]
        assert world.store.config(now) in (CONFIG, wanted)
        world.another_process().pushed_configuration.run()
        now = world.services.configurations.current()[0]
        assert world.store.config(now) == wanted
        assert world.services.configurations.origin(now)
        push(world, CONFIG)
        world.commands.take_configuration(ANN)
        push(world, wanted)
    assert digest != now


def test_an_installation_moves_from_a_file_to_a_repository(make_world):
    world = make_world(CONFIG)
    run = world.push("one")
    moved = World(world.redis, world.settings.data, instance=world.settings.instance, place=OPS)
    keep(moved)
    assert "hello" in moved.services.configurations.current()[1].pipelines
    assert "has no branch main" in moved.commands.status()["config_error"]
    assert not taken(moved, CONFIG, "the same")["changed"]
    taken(moved, CONFIG, "the same once more")
    assert moved.commands.status()["origin"]["subject"] == "the same"
    assert subject_of(moved, run.number) is None  # it ran before there was a commit
    assert "“the same” by" in str(moved.commands.audit_log()[0]["detail"])
    changed = taken(moved, CONFIG.replace("replicas: 2", "replicas: 3"), "moved")
    assert changed["plan"]["pipelines"] == {"hello": {"live": ("replicas: 2 → 3",)}}


def test_a_configuration_that_is_a_file_again_has_no_commit(make_world, tmp_path):
    moved = make_world(place=OPS)
    taken(moved, CONFIG, "the first")
    back = World(moved.redis, tmp_path, instance=moved.settings.instance)
    assert back.commands.status()["origin"] is None
    assert subject_of(back, back.push("one").number) is None


def test_records_without_a_configuration_are_never_taken_for_removed_pipelines(make_world):
    world = make_world(CONFIG)
    world.push("one")
    world.store.client.delete(world.store.key("fact", "config"))
    moved = World(world.redis, world.settings.data, instance=world.settings.instance, place=OPS)
    with pytest.raises(ConfigError, match="no configuration is in force"):
        moved.services.configurations.current()


def test_set_makes_a_commit_of_the_person(world):
    taken(world, CONFIG)
    world.push("one")
    asked = {"values": {"replicas": "3"}}
    bob = Actor("bob", "developer")
    shown = world.commands.set_values("hello", bob, **asked)
    assert (shown["writes"], shown["file"]) == (True, "git:ops/pipelines.yaml")
    done = world.commands.set_values("hello", bob, **asked, seen=shown["config"])
    world.work()
    repository = world.source.repositories["ops"]
    commit, files = repository.commits[repository.heads["main"]]
    assert (commit.author, commit.message) == ("bob", "Set hello/live: replicas")
    assert files["pipelines.yaml"].decode() == CONFIG.replace("replicas: 2", "replicas: 3")
    origin = world.commands.show("hello", int(done["run"].partition("#")[2]))["configuration"]["origin"]
    assert (origin["author"], origin["pusher"]) == ("bob", "bob")


def test_set_is_refused_after_a_push_in_between(world):
    taken(world, CONFIG)
    world.push("one")
    shown = world.commands.set_values("hello", ANN, values={"replicas": "3"})
    push(world, CONFIG + "# changed\n")
    with pytest.raises(ConfigError, match="has changed since"):
        world.commands.set_values("hello", ANN, values={"replicas": "3"}, seen=shown["config"])
    assert len(world.commands.runs("hello")) == 1


# ── behind a webhook ─────────────────────────────────────────────────────────


@pytest.fixture
def away(make_world) -> World:
    return make_world(place=AWAY)


def report(world: World, commit: str, ref: str = "refs/heads/main") -> str:
    asked = Wanted(secrets.token_hex(4), commit, "ann", "192.0.2.1", "webhook:github")
    return world.commands.configuration_pushed(("git@code.example:ops.git",), ref, asked)


def test_a_webhook_is_noted_and_the_keeper_takes_the_head(away):
    commit = push(away, CONFIG, "the first")
    assert "is fetched" in report(away, commit)
    assert away.services.configurations.in_force() == ""
    away.jobs.pushed_configuration.look()
    origin = away.commands.status()["origin"]
    assert (origin["pusher"], origin["commit"]) == ("ann", commit)
    entry = next(one for one in away.commands.audit_log() if one["act"] == "configuration")
    assert (entry["who"], entry["way"]) == ("ann", "webhook:github")
    assert report(away, commit, "refs/heads/draft") == "the configuration is on the branch main"
    assert away.commands.configuration_pushed(("https://code.example/other.git",), "", None) == ""


def test_a_wrong_one_elsewhere_leaves_the_last_good_one_in_force(away):
    push(away, CONFIG)
    away.jobs.pushed_configuration.look()
    digest = away.services.configurations.in_force()
    push(away, "nonsense: 1\n")
    away.jobs.pushed_configuration.look()
    assert away.services.configurations.in_force() == digest
    assert "pipelines.yaml:1: nonsense" in away.commands.status()["config_error"]


def test_a_server_that_does_not_answer_is_said_and_asked_again(away):
    push(away, CONFIG)
    away.jobs.pushed_configuration.look()
    away.source.fail("fetch", EngineFailed("code.example does not answer."))
    away.jobs.pushed_configuration.look()
    assert "does not answer" in away.commands.status()["config_error"]
    away.jobs.pushed_configuration.look()
    assert away.commands.status()["config_error"] == ""


def test_set_shows_what_to_change_where_it_cannot_commit(away):
    push(away, CONFIG)
    away.jobs.pushed_configuration.look()
    away.push("one")
    assert not away.commands.set_values("hello", ANN, values={"replicas": "3"})["writes"]
    shown = away.commands.set_values("hello", ANN, values={"promote": "manual"})
    with pytest.raises(RequestError, match="is in no release"):
        away.commands.set_values("hello", ANN, values={"promote": "manual"}, seen=shown["config"])


# ── who is told ──────────────────────────────────────────────────────────────

CHAT = "https://chat.example.com/all"
TELLING = f"notify: [{{url: '{CHAT}'}}]\n{CONFIG}"
WRONG = TELLING.replace("replicas: 2", "replicas: -2")


def told(world: World) -> list[dict]:
    """The messages about the configuration in the outbox, oldest first."""
    client, prefix = world.store.client, world.settings.instance
    found = [text for key in client.scan_iter(f"{prefix}:outbox:*") for text in client.lrange(key, 0, -1)]
    return [one for one in map(json.loads, found) if one["event"] == "configuration"]


def test_receivers_are_told_once_who_pushed_a_wrong_one_to_the_built_in_server(world):
    taken(world, TELLING)
    before = world.services.configurations.in_force()
    commit = push(world, WRONG)
    for _ in range(2):
        assert world.commands.judge_configuration((update(commit),), "", ANN)

    (one,) = told(world)
    assert one["text"].startswith(f"A push by ann of {commit[:7]} to git:ops/pipelines.yaml was refused: ")
    assert "environments.live.replicas" in one["text"]
    assert one["text"].endswith("The last good configuration stays in force.")
    assert (one["by"], one["commit"], one["pipeline"]) == ("ann", commit, "")
    entry = world.commands.audit_log()[0]
    assert (entry["act"], entry["who"], entry["before"]) == ("configuration-refused", "ann", before)
    assert "/runs/" not in json.loads(body_of(codec.load(Notice, json.dumps(one)), "http://p"))["url"]


def test_receivers_are_told_of_a_wrong_one_behind_a_webhook_and_that_it_is_right_again(make_world):
    world = make_world(place=AWAY)
    push(world, TELLING)
    look(world)
    commit = push(world, WRONG)
    world.services.configurations.refuse("replicas: too few", commit, ANN)
    for _ in range(3):
        world.jobs.configuration.run()
    world.another_process().configuration.run()

    (one,) = told(world)
    assert one["text"].startswith(
        f"The configuration in {AWAY} of {commit[:7]}, pushed by ann, is wrong: replicas: too few. The last"
    )
    push(world, TELLING)
    look(world)
    for _ in range(2):
        world.jobs.configuration.run()
    assert [one["text"].split(" is ")[1] for one in told(world)[1:]] == ["right again, and in force."]


def test_a_repository_that_cannot_be_read_is_no_refused_configuration(make_world):
    world = make_world(place=AWAY)
    push(world, TELLING)
    look(world)
    world.services.configurations.trouble("it does not answer")
    world.jobs.configuration.run()
    assert told(world) == []


def test_receivers_are_told_of_a_broken_file_that_stays_broken(make_world):
    world = make_world(TELLING)
    world.jobs.configuration.run()
    world.configure(WRONG)
    world.jobs.configuration.run()
    assert told(world) == []  # someone may be in the middle of saving it
    world.clock.sleep(11)
    for _ in range(2):
        world.jobs.configuration.run()
    (one,) = told(world)
    assert one["text"].startswith(f"The configuration in {world.settings.config} is wrong: ")
    assert (one["by"], one["commit"]) == ("", "")

    world.configure(TELLING)
    world.jobs.configuration.run()
    assert len(told(world)) == 2


def test_a_keeper_that_dies_while_it_tells_tells_once(make_world, monkeypatch):
    world = make_world(TELLING)
    world.jobs.configuration.run()
    world.configure(WRONG)
    jobs = world.another_process()
    jobs.configuration.run()
    world.clock.sleep(11)
    with monkeypatch.context() as patched:
        patched.setattr(Transaction, "apply", killed)
        with pytest.raises(Killed):
            jobs.configuration.run()
    assert told(world) == []
    jobs.configuration.run()
    jobs.configuration.run()
    assert len(told(world)) == 1


def killed(*_: object) -> None:
    raise Killed("SIGKILL")


def look(world: World) -> None:
    world.jobs.pushed_configuration.look()
