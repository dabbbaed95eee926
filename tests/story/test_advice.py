"""Advice is true: each command that a message advises is typed, where it is advised, and does what it is for."""

from __future__ import annotations

import io
import re
import shlex
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipeline.adapters.fake.engine_state import EMPTY
from pipeline.adapters.workload import tar_of
from pipeline.domain.accessories import AccessoryRef
from pipeline.domain.engine_types import CommandResult, SlotSpec
from pipeline.domain.run import Outcome, State
from pipeline.domain.volumes import VolumeRef
from pipeline.errors import AppFailed
from pipeline.lib.secret import Secret
from tests.story.conftest import World
from tests.support.advice import HOLE, advised
from tests.support.typed import Typed, Typist, typist

CONFIG = """\
accessories:
  shop-db:
    image: "postgres:15"
    volume: /data
    port: 5432
    secrets: {PASSWORD: generate}
    backup: {run: [dump], restore: [load]}
pipelines:
  shop:
    uses: {db: shop-db}
    service:
      health: /healthz
      secrets: [TOKEN]
      volumes: {data: {path: /data, backup: {keep: 2}}}
      env: {URL: "db://${db.PASSWORD}"}
      processes: {worker: {command: [work]}, nightly: {command: [job], cron: "0 3 * * *"}}
    environments: {qa: , live: }
"""
WITH_GATE = CONFIG.replace("live: }", "live: {promote: manual}}")
DATA, OLD = VolumeRef("shop", "live", "data"), AccessoryRef("shop-db", "live")
TAR = b"x" * 257 + b"ustar" + b"y" * 250 + EMPTY

# Why these are not typed here. They have tests of their own.
NOT_TYPED = {
    "pushlive": "the name of the program",
    "pushlive …": "the name of a command follows",
    "pushlive secret": "a text that is hashed",
    "pushlive up": "starts a service: tests/integration/test_deploy.py",
    "pushlive down": "stops a service: tests/integration/test_housekeeping.py",
    "pushlive down --all": "stops a service: tests/integration/test_housekeeping.py",
    "pushlive restore FILE": "fills an empty data folder: tests/story/test_backup.py",
    "pushlive adopt": "a store that was lost: tests/story/test_lost_store.py",
    "pushlive evidence verify DIR": "needs an export: tests/story/test_evidence.py",
    "pushlive evidence verify DIR --key FILE": "needs an export: tests/story/test_evidence.py",
    "pushlive evidence verify … --key FILE": "needs an export: tests/story/test_evidence.py",
    "pushlive evidence verify FOLDER --key FILE": "needs an export: tests/story/test_evidence.py",
    "pushlive set shop live replicas=3": "asks a person: tests/unit/cli/test_setting.py, tests/story/test_setting.py",
    "pushlive set PIPELINE KEY=VALUE": "asks a person: as above",
    "pushlive preview allow …": "needs a pull request of another repository: tests/story/test_previews.py",
    "pushlive preview allow … --commit …": "as above",
    "pushlive release abandon '…'": "only while a release command hangs: below",
}

# What stands in a message for a name, in the order in which the command takes them.
NAMES = {
    "wake": ("shop", "qa"),
    "preview add": ("shop", "feature/login"),
    "preview rm": ("shop--login",),
    "accessory": ("shop-db", "live", "store-db"),
    "volume": ("shop/live/data", "store/live/data"),
    "cp": ("shop", "live:/data/file"),
    "volume restore": ("shop-db/live/data",),  # of one that is stopped; `--stop` is for what serves
    "token": ("bob",),
    "unquarantine": ("shop", "r2"),
    "secret": ("shop", "TOKEN"),
    "plan": ("pipelines.yaml",),
    "evidence": ("shop", "r2"),
}
OPTIONS = {
    "--env": "live", "--to": "r1", "--release": "r2", "--config": "pipelines.yaml", "--from": "files.tar",
    "--kept": "latest", "--process": "worker", "--reason": "TEXT", "--role": "maintainer",
    "--commit": "COMMIT", "--head": "HEAD", "--over": "shop#4", "--held-by": "mia",
}  # fmt: skip
_HOLES = re.compile(r"…|\{|^[A-Z]+$|^rN$|^r17$|^\./FILE$|^hello$|^qa$")  # and what stands for one
OF_RUNS = ("cancel", "follow", "promote", "release", "retry", "show", "logs", "withdraw")
# They change nothing that another of them needs.
CALM = (
    "audit", "backups", "check", "cron", "doctor", "exec", "follow", "logs", "parity", "plan", "run", "runs", "show",
    "stats", "status", "accessory logs", "accessory status", "secret list", "secret versions", "token list", "gc",
    "volume list", "volume backup", "secret set", "token create ann", "accessory backup", "accessory restart",
    "accessory apply", "deploy",
)  # fmt: skip


# ── scenes: what makes a command one that is advised ─────────────────────────

Scene = Callable[[World], str]


def ended(world: World) -> str:
    return "shop#2"


def waits(world: World) -> str:
    """A run waits at the gate before live."""
    world.configure(WITH_GATE)
    run = world.push("three", "shop")
    assert run.state == State.WAITING
    return run.id


def taken_back(world: World) -> str:
    """What waits was taken back in qa."""
    run = waits(world)
    world.commands.revert("shop", "ann", environment="qa")
    world.work("shop")
    return run


def failed(world: World) -> str:
    """A run failed for a reason that is over."""
    world.builder.fail("build", AppFailed("no"))
    run = world.push("three", "shop")
    assert run.outcome == Outcome.FAILED
    return run.id


def overtaken(world: World) -> str:
    """A run was cancelled, and a newer one went live."""
    run = waits(world)
    world.commands.cancel("shop", 3, "ann")
    world.configure(CONFIG)
    assert world.push("four", "shop").outcome == Outcome.LIVE
    return run


def reverted(world: World) -> str:
    world.commands.revert("shop", "mia")
    world.work("shop")
    return "shop#2"


def held(world: World) -> str:
    world.commands.hold("shop", "mia", environment="live", reason="an audit")
    return "shop#2"


def in_maintenance(world: World) -> str:
    world.maintenance.turn_on("shop", "mia", environment="live", message="We are back soon.")
    return ""


def asleep(world: World) -> str:
    world.sleeping.put_to_sleep("shop", "mia", environment="qa")
    return ""


def branched(world: World) -> str:
    """A branch may have a preview, and has none yet."""
    previews = 'previews: {branches: "feature/*", from: qa}'
    world.configure(CONFIG.replace("    environments:", f"    {previews}\n    environments:"))
    world.services.vault.put(
        "shop", "TOKEN", Secret("another"), environment="previews", by="ann", now=world.clock.now()
    )
    world.source.push("shop", {"Dockerfile": b"FROM scratch\n"}, branch="feature/login")
    return ""


def previewed(world: World) -> str:
    branched(world)
    world.commands.add_preview("shop", "feature/login", "ann")
    world.work("shop--login")
    return ""


def renamed(world: World) -> str:
    """`gc` has ended what served under the old name."""
    world.configure(CONFIG.replace("shop:", "store:"))
    world.gc()
    return ""


def renamed_accessory(world: World) -> str:
    world.configure(CONFIG.replace("shop-db", "store-db"))
    return ""


def unused(world: World) -> str:
    """No release in a slot uses the accessory or the volume any more."""
    world.configure("pipelines: {shop: {service: {health: /healthz}, environments: {qa: , live: }}}\n")
    for text in ("three", "four"):
        assert world.push(text, "shop").outcome == Outcome.LIVE
    return ""


def newer_image(world: World) -> str:
    world.configure(CONFIG.replace("postgres:15", "postgres:16"))
    return ""


def upgraded(world: World) -> str:
    newer_image(world)
    assert list(world.accessories.upgrade("shop-db", "ann", environment="live"))
    return ""


def stopped(world: World) -> str:
    world.accessories.stop("shop-db", "ann", environment="live")
    return ""


def backed_up(world: World) -> str:
    world.backups.make("shop-db", "live", "data", "ann")
    world.backups.make("shop", "live", "data", "ann")
    return ""


def with_token(world: World) -> str:
    world.store.tokens.create("bob", "developer")
    return ""


def without_file(world: World) -> str:
    """A folder with a Dockerfile and no pipelines.yaml."""
    world.settings.config.unlink()
    (world.settings.config.parent / "Dockerfile").write_text("FROM scratch\nEXPOSE 80\n")
    return ""


def approved(world: World) -> str:
    """Mia has approved a run, and another person has to as well."""
    world.configure(CONFIG.replace("live: }", "live: {promote: {manual: true, approvals: 2}}}"))
    run = world.push("three", "shop")
    world.commands.promote("shop", "mia", run=run.number)
    return run.id


SCENES: dict[str, Scene] = {
    "withdraw": approved,
    "cancel": waits,
    "promote … --force": taken_back,
    "promote": waits,
    "retry … --over": overtaken,
    "retry": failed,
    "unquarantine": reverted,
    "resume": held,
    "accessory rm": unused,
    "accessory mv": renamed_accessory,
    "accessory upgrade … … --back": upgraded,
    "accessory upgrade": newer_image,
    "accessory start": stopped,
    "accessory restore": backed_up,
    "volume restore … --kept": backed_up,
    "volume restore … --from FILE --stop": ended,
    "volume restore": stopped,
    "volume mv": renamed,
    "volume rm": unused,
    "token revoke": with_token,
    "init": without_file,
    "wake": asleep,
    "maintenance off": in_maintenance,
    "preview add": branched,
    "preview rm": previewed,
}


def scene_of(command: str) -> Scene:
    text = command.removeprefix("pushlive ").replace("'", "")
    return next((scene for start, scene in SCENES.items() if text.startswith(start)), ended)


def words_of(command: str) -> tuple[str, ...]:
    """The words with something of the scene for each part that only the message knows. What only the scene knows is
    ``RUN``, ``COMMIT`` or ``HEAD``."""
    words = shlex.split(command.removeprefix("pushlive ").replace("secret … ", "secret set "))
    of_run = words[0] in OF_RUNS and not ("--app" in words or (words[0] == "logs" and len(words) > 2))
    verb = words[0] if "--stop" in words else " ".join(words[:2])
    names = iter(("RUN",) if of_run else NAMES.get(verb) or NAMES.get(words[0], ("shop", "live")))
    found: list[str] = []
    for word in words:
        before = found[-1] if found else ""
        if not _HOLES.search(word):
            found.append(word)
        elif before == "--yes":
            found.append("/".join(found[2:4]) if found[0] == "accessory" else found[2])
        elif words[:2] == ["volume", "backup"] and before == "--to":
            found.append("copy.tar")
        elif word == "./FILE":
            found.append("./copy")
        else:
            found.append(OPTIONS.get(before) or next(names))
    return tuple(found)


def filled(words: tuple[str, ...], at: Typist, run: str) -> list[str]:
    """``run``: the one that the scene is about."""
    known = {
        "RUN": lambda: run,
        "COMMIT": lambda: at.world.run(2, "shop").commit,
        "HEAD": lambda: at.types("audit", "--verify").text.partition("newest: ")[2].split()[1],
    }
    return [known[word]() if word in known else word for word in words]


def printing(_: SlotSpec, argv: tuple[str, ...]) -> CommandResult:
    """What commands in the containers print; those that read a file for `cp` print an archive of it."""
    said = io.BytesIO()
    if argv == tar_of("/data/file"):
        with tarfile.open(fileobj=said, mode="w") as archive:
            archive.addfile(tarfile.TarInfo("file"), io.BytesIO())
    return CommandResult(0, said.getvalue().decode(), 0.0)


@contextmanager
def shop(store_url: str, folder: Path, config: str = CONFIG) -> Iterator[Typist]:
    """The shop with two releases, and a maintainer in its folder."""
    world = World(store_url, folder, config)
    world.services.vault.put(
        "shop", "TOKEN", Secret("a-value"), environment="", by="ann", now=world.clock.now()
    )
    for text in ("one", "two"):
        assert world.push(text, "shop").outcome == Outcome.LIVE
    world.engine.stored |= {DATA: TAR, OLD.volume: TAR}
    world.engine.commands = printing
    (folder / "files.tar").write_bytes(TAR)
    with typist(world) as found, pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("PUSHLIVE_DATA", str(folder))
        yield found


@pytest.fixture(scope="module")
def calm(shared_store: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Typist]:
    with shop(shared_store, tmp_path_factory.mktemp("calm")) as found:
        yield found


COMMANDS = sorted({command.replace(HOLE, "…") for _, command in advised()})
SITUATIONS = {
    (words_of(command), scene_of(command)): command for command in COMMANDS if command not in NOT_TYPED
}
QUIET = [one for one in SITUATIONS if " ".join(one[0]).startswith(CALM) and one[1] is ended]


def test_what_is_not_typed_is_advised_and_has_a_reason() -> None:
    assert set(NOT_TYPED) - set(COMMANDS) == set()
    assert len(SITUATIONS) > 60


def _name(one: object) -> str:
    return " ".join(one) if isinstance(one, tuple) else str(getattr(one, "__name__", ""))


@pytest.mark.parametrize(("words", "scene"), QUIET, ids=_name)
def test_an_advised_command_that_changes_nothing_says_something(
    words: tuple[str, ...], scene: Scene, calm: Typist
) -> None:
    tries(calm, words, scene)


@pytest.mark.long
@pytest.mark.parametrize(("words", "scene"), [one for one in SITUATIONS if one not in QUIET], ids=_name)
def test_an_advised_command_does_what_it_is_for(
    words: tuple[str, ...], scene: Scene, store_url: str, tmp_path: Path
) -> None:
    with shop(store_url, tmp_path) as at:
        tries(at, words, scene)


def test_a_release_command_that_hangs_is_abandoned_as_the_card_says(store_url: str, tmp_path: Path) -> None:
    with shop(store_url, tmp_path, CONFIG.replace("service:", "service:\n      release: [migrate]")) as at:
        found: list[Typed] = []
        at.world.engine.hang("command")
        at.world.engine.before("command", lambda: found.append(at.types("release", "abandon", "shop#3")))
        run = at.world.push("three", "shop")
        assert found[0].code == 0, found
        assert run.failure.message.startswith("The release command was abandoned by mia")


def tries(at: Typist, words: tuple[str, ...], scene: Scene) -> None:
    typed = filled(words, at, scene(at.world))
    found = at.types(*typed, answer=typed_once_more(typed))
    assert found.code == 0, (typed, found)
    assert_useful(typed, found)


def typed_once_more(words: list[str]) -> str:
    """What a person types at a terminal who is asked for a value, or for the name once more."""
    if words[0] == "secret":
        return "a-new-value"
    return "/".join(words[2:4]) if words[0] == "accessory" else "".join(words[2:3])


def assert_useful(words: list[str], found: Typed) -> None:
    assert not re.search(r"no such|not found|there is no\b|does not exist", found.text), (words, found.text)
    advice = re.findall(r"`pushlive ([^`]*)`", found.text)
    assert words not in [shlex.split(one) for one in advice], found.text
