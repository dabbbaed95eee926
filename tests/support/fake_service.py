"""A strict service in memory: what the web side asks of the domain, and nothing behind it."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipeline.deploy.tools.sessions import Ended
from pipeline.domain.audit_chain import Actor, Entry, Mark, Report, Who, actor, entry
from pipeline.domain.events import Event, Said
from pipeline.domain.measuring.measurements import Measurements
from pipeline.domain.measuring.monthly import calendar
from pipeline.domain.run import Failure, Kind, Outcome, Push, Run, State, StepResult
from pipeline.errors import NotFound, RequestError, StoreUnavailable, TokenExpired
from pipeline.lib import codec
from pipeline.lib.secret import Secret
from pipeline.ports.slots import OUTPUT_LIMIT
from pipeline.ports.terminal import SessionRecord
from pipeline.service.tools import Asked
from pipeline.store.origin import Beside
from tests.support import months

STAGES = ("build", "dev", "qa", "live")
ROLES = {"viewer-token": "viewer", "developer-token": "developer", "maintainer-token": "maintainer"}


@dataclass(frozen=True)
class Accepted:
    run: Run
    duplicate: bool = False
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Token:
    name: str
    role: str
    expires: float = 0.0


class FakeService:
    """``pace``: seconds between two events of a followed run. ``down``: the store does not answer."""

    def __init__(self, pace: float = 0.0, outcome: Outcome = Outcome.LIVE) -> None:
        self.pace, self.outcome, self.down = pace, outcome, False
        self.waits_yet = ""  # of a run that is promoted
        self.beside: Beside | None = None  # what is there beside a store without records
        self.pipelines = {"hello": ("hello", "main"), "shop": ("https://code.example/shop.git", "release")}
        self.wrong_configuration: tuple[str, ...] = ()
        self.configuration = "https://code.example/ops.git"
        self.pushes: list[Push] = []
        self.made: dict[str, Run] = {}
        self.shown: dict[str, dict[str, Any]] = {}  # what ``show`` adds to a run
        self.room: dict[str, Any] = {}  # what ``capacity`` adds
        self.acts: list[tuple[Any, ...]] = []
        self.traces: Counter[str] = Counter()
        self.recorded: list[tuple[Any, ...]] = []
        self.ended: set[str] = set()  # sessions
        self.actors: list[Any] = []
        self.texts = {text: Token(role, role) for text, role in ROLES.items()}
        self.environments = [environment("dev"), environment("qa"), environment("live")]
        self.volume_tar = b"x" * 10240
        self.measured = Measurements()
        self.measured_timings: dict[str, Any] = {}
        self.seen: dict[str, Any] = {}  # environments side by side
        self.message = "Greet the world"
        self.events: Callable[[Run], list[Event]] = story
        self.previewed = False  # whether branches feature/… have previews
        self.requests: list[tuple[tuple[str, ...], Any]] = []
        self.closed: list[tuple[Any, ...]] = []
        self._lock = threading.Lock()
        self.tools = FakeTools(self)
        self.accessories = FakeAccessories(self)
        self.backups = FakeBackups(self)
        self.evidence = FakeEvidence(self)
        self.sleeping = FakeSleeping(self)
        self.maintenance = FakeMaintenance(self)

    # Pushes

    def _up(self) -> None:
        if self.down:
            raise StoreUnavailable("the store does not answer", advice="Try again in a moment.")

    def accept(self, push: Push, by: Who) -> Accepted:
        self.actors.append(by)
        self.insist_on_store()
        with self._lock:
            self._up()
            for run in self.made.values():
                if (run.pipeline, run.delivery) == (push.pipeline, push.delivery):
                    return Accepted(run, True, (f"this delivery is {run.id} already",))
            self.pushes.append(push)
            return Accepted(self._new(push.pipeline, Kind.PUSH, push.commit, push.pusher, push))

    def _new(self, pipeline: str, kind: Kind, commit: str, by: Who, push: Push | None = None) -> Run:
        run = Run(
            pipeline=pipeline,
            number=42 + len(self.made),
            kind=kind,
            commit=commit,
            ref=push.ref if push else "refs/heads/main",
            config="c0ffee",
            stages=STAGES,
            accepted=time.time(),
            pusher=actor(by).name,
            delivery=push.delivery if push else "",
            message=self.message,
        )
        self.made[run.id] = run
        return run

    def pipelines_of_repository(self, name: str) -> tuple[str, ...]:
        self._up()
        return tuple(p for p, (source, _) in self.pipelines.items() if source == name)

    def pipelines_of_url(self, urls: tuple[str, ...]) -> tuple[str, ...]:
        self._up()
        return tuple(p for p, (source, _) in self.pipelines.items() if source in urls)

    def judge_configuration(self, updates: Any, quarantine: str, by: Who) -> tuple[str, ...]:
        self.actors.append(by)
        return self.wrong_configuration

    def take_configuration(self, by: Who) -> dict[str, Any]:
        self.actors.append(by)
        origin = {"commit": "c" * 40, "author": "Ann", "subject": "more room"}
        plan = {"problems": [], "warnings": [], "pipelines": {"hello": {"live": ["replicas: 1 → 3"]}}}
        return {"config": "c0ffee", "changed": True, "problem": "", "origin": origin, "plan": plan}

    def configuration_pushed(self, urls: tuple[str, ...], ref: str, asked: Any) -> str:
        return f"the configuration in {asked.commit[:7]} is fetched" if self.configuration in urls else ""

    def branch_of(self, pipeline: str) -> str:
        return self.pipelines[pipeline][1]

    def preview_takers(self, pipelines: tuple[str, ...], ref: str) -> tuple[str, ...]:
        return pipelines if ref.startswith("refs/heads/feature/") and self.previewed else ()

    def close_previews(self, pipelines: tuple[str, ...], branch: str, reason: str, by: Who, *, url: str = "",
                       request: int = 0) -> tuple[str, ...]:  # fmt: skip
        if not self.previewed or not (branch.startswith("feature/") or request):
            return ()
        self.closed.append((pipelines, branch, reason, url, request))
        return (f"the preview of {branch} is removed",)

    def pull_request(
        self, pipelines: tuple[str, ...], asked: Any, by: Who
    ) -> tuple[tuple[str, ...], tuple[str, ...]]:
        self.actors.append(by)
        self.requests.append((pipelines, asked))
        return (("shop--pr-7#1",), ("a note",)) if self.previewed else ((), ())

    def previews(self, pipeline: str = "") -> list[dict[str, Any]]:
        return []

    def add_preview(self, pipeline: str, branch: str, by: Who) -> Run:
        self._act("preview add", pipeline, by, branch)
        return self._new(f"{pipeline}--x", Kind.DEPLOY, "a" * 40, by)

    def allow_preview(self, name: str, by: Who, *, commit: str = "") -> Run:
        self._act("preview allow", name, by, commit)
        return self._new(name, Kind.DEPLOY, commit or "a" * 40, by)

    def remove_preview(self, name: str, by: Who) -> tuple[str, ...]:
        self._act("preview rm", name, by)
        return (f"{name} is removed",)

    # Commands

    def _act(self, *what: Any) -> None:
        self._up()
        if what[1] not in self.pipelines:
            raise NotFound(f"there is no pipeline {what[1]!r}", advice="See `pushlive status`.")
        self.actors += [one for one in what if isinstance(one, Actor)]
        self.acts.append(tuple(one.name if isinstance(one, Actor) else one for one in what))

    def deploy(self, pipeline: str, by: Who, *, commit: str = "", release: int | None = None,
               config: str = "", rebuild: bool = False) -> Run:  # fmt: skip
        self._act("deploy", pipeline, by, commit, release, config, rebuild)
        return self._new(pipeline, Kind.DEPLOY, commit or "a" * 40, by)

    def revert(self, pipeline: str, by: Who, *, environment: str = "", to: int | None = None,
               shown: int | None = None, run: int | None = None, reason: str = "",
               back: bool = False, across: int | None = None) -> Run:  # fmt: skip
        said = (shown, run, across, "back" if back else None)
        self._act("revert", pipeline, by, environment, to, reason, *(n for n in said if n is not None))
        return self._new(pipeline, Kind.REVERT, "b" * 40, by)

    def promote(self, pipeline: str, by: Who, *, run: int | None = None, environment: str = "",
                release: int | None = None, force: bool = False, reason: str = "") -> Run:  # fmt: skip
        self._act("promote", pipeline, by, run, environment, release, *([reason] if force else []))
        return self.run(pipeline, run) if run else next(iter(self.made.values()))

    def still_waits(self, run: Run) -> str:
        return self.waits_yet

    def set_values(self, pipeline: str, by: Who, *, values: Mapping[str, str], environment: str = "",
                   seen: str = "") -> dict[str, Any]:  # fmt: skip
        self._act("set_values", pipeline, by, environment, dict(values), seen)
        return {"config": "c0ffee", "environment": environment or "live", "changes": ["replicas: 1 → 3"],
                "file": "pipelines.yaml", "writes": True} | ({"run": "hello#1"} if seen else {})  # fmt: skip

    def hold(self, pipeline: str, by: Who, *, environment: str = "", reason: str = "",
             held_by: str = "") -> tuple[str, ...]:  # fmt: skip
        self._act("hold", pipeline, by, environment, reason)
        return ("held",)

    def resume(self, pipeline: str, by: Who, *, environment: str = "", held_by: str = "") -> tuple[str, ...]:
        self._act("resume", pipeline, by, environment)
        return ("resumed",)

    def freeze(self, by: Who, *, pipeline: str = "", environment: str = "", reason: str = "", until: str = "",
               lasting: str = "", zone: str = "UTC") -> tuple[str, ...]:  # fmt: skip
        self._act("freeze", pipeline or "hello", by, environment, reason, until, lasting, zone)
        return ("frozen",)

    def thaw(
        self, by: Who, *, pipeline: str = "", environment: str = "", reason: str = ""
    ) -> tuple[str, ...]:
        self._act("thaw", pipeline or "hello", by, environment, reason)
        return ("open",)

    def withdraw(self, pipeline: str, by: Who, *, run: int | None = None, environment: str = "",
                 release: int | None = None, reason: str = "") -> tuple[str, ...]:  # fmt: skip
        self._act("withdraw", pipeline, by, run, environment, release, reason)
        return ("withdrawn",)

    def unquarantine(self, pipeline: str, by: Who, release: int, *, environment: str = "",
                     reason: str = "") -> tuple[str, ...]:  # fmt: skip
        self._act("unquarantine", pipeline, by, release, environment, *([reason] if reason else []))
        return ("released",)

    def cancel(self, pipeline: str, number: int | None, by: Who) -> Run:
        number = number or max(run.number for run in self.made.values())
        self._act("cancel", pipeline, number, by)
        run = self.run(pipeline, number)
        if run.state is State.ENDED:
            raise RequestError(f"{run.id} has ended", advice="There is nothing to cancel.")
        return run

    def abandon(self, pipeline: str, number: int, by: Who) -> Run:
        self._act("abandon", pipeline, number, by)
        return replace(self.run(pipeline, number), command="release", stage="live")

    def retry(self, pipeline: str, number: int, by: Who, *, over: int | None = None) -> Run:
        self._act("retry", pipeline, number, by, *([over] if over else []))
        return self._new(pipeline, Kind.DEPLOY, self.run(pipeline, number).commit, by)

    def plan(self, text: str) -> dict[str, Any]:
        return {"problems": [], "warnings": [], "pipelines": {}}

    # Queries

    def status(self, pipeline: str = "") -> dict[str, Any]:
        self._up()
        runs = self.runs()
        waiting = next((r for r in runs if r["state"] == "waiting"), None)
        hello = {"name": "hello", "branch": "main", "source": "built-in: hello",
                 "run": runs[0] if runs else None, "waiting": waiting,
                 "environments": self.environments}  # fmt: skip
        return {"pipelines": [hello], "config_error": "", "unknown_store": self.unknown_store()}

    def runs(self, pipeline: str = "", limit: int = 50) -> list[dict[str, Any]]:
        self._up()
        return [summary(run) for run in reversed(self.made.values())][:limit]

    def timings(self, pipeline: str, *, seconds: float) -> dict[str, Any]:
        self._up()
        self.asked_seconds = seconds
        return {"pipeline": pipeline, "seconds": seconds, "runs": 0, "steps": []} | self.measured_timings

    def parity(self, pipeline: str) -> dict[str, Any]:
        self._up()
        nothing = dict.fromkeys(("same", "of", "declared", "undeclared", "inherent"), 0)
        return {
            "pipeline": pipeline,
            "percent": 100,
            **nothing,
            "rule": "",
            "environments": [],
            "rows": [],
        } | self.seen

    def cost(self, pipeline: str = "", *, month: str = "", zone: str = "UTC") -> dict[str, Any]:
        self._up()
        return {
            "month": month or "2026-11",
            "zone": zone,
            "lines": [],
            "total": 0.0,
            "machines": [],
            "missing": [],
            "replicas": [],
        }

    def cost_history(self, pipeline: str = "", *, months: int = 12, zone: str = "UTC") -> dict[str, Any]:
        self._up()
        return {"zone": zone, "months": [], "asked": months}

    def cost_rows(self, pipeline: str = "", *, month: str = "", zone: str = "UTC") -> Iterator[str]:
        self._up()
        return iter(("BilledCost\n", "1\n"))

    def capacity(self) -> dict[str, Any]:
        self._up()
        return {
            "now": 1.8e9,
            "currency": "EUR",
            "rule": "",
            "machines": [],
            "data": {},
            "shortages": [],
        } | self.room

    def report(self, pipeline: str = "", *, month: str = "", zone: str = "UTC") -> dict[str, Any]:
        self._up()
        return months.answer([], calendar.month(month or "2026-11", zone), pipeline=pipeline or "hello")

    def show(self, pipeline: str, number: int | None) -> dict[str, Any]:
        number = number or max((r.number for r in self.made.values()), default=0)
        timing = {"queue": 0.2, "human": 0.0, "shifted": 0.0, "machine": 1.5, "deploy": 1.0, "whole": 1.7, "over": "",
                  "budget": {"deploy": 300.0, "whole": 600.0}}  # fmt: skip
        run = self.run(pipeline, number)
        return {"run": summary(run) | self.shown.get(run.id, {}), "timing": timing, "release": None}

    def suggest(
        self, by: Actor, *, pipeline: str = "", without_redundancy: bool = False, seen: str = ""
    ) -> dict[str, Any]:
        self._up()
        return {"suggestion": "", "changes": [], "diff": "", "refused": [], "said": "Nothing.", "runs": []}

    def run(self, pipeline: str, number: int) -> Run:
        self._up()
        if run := self.made.get(f"{pipeline}#{number}"):
            return run
        raise NotFound(f"there is no run {pipeline}#{number}", advice="See `pushlive runs`.")

    def follow(
        self, pipeline: str, number: int, after: str = "0", idle: float = 10.0
    ) -> Iterator[tuple[str, Event] | None]:
        run = self.run(pipeline, number)
        for key, event in enumerate(self.events(run), 1):
            if key <= int(after):
                continue
            for _ in range(int(self.pace)):
                time.sleep(1.0)
                yield None
            time.sleep(self.pace % 1.0)
            yield f"{key}", event
        if run.state is not State.WAITING:
            self.made[run.id] = replace(run, state=State.ENDED, outcome=self.outcome, ended=time.time())

    def log(self, pipeline: str, number: int, stage: str = "") -> Iterator[str]:
        yield from ("#1 FROM scratch", "#2 COPY . /", f"stage {stage or 'all'}")

    # Output, secrets, tokens, audit, maintenance

    def output(self, pipeline: str, *, environment: str = "", lines: int = 200) -> tuple[str, ...]:
        heading = f"── {environment or 'live'} r1 (blue, serving)"
        if lines > 1000:  # as much as an engine gives
            return (heading, *(f"{number:{OUTPUT_LIMIT // lines}}" for number in range(lines)))
        return (heading, f"the last {lines} lines of {pipeline}")

    def cron(self, pipeline: str, *, environment: str = "") -> list[dict[str, Any]]:
        return [{"environment": environment or "live", "process": "mail", "runs": []}]

    def set_secret(
        self, pipeline: str, by: Who, name: str, value: Secret, *, environment: str = ""
    ) -> dict[str, Any]:
        self._act("set_secret", pipeline, by, name, value, environment)
        return {"name": name, "environment": environment, "version": 1, "messages": [f"{name} is set"]}

    def remove_secret(
        self, pipeline: str, by: Who, name: str, *, environment: str = "", version: int | None = None
    ) -> tuple[str, ...]:
        self._act("remove_secret", pipeline, by, name, environment, version)
        return (f"{name} is revoked",)

    def secrets(self, pipeline: str) -> list[dict[str, Any]]:
        self._act("secrets", pipeline)
        return [{"name": "DATABASE_URL", "environment": "", "version": 1}]

    def secret(self, pipeline: str, name: str, environment: str = "") -> list[dict[str, Any]]:
        self._act("secret", pipeline, name, environment)
        return [{"name": name, "environment": environment, "version": 1}]

    def create_token(self, name: str, role: str, by: Who, *, lasts: float = 0.0) -> str:
        self.texts["fresh"] = Token(name, role, time.time() + lasts if lasts else 0.0)
        return "fresh"

    def expire(self, text: str) -> None:
        """Makes that token expire."""
        self.texts[text] = replace(self.texts[text], expires=1.0)

    def token(self, text: str) -> Token | None:
        self._up()
        found = self.texts.get(text)
        if found and 0 < found.expires <= time.time():
            raise TokenExpired(f"the token {found.name!r} expired on 1970-01-01", advice="Ask for another.")
        return found

    def tokens(self) -> list[dict[str, Any]]:
        self._up()
        return [
            {"name": t.name, "role": t.role, "created": 1.0, "expires": t.expires, "used": 0.0,
             "expired": 0 < t.expires <= time.time()} for t in self.texts.values()
        ]  # fmt: skip

    def record(self, by: Who, act: str, **what: Any) -> None:
        self._up()
        self.recorded.append((by, act, what))

    def audit_log(self, pipeline: str = "", limit: int = 50) -> list[Entry]:
        return [entry("ann", "hold", 1.0, pipeline=pipeline or "hello")][:limit]

    def verify_audit(self, noted: str = "") -> Report:
        return Report(1, Mark(1, "ab" * 32), [f"{noted} is not there"] if noted else [])

    def revoke_token(self, name: str, by: Who = "") -> None:
        self.recorded: list[tuple[Any, ...]] = []
        self.actors: list[Any] = []
        self.texts = {text: token for text, token in self.texts.items() if token.name != name}

    def end_session(self, identifier: str, seconds: float) -> None:
        self._up()
        self.ended.add(identifier)

    def has_session_ended(self, identifier: str) -> bool:
        return identifier in self.ended

    def count(self, what: str, times: int = 1) -> None:
        self.traces[what] += times

    def measurements(self) -> Measurements:
        self._up()
        return replace(self.measured, counts=dict(self.traces))

    def fix(self, by: Who) -> tuple[str, ...]:
        return ("hello/live: the proxy was brought back to blue (r1)",)

    def volumes(self, pipeline: str = "", *, sizes: bool = False) -> dict[str, list[dict[str, Any]]]:
        self._up()
        one = {
            "owner": "hello", "kind": "pipeline", "environment": "live", "name": "data", "engine": "docker",
            "stored_as": "pushlive-hello-live-data", "size": 4096 if sizes else None, "users": ["web"], "left": "",
        }  # fmt: skip
        return {"volumes": [one] if self.volume_tar else [], "unanswered": []}

    def volume_files(self, owner: str, environment: str, name: str, by: Who) -> Iterator[bytes]:
        self._act("volume backup", owner, by, environment, name)
        return (piece for piece in (self.volume_tar,))

    def restore_volume(
        self, owner: str, environment: str, name: str, by: Who, tar: Iterable[bytes], *, stop: bool = False
    ) -> tuple[str, ...]:
        self._act("volume restore", owner, by, environment, name, stop)
        self.volume_tar = b"".join(tar)
        return (f"{owner}/{environment}/{name} has the files of the backup.",)

    def remove_volume(self, owner: str, environment: str, name: str, by: Who) -> tuple[str, ...]:
        self._act("volume rm", owner, by, environment, name)
        self.volume_tar = b""
        return (f"removed the volume {owner}/{environment}/{name} and its files",)

    def move_volume(
        self, owner: str, environment: str, name: str, by: Who, *, to: str
    ) -> Generator[tuple[str, ...]]:
        self._act("volume mv", owner, by, environment, name, to)
        return (one for one in ((f"{to} has all files of {owner}/{environment}/{name}.",), ()))

    def doctor(self) -> list[dict[str, Any]]:
        return [{"name": "store", "ok": True, "text": "answers", "advice": ""}]

    def gc(self, by: Who, serving: frozenset[str] | None = None) -> tuple[Said, ...]:
        if serving is not None and "hello/old" not in serving:
            return Said("hello/old still serves", left=True, serving="hello/old"), Said("one image")
        return (Said("nothing to remove"),)

    def adopt(self, by: Who) -> tuple[str, ...]:
        return ("hello/live: r17 (blue) serves",)

    def healthy(self) -> bool:
        return not self.down

    def unknown_store(self) -> str:
        return str(self.beside.error()) if self.beside else ""

    def insist_on_store(self) -> None:
        if self.beside:
            raise self.beside.error()


def summary(run: Run) -> dict[str, Any]:
    seconds = sum(step.seconds for step in run.steps)
    return {**codec.plain(run), "id": run.id, "short": run.short, "seconds": seconds, "machine": seconds}


def environment(name: str, **changes: Any) -> dict[str, Any]:
    """What ``status`` says of one environment."""
    ready = {"ready": True, "release": 16, "how": "warm", "text": "revert ready: r16, warm"}
    return {
        "name": name, "release": 17, "commit": "c" * 40, "message": "Say hello louder",
        "since": time.time() - 400, "slot": "blue", "hold": None, "revert": ready,
        "url": "http://127.0.0.1:20003", "host_url": f"http://hello-{name}.localhost:7080",
        "quarantine": [], "manual": False, "problem": "",
    } | changes  # fmt: skip


def story(run: Run) -> list[Event]:
    now = time.time()
    told = [Event("accepted", now, f"{run.id} {run.short} accepted")]
    told += [Event("note", now, f"{stage} is done", stage) for stage in run.stages]
    return [*told, Event("end", now, "live")]


def steps() -> tuple[StepResult, ...]:
    done = (("build", ("fetch", "build", "push")), ("dev", ("start", "smoke", "switch", "verify")))
    return tuple(
        StepResult(stage, name, time.time(), 0.11 * (i + 1), detail=f"{name} went well")
        for stage, names in done
        for i, name in enumerate(names)
    )


FAILURE = Failure(
    "dev", "smoke", "application", "GET /healthz answered 500 instead of 200", "Push a fix.",
    ("Traceback (most recent call last):", "KeyError: 'GREETING'"), ("env GREETING: hello → (gone)",),
)  # fmt: skip


class FakeSession:
    """A command that prints what it is and ends at once."""

    def __init__(self, by: str, text: str) -> None:
        self.record = SessionRecord("5e5510", "hello", "dev", 0, "blue", by=by)
        self._text = text
        self.taken: list[Any] = []
        self.closed = False

    def events(self) -> Generator[tuple[int, bytes] | Ended | None]:
        yield 1, self._text.encode()
        yield None
        yield Ended(0)

    def write(self, data: bytes, at: int | None = None) -> None:
        self.taken.append((data, at))

    def end_input(self) -> None:
        self.taken.append(None)

    def resize(self, columns: int, rows: int) -> None:
        self.taken.append((columns, rows))

    def close(self) -> None:
        self.closed = True


class FakeTools:
    """Commands in no container."""

    def __init__(self, service: FakeService) -> None:
        self._service = service
        self.open: dict[str, FakeSession] = {}

    def run_command(self, pipeline: str, by: Who, asked: Asked, *, environment: str = "") -> FakeSession:
        return self._started("run", pipeline, by, asked, environment)

    def exec_command(
        self, pipeline: str, by: Who, asked: Asked, *, environment: str = "", replica: int = 1
    ) -> FakeSession:
        return self._started("exec", pipeline, by, asked, environment, replica)

    def exec_accessory(self, name: str, by: Who, asked: Asked, *, environment: str) -> FakeSession:
        return self._started("accessory exec", name, by, asked, environment)

    def _started(self, act: str, pipeline: str, by: Who, asked: Asked, *more: Any) -> FakeSession:
        self._service._act(act, pipeline, by, asked.argv, *more)
        session = FakeSession(actor(by).name, " ".join(asked.argv))
        self.open[session.record.id] = session
        return session

    def session(self, identifier: str, by: Who) -> FakeSession:
        found = self.open.get(identifier)
        if found is None or found.record.by != actor(by).name:
            raise NotFound("that session has ended", advice="Start the command again.")
        return found

    def copy(
        self, pipeline: str, by: Who, path: str, *, environment: str = "", process: str = ""
    ) -> FakeSession:
        return self._started("cp", pipeline, by, Asked((path,)), environment)

    def follow_output(
        self, pipeline: str, *, environment: str, process: str, lines: int, seconds: float, follow: bool
    ) -> Generator[tuple[str, ...]]:
        yield (f"1 | {pipeline} {environment} {process} {lines} {follow}",)
        yield ()

    def access_log(
        self, pipeline: str, *, environment: str, lines: int, follow: bool
    ) -> Generator[tuple[str, ...]]:
        yield (f'{{"path": "/", "pipeline": "{pipeline}", "lines": {lines}}}',)
        yield ()

    def usage(self, pipeline: str, *, environment: str = "") -> list[dict[str, Any]]:
        return [{"name": f"{pipeline}-1", "cpu": 0.1, "memory": 1024, "limit": 2048}]

    def restart(self, pipeline: str, by: Who, *, environment: str = "") -> Generator[tuple[str, ...]]:
        self._service._act("restart", pipeline, by, environment)
        return (one for one in (("hello-1 was restarted",), ()))


class FakeSleeping:
    """Everything sleeps and wakes at once."""

    def __init__(self, service: FakeService) -> None:
        self._service = service

    def put_to_sleep(self, pipeline: str, by: Who, *, environment: str) -> tuple[str, ...]:
        self._service._act("sleep", pipeline, by, environment)
        return (f"{pipeline}/{environment} sleeps; the next request wakes it.",)

    def wake(self, pipeline: str, by: Who, *, environment: str) -> tuple[str, ...]:
        self._service._act("wake", pipeline, by, environment)
        return (f"{pipeline}/{environment} serves r17 again.",)


class FakeMaintenance:
    """It begins and ends at once."""

    def __init__(self, service: FakeService) -> None:
        self._service = service

    def turn_on(self, pipeline: str, by: Who, *, environment: str, message: str, until: str = "",
              lasting: str = "", zone: str = "UTC") -> tuple[str, ...]:  # fmt: skip
        self._service._act("maintenance on", pipeline, by, environment, message, until, lasting, zone)
        return (f"{pipeline}/{environment} is in maintenance: {message}",)

    def turn_off(self, pipeline: str, by: Who, *, environment: str) -> tuple[str, ...]:
        self._service._act("maintenance off", pipeline, by, environment)
        return (f"{pipeline}/{environment} is no longer in maintenance.",)


class FakeAccessories:
    """One database that is always ready."""

    def __init__(self, service: FakeService) -> None:
        self._service = service

    def overview(self, of: str = "") -> list[dict[str, Any]]:
        one = {"name": "shop-db", "environment": "live", "state": "ready", "why": "", "image": "postgres:15"}
        return [{**one, "volume": "/data", "used_by": ["shop"], "changes": [], "unfinished": ""}]

    def last_output(self, name: str, *, environment: str, lines: int = 200) -> tuple[str, ...]:
        return (f"{name}/{environment} is ready to accept connections",)[:lines]

    def start(self, name: str, by: Who, *, environment: str, as_it_is: bool = False) -> tuple[str, ...]:
        return self._acted(
            "accessory start", name, by, f"{environment} as it is" if as_it_is else environment
        )

    def stop(self, name: str, by: Who, *, environment: str) -> tuple[str, ...]:
        return self._acted("accessory stop", name, by, environment)

    def restart(self, name: str, by: Who, *, environment: str) -> tuple[str, ...]:
        return self._acted("accessory restart", name, by, environment)

    def apply(self, name: str, by: Who, *, environment: str) -> tuple[str, ...]:
        return self._acted("accessory apply", name, by, environment)

    def remove(self, name: str, by: Who, *, environment: str) -> tuple[str, ...]:
        return self._acted("accessory rm", name, by, environment)

    def upgrade(
        self, name: str, by: Who, *, environment: str, back: bool = False
    ) -> Generator[tuple[str, ...]]:
        lines = self._acted(f"accessory upgrade {back}", name, by, environment)
        return (one for one in (lines, ()))

    def move(
        self, name: str, by: Who, *, environment: str, to: str, to_environment: str = ""
    ) -> Generator[tuple[str, ...]]:
        lines = self._acted(f"accessory mv {to} {to_environment}", name, by, environment)
        return (one for one in (lines, ()))

    def _acted(self, act: str, name: str, by: Who, environment: str) -> tuple[str, ...]:
        self._service._act(act, name, by, environment)
        return (f"{name}/{environment}: {act}",)


class FakeEvidence:
    """One record."""

    def __init__(self, service: FakeService) -> None:
        self._service = service

    def key(self) -> dict[str, str]:
        return {"key": "-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----\n", "keyid": "ab" * 32}

    def record_of(self, pipeline: str, number: int) -> dict[str, Any]:
        return {"id": self._service.run(pipeline, number).id}

    def listed(self, pipeline: str, limit: int) -> dict[str, Any]:
        return {"records": [{"id": f"{pipeline}#42"}] if pipeline else [], "acts": [{"act": "hold"}][:limit]}

    def bundle(
        self,
        pipeline: str,
        by: Who,
        *,
        run: int | None = None,
        release: int | None = None,
        environment: str = "",
    ) -> tuple[int, Generator[bytes]]:
        self._service._act("evidence", pipeline, by, run, release, environment)
        return 10, (piece for piece in (b"x" * 4, b"y" * 6))


class FakeBackups:
    """One database that was backed up."""

    def __init__(self, service: FakeService) -> None:
        self._service = service

    def overview(self, of: str = "") -> list[dict[str, Any]]:
        good = {"file": "shop-db-live-data-20270115T080000Z.dump", "at": 1_800_000_000.0, "size": 20 << 20}
        one = {
            "owner": "shop-db",
            "kind": "accessory",
            "environment": "live",
            "name": "data",
            "every": 86400.0,
        }
        return [
            {**one, "keep": 7, "to": "", "good": good, "kept": [good], "failed": "", "problem": ""},
        ]

    def make(self, owner: str, environment: str, name: str, by: Who) -> dict[str, Any]:
        self._service._act("backup", owner, by, environment, name)
        return {**self.overview()[0]["good"], "messages": [f"{owner}/{environment}: backup"]}

    def path(self, owner: str, environment: str, name: str, file: str, by: Who) -> Path:
        self._service._act("backup read", owner, by, environment, name, file)
        return Path(__file__)

    def restore_accessory(
        self, name: str, environment: str, by: Who, pieces: Iterable[bytes], kept: str = ""
    ) -> tuple[str, ...]:
        self._service._act("accessory restore", name, by, environment, kept, b"".join(pieces))
        return (f"{name}/{environment}: restored",)

    def restore_volume(
        self, owner: str, environment: str, name: str, by: Who, kept: str, *, stop: bool = False
    ) -> tuple[str, ...]:
        self._service._act("volume restore", owner, by, environment, name, kept, stop)
        return (f"{owner}/{environment}/{name}: restored",)
