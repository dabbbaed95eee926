"""What people do with the containers that serve."""

from __future__ import annotations

import secrets
from collections.abc import Generator
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

from pipeline.config.engines import DOCKER
from pipeline.deploy.data.access import VolumeAccess
from pipeline.deploy.data.accessory_users import users
from pipeline.deploy.data.unfinished import refuse
from pipeline.deploy.services import Services
from pipeline.deploy.slot.serving import spec_in
from pipeline.deploy.tools.output import FollowedOutput, Wish
from pipeline.deploy.tools.restart import Restart, take
from pipeline.deploy.tools.sessions import OpenSession, Sessions
from pipeline.domain import audit_chain
from pipeline.domain.audit_chain import Who
from pipeline.domain.engine_types import SlotRef, SlotSpec
from pipeline.domain.environment import SLOTS
from pipeline.domain.slots import slot_ref
from pipeline.domain.volumes import volumes_of
from pipeline.errors import NotFound, RequestError
from pipeline.lib.shell import as_typed
from pipeline.ports.clock import Clock, Deadline
from pipeline.ports.engine import Engines
from pipeline.ports.queue import Queue
from pipeline.ports.terminal import SessionRecord, Terminals, Wanted
from pipeline.runlog.access import files
from pipeline.secrets.redaction import Mask
from pipeline.service import permissions
from pipeline.service.app import access
from pipeline.service.audited import Audited
from pipeline.service.operations import Operations
from pipeline.service.sleep import asleep

START = 60.0  # seconds for a container to start, its image pulled
LONGEST_PATH = 4095  # bytes, Linux's own limit
WORDS, WORD = 1000, 128 << 10  # of a command; bytes of one word, as the kernel takes them


@dataclass(frozen=True)
class Asked:
    """A command that a person asks for. ``terminal``: they have one, of that size."""

    argv: tuple[str, ...]
    terminal: bool = False
    columns: int = 80
    rows: int = 24


@dataclass(frozen=True)
class _Wish:
    """A command that is about to start. ``detail``: how the audit log says it, without secrets."""

    wanted: Wanted
    record: SessionRecord
    terminals: Terminals
    mask: Mask
    detail: str


class Tools(Audited):
    """Of one process: what it has started ends with it."""

    def __init__(
        self, services: Services, queue: Queue, clock: Clock, operations: Operations, engines: Engines
    ) -> None:
        super().__init__(services, queue, clock, operations)
        self._services, self._engines = services, engines
        self._sessions = Sessions(services.store, clock)

    def run_command(self, pipeline: str, by: Who, asked: Asked, *, environment: str = "") -> OpenSession:
        """Starts a command in a fresh container of the release that serves. Raises NotFound, Forbidden, TryAgain if
        there are too many, and what the engine raises."""
        spec = self._serving(pipeline, environment, by, "run commands")
        return self._open("run", spec, by, asked, "")

    def exec_command(
        self,
        pipeline: str,
        by: Who,
        asked: Asked,
        *,
        environment: str = "",
        replica: int = 1,
        process: str = "",
    ) -> OpenSession:
        """Starts a command in a container that serves, as ``run_command`` does. ``replica``: 1 is the first;
        ``process``: "" for the web one, or any if the release has none."""
        spec = self._serving(pipeline, environment, by, "run commands")
        self._refuse_asleep(spec, "run commands in its containers")
        names = self._running(spec, process)
        if not 1 <= replica <= len(names):
            which = f" of the process {process}" if process else ""
            raise NotFound(
                f"{pipeline}/{spec.ref.environment} has no replica {replica}{which}; its running replicas: "
                f"{len(names)}.",
                advice=f"`pushlive status {pipeline}` shows what runs.",
            )
        return self._open("exec", spec, by, asked, names[replica - 1])

    def exec_accessory(self, name: str, by: Who, asked: Asked, *, environment: str) -> OpenSession:
        """The same in the container of an accessory. Raises NotFound and RequestError if there is none that runs."""
        self.insist_on_store()
        record = self._store.accessories.get(name, environment)
        if record is None:
            raise NotFound(
                f"there is no accessory {name[:60]}/{environment[:60]}.",
                advice="`pushlive accessory status` lists them.",
            )
        config = self._config()
        for pipeline in sorted(users(self._store, config, record.ref, record.attached)):
            permissions.refuse_hands(config, pipeline, environment, audit_chain.actor(by), "run commands")
        state = self._engines.of(record.engine).accessories.accessory_state(record.ref)
        if state.state != "running":
            raise RequestError(
                f"the accessory {record.id} does not run.",
                advice=f"`pushlive accessory start {name} {environment}` starts it.",
            )
        ref = SlotRef(name, environment, 0, SLOTS[0], record.engine)
        one = self._wanted(ref, by, asked, state.container)
        about = {"environment": environment, "detail": f"{name}: {one.detail}"}
        end = self.begin(by, "accessory exec", **about, before=record.config.image)
        start = partial(one.terminals.exec_session, ref, state.container, one.wanted)
        kept = replace(one.record, act="accessory exec", what=about["detail"])
        return self._sessions.open(kept, one.terminals, start, one.mask, terminal=asked.terminal, ended=end)

    def _running(self, spec: SlotSpec, process: str) -> list[str]:
        """The names of the containers of that process that run; ``process``: "" for the web one, or for all of a
        release without one. Raises NotFound if the release has no such process."""
        engine = self._engines.of(spec.ref.engine)
        if not process and not spec.web:
            return [one.name for one in engine.outputs.sources(spec.ref) if one.running]
        if not process:
            found = engine.slots.replicas(spec.ref)
            return [one.name for one in found if one.state in ("running", "starting")]
        sources = engine.outputs.sources(spec.ref)
        lasting = (name for name, one in spec.config.service.processes.items() if not one.cron)
        known = sorted({*lasting, *(one.process for one in sources)} - {""})
        if process not in known:
            raise NotFound(
                f"{spec.ref.pipeline}/{spec.ref.environment} has no process {process!r}.",
                advice=f"It has: {', '.join(known)}." if known else "It has none beside the web one.",
            )
        return [one.name for one in sources if one.process == process and one.running]

    def copy(
        self, pipeline: str, by: Who, path: str, *, environment: str = "", process: str = ""
    ) -> OpenSession:
        """A session whose output is a tar archive of that file or folder in a container that serves, as it is.
        ``process``: as in ``exec_command``. Raises as that does."""
        spec = self._serving(pipeline, environment, by, "copy files")
        wanted = path.rstrip("/")
        if not path.startswith("/") or not wanted or "\x00" in path or len(path.encode()) > LONGEST_PATH:
            raise RequestError(
                f"{path[:100]!r} is not the path of a file or folder in a container.",
                advice="It begins with a slash: `pushlive cp hello qa:/data/file ./file`.",
            )
        self._refuse_asleep(spec, "copy files out of its containers")
        if not (names := self._running(spec, process)):
            of = f" of the process {process}" if process else ""
            raise RequestError(
                f"nothing{of} runs in {pipeline}/{spec.ref.environment} now.",
                advice=f"`pushlive status {pipeline}` shows what runs.",
            )
        return self._open("cp", spec, by, Asked(("cp", wanted)), names[0], copied=wanted)

    def follow_output(
        self, pipeline: str, *, environment: str, process: str, lines: int, seconds: float, follow: bool
    ) -> Generator[tuple[str, ...]]:
        """Lines of the containers that serve, of the last ``seconds`` and as they come; () while there is none. Raises
        NotFound before the first."""
        _, name = self._environment_name(pipeline, environment)
        mask, unread = self._vault.mask(pipeline)
        followed = FollowedOutput(
            lambda: self._serving_ref(pipeline, name),
            self._engines,
            Wish(process, lines, self._clock.now() - seconds, follow),
            self._clock.now,
            mask,
        )
        followed.look()  # so that a mistake is an answer
        return followed.lines(tuple(f"! cannot read the secret {one}, so it is not masked" for one in unread))

    def access_log(
        self, pipeline: str, *, environment: str, lines: int, follow: bool
    ) -> Generator[tuple[str, ...]]:
        """Lines of JSON about requests, as they come; () while there is none. Raises NotFound, and RequestError if
        there is no access log."""
        _, name = self._environment_name(pipeline, environment)
        found = self._store.environment(pipeline, name)
        access.insist(self._services.settings, f"{pipeline}/{name}", found.engine if found else DOCKER)
        data = self._services.settings.data
        if follow:
            return files.followed(data, pipeline, name, lines)
        return (some for some in (files.last(data, pipeline, name, lines),))

    def _serving_ref(self, pipeline: str, name: str) -> SlotRef:
        found = self._store.environment(pipeline, name)
        if found is None or found.active is None:
            raise RequestError(f"nothing serves in {pipeline}/{name}.", advice="Push first.")
        return slot_ref(found, found.active)

    def _refuse_asleep(self, spec: SlotSpec, what: str) -> None:
        """Raises RequestError if it sleeps: nothing runs there."""
        if found := self._store.environment(spec.ref.pipeline, spec.ref.environment):
            asleep.refuse(found, what)

    def usage(self, pipeline: str, *, environment: str = "") -> list[dict[str, Any]]:
        """What each container that serves uses now: ``{"name", "cpu", "memory", "limit"}``."""
        _, name = self._environment_name(pipeline, environment)
        ref = self._serving_ref(pipeline, name)
        return [asdict(one) for one in self._engines.of(ref.engine).outputs.usage(ref)]

    def session(self, identifier: str, by: Who) -> OpenSession:
        """One that this person has opened. Raises NotFound."""
        return self._sessions.find(identifier, audit_chain.actor(by).name)

    def restart(self, pipeline: str, by: Who, *, environment: str = "") -> Generator[tuple[str, ...]]:
        """Starts what serves there again, without losing a request: what was done, () while it goes on. It goes on to
        its end also if no one listens any more. Raises RequestError if a run is at work there, and what the engine
        raises."""
        self.insist_on_store()
        _, name = self._environment_name(pipeline, environment)
        # Nothing is taken from a run for an environment where nothing serves, or nothing that could be restarted.
        found = self._serving_spec(pipeline, name)
        self._refuse_asleep(found, "restart it")
        if not found.web and not found.config.service.processes_in_use:
            raise RequestError(
                f"nothing in {pipeline}/{name} runs all the time: it has no web process, and its processes run by a "
                "schedule.",
                advice=f"`pushlive cron {pipeline} --env {name}` shows when the next run is due.",
            )
        refuse(self._store, volumes_of(found), RequestError)
        lease = take(self._store, self._clock, f"{pipeline}/{name}")
        # Only now: a run that had the lease until a moment ago may have switched.
        spec = self._serving_spec(pipeline, name)
        engine, who = self._engines.of(spec.ref.engine), audit_chain.actor(by).name
        about = {"pipeline": pipeline, "environment": name, "release": spec.release}
        end = self.begin(by, "restart", **about, before=_what(spec))
        return Restart(self._store, self._clock, engine, spec, who, lease, end).lines()

    def _serving(self, pipeline: str, environment: str, by: Who, what: str) -> SlotSpec:
        """The release that serves there. Raises NotFound, Forbidden, RequestError."""
        self.insist_on_store()
        _, name = self._environment_name(pipeline, environment)
        permissions.refuse_hands(self._config(), pipeline, name, audit_chain.actor(by), what)
        return self._serving_spec(pipeline, name)

    def _serving_spec(self, pipeline: str, name: str) -> SlotSpec:
        """Raises RequestError if nothing serves there."""
        found = self._store.environment(pipeline, name)
        if found is None or found.active is None:
            raise RequestError(f"nothing serves in {pipeline}/{name}.", advice="Push first.")
        return spec_in(self._services, found, found.active)

    def _open(
        self, act: str, spec: SlotSpec, by: Who, asked: Asked, replica: str, copied: str = ""
    ) -> OpenSession:
        """``copied``: a path whose archive is the output, as it is, instead of that of a command."""
        ref, one = spec.ref, self._wanted(spec.ref, by, asked, replica)
        what = {"pipeline": ref.pipeline, "environment": ref.environment, "release": spec.release}
        detail = f"{replica}: {one.detail}" if replica else one.detail
        end = self.begin(by, act, **what, detail=detail, before=_what(spec))
        record = replace(one.record, act=act, what=detail, release=spec.release)
        begin = partial(self._sessions.open, record, one.terminals, ended=end)
        if copied:
            start = partial(one.terminals.copy_session, ref, replica, copied, one.wanted.session)
            return begin(start, Mask(), terminal=False)
        if replica:
            start = partial(one.terminals.exec_session, ref, replica, one.wanted)
            return begin(start, one.mask, terminal=asked.terminal)
        watch = Deadline(self._clock, START, "Starting the command")
        access = VolumeAccess(self._store, self._clock)
        with access.starting(f"{ref.pipeline}/{ref.environment}", uses=bool(volumes_of(spec))):
            refuse(self._store, volumes_of(spec), RequestError)
            start = partial(one.terminals.run_session, spec, one.wanted, watch)
            return begin(start, one.mask, terminal=asked.terminal)

    def _wanted(self, ref: SlotRef, by: Who, asked: Asked, replica: str) -> _Wish:
        """Raises RequestError for a command that no engine takes."""
        _refuse_words(asked.argv)
        mask, _ = self._vault.mask(ref.pipeline)
        wanted = Wanted(secrets.token_hex(6), asked.argv, asked.terminal, asked.columns, asked.rows)
        record = SessionRecord(
            wanted.session,
            ref.pipeline,
            ref.environment,
            ref.index,
            ref.slot,
            ref.engine,
            replica,
            audit_chain.actor(by).name,
            self._clock.now(),
        )
        terminals = self._engines.of(ref.engine).terminals
        return _Wish(wanted, record, terminals, mask, mask.text(as_typed(asked.argv)))


def _what(spec: SlotSpec) -> str:
    """What an act is done to."""
    return f"r{spec.release}, image {spec.image}"


def _refuse_words(argv: tuple[str, ...]) -> None:
    """Raises RequestError for a command that no engine takes."""
    problem = ""
    if not argv or not argv[0]:
        problem = "the command is empty"
    elif len(argv) > WORDS or any(len(word.encode(errors="replace")) >= WORD for word in argv):
        problem = "the command is too long"
    elif any("\x00" in word or _has_surrogates(word) for word in argv):
        problem = "the command has a character that no command can have"
    if problem:
        raise RequestError(f"{problem}.", advice="Give it after `--`: `pushlive run hello qa -- ls -l`.")


def _has_surrogates(word: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in word)
