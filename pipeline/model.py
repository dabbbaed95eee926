"""The nouns: frozen, plain data. Behaviour lives in functions elsewhere.

Times are seconds since the epoch (float, wall clock, for people); durations are seconds measured on the
monotonic clock. Everything here is stored as JSON through ``pipeline.lib.codec``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from pipeline.config.models import Rendered
from pipeline.lib.secret import Secret

DOCKER = "docker"  # the machine's own Engine, as a key of engines
Slot = str  # "blue" or "green"
SLOTS: tuple[Slot, Slot] = ("blue", "green")


def other(slot: Slot) -> Slot:
    return "green" if slot == "blue" else "blue"


@dataclass(frozen=True)
class Push:
    """One accepted push event, whatever brought it."""

    pipeline: str
    repository: str
    ref: str
    commit: str  # 40 (or 64) hex digits
    delivery: str  # unique per event: "github:<uuid>", "git:<random>"; the same one twice makes one run
    pusher: str = ""
    message: str = ""  # the commit's first line
    before: str = ""
    forced: bool = False
    received: float = 0.0


class Kind(StrEnum):
    PUSH = "push"
    DEPLOY = "deploy"  # asked for by hand: a commit again, or a changed configuration with the same image
    REVERT = "revert"


class State(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    WAITING = "waiting"  # at a gate or a hold, for a person
    ENDED = "ended"


class Outcome(StrEnum):
    LIVE = "live"
    FAILED = "failed"
    SUPERSEDED = "superseded"
    CANCELLED = "cancelled"
    IGNORED = "ignored"


@dataclass(frozen=True)
class StepResult:
    """One step of one stage, as it is shown in the timing table."""

    stage: str
    step: str
    started: float
    seconds: float
    ok: bool = True
    detail: str = ""
    data: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Check:
    """One smoke check's result: what was asked, what came back, how long it took (seconds)."""

    asked: str
    ok: bool
    answer: str
    seconds: float
    attempts: int = 1


@dataclass(frozen=True)
class Failure:
    """The card a failed run prints."""

    stage: str
    step: str
    whose: str  # "application", "engine", "configuration"
    message: str
    advice: str = ""
    evidence: tuple[str, ...] = ()
    differs: tuple[str, ...] = ()  # what differs from the last good release


@dataclass(frozen=True)
class Ending:
    """How a run is to end, written together with what its environment's record says of it: whoever takes the run up
    after a crash has only this left to do."""

    outcome: Outcome
    reason: str
    failure: Failure | None = None


@dataclass(frozen=True)
class Run:
    """One push's way through a pipeline."""

    pipeline: str
    number: int
    kind: Kind
    commit: str
    ref: str
    config: str  # hash of the configuration text that this run obeys
    stages: tuple[str, ...]  # ("build", "dev", "qa", "live"), or (environment,) for a revert
    accepted: float
    pusher: str = ""
    message: str = ""
    delivery: str = ""
    repository: str = ""
    state: State = State.QUEUED
    outcome: Outcome | None = None
    reason: str = ""
    release: int | None = None
    stage: str = ""  # where it is now, "" before the first
    steps: tuple[StepResult, ...] = ()
    checks: dict[str, tuple[Check, ...]] = field(default_factory=dict)  # by stage
    promoted: tuple[str, ...] = ()  # environments that a person let it into
    gate: str = ""  # the environment it waits before, when state is waiting
    gate_since: float = 0.0
    human: float = 0.0  # seconds spent waiting for a person, taken out of the budget
    queued: float = 0.0  # seconds spent waiting for another run's environment, taken out as well
    parked: float = 0.0  # since when it waits so, 0 while it does not
    started: float = 0.0
    image_ready: float = 0.0  # the budget's start
    ended: float = 0.0
    attempts: int = 0  # how many workers have taken it up
    cancel: str = ""  # why it is to stop, once somebody asked
    rebuild: bool = False
    from_release: int | None = None  # take that release's image instead of building one
    by: str = ""  # who asked, for a deploy or a revert
    failure: Failure | None = None
    ending: Ending | None = None  # decided, not yet told

    @property
    def id(self) -> str:
        return f"{self.pipeline}#{self.number}"

    @property
    def short(self) -> str:
        return self.commit[:7]


@dataclass(frozen=True)
class Release:
    """An immutable snapshot that can be put live again."""

    pipeline: str
    number: int
    commit: str
    image: str  # the image's digest, "sha256:…": what travels
    tag: str  # "hello:r17"
    run: int
    created: float
    environments: dict[str, Rendered]
    message: str = ""
    secrets: dict[str, dict[str, int]] = field(
        default_factory=dict
    )  # version numbers by environment and name
    remote: str = ""  # where the image lies in the registry: "HOST/NAME@sha256:…", "" where there is none

    @property
    def name(self) -> str:
        return f"r{self.number}"

    def fingerprint(self, environment: str) -> str:
        """Equal for what runs alike there: the same configuration, with the same versions of its secrets."""
        plain, versions = self.environments[environment].fingerprint(), self.secrets.get(environment)
        if not versions:
            return plain
        text = json.dumps([plain, versions], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


class SlotState(StrEnum):
    STARTING = "starting"
    SERVING = "serving"
    WARM = "warm"
    FAILED = "failed"  # kept for inspection until `until`


@dataclass(frozen=True)
class SlotRecord:
    """What the store knows about one slot; an empty slot has no record."""

    release: int
    run: int
    state: SlotState
    since: float
    until: float = 0.0  # when a warm or failed slot is to be cleared
    secrets: dict[str, int] = field(default_factory=dict)  # the versions that its containers were given


@dataclass(frozen=True)
class Hold:
    reason: str
    by: str
    since: float


@dataclass(frozen=True)
class Quarantined:
    image: str
    fingerprint: str  # of that environment's rendered configuration and its secrets' versions
    release: int
    reason: str
    since: float


@dataclass(frozen=True)
class Environment:
    """One environment of one pipeline: the store's word is the truth about which slot serves."""

    pipeline: str
    name: str
    index: int  # deals the loopback port, the subnet and the proxy's backends
    engine: str = DOCKER  # what it runs on; it changes only while nothing is there
    active: Slot | None = None
    slots: dict[Slot, SlotRecord] = field(default_factory=dict)
    switching: Slot | None = None  # intent, written before the switch
    hold: Hold | None = None
    quarantine: tuple[Quarantined, ...] = ()
    good: tuple[int, ...] = ()  # releases that were verified here, oldest first
    pairs: dict[int, tuple[str, str]] = field(default_factory=dict)  # of the good ones: image, fingerprint
    newest_run: int = 0  # the newest push or deploy run that came to serve here: nothing older follows it
    interrupt: int = 0  # a revert's run number: whoever else works here gives up

    @property
    def id(self) -> str:
        return f"{self.pipeline}/{self.name}"

    @property
    def serving(self) -> int | None:
        """The number of the release that takes the traffic, or None."""
        record = self.slots.get(self.active) if self.active else None
        return record.release if record else None


@dataclass(frozen=True)
class Event:
    """Something that happened in a run, as it is shown to whoever follows it.

    kind: accepted · stage · step · vertex · line · check · note · warning · gate · end
    """

    kind: str
    at: float
    text: str = ""
    stage: str = ""
    step: str = ""
    data: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Place:
    """A slot of an environment, as the engine is told."""

    pipeline: str
    environment: str
    index: int
    slot: Slot
    engine: str = DOCKER  # `Where.key` of what it runs on


@dataclass(frozen=True)
class Login:
    """Who logs in to a registry."""

    username: str
    password: Secret
    name: str = ""  # of the secret it is from, as `pushlive secret set` takes it: "hello REGISTRY_PASSWORD"


def nobody() -> Login | None:
    """The login where there is none."""
    return None


@dataclass(frozen=True)
class SlotSpec:
    """All that an engine needs to put a release into a slot."""

    place: Place
    release: int
    run: int
    commit: str
    image: str
    config: Rendered
    secrets: dict[str, int] = field(
        default_factory=dict
    )  # versions by name: a part of what the containers are
    reveal: Callable[[], dict[str, Secret]] = field(default=dict, compare=False, repr=False)
    """The values, for whoever makes a container; raises what ``Vault.reveal`` does."""
    remote: str = ""  # the image by digest in a registry, "" where it is on the build machine alone
    login: Callable[[], Login | None] = field(default=nobody, compare=False, repr=False)
    """To the registry of ``remote``, for whoever takes the image from there; raises what ``Vault.login`` does."""


@dataclass(frozen=True)
class Replica:
    """One container (or pod) as the engine has it.

    state: created · starting · running · exited · missing
    """

    name: str
    address: str
    port: int
    release: int
    state: str
    exit_code: int | None = None
    out_of_memory: bool = False
    engine: str = DOCKER  # whose probe knows the way there
    reach: str = ""  # where that probe asks, if it is not the address


@dataclass(frozen=True)
class Route:
    """Where a check asks. ``expect`` holds the server names of which one must have answered."""

    url: str  # "http://127.0.0.1:20003", no trailing slash
    headers: dict[str, str] = field(default_factory=dict)
    expect: tuple[str, ...] = ()
    engine: str = DOCKER  # whose probe knows the way
    service: str = ""  # on a cluster, "namespace/name": whose pods answer there


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]  # names in lower case
    body: bytes
    seconds: float
    served_by: str = ""  # the server the proxy named, "" where it named none


@dataclass(frozen=True)
class CommandResult:
    exit_code: int
    output: str
    seconds: float


@dataclass(frozen=True)
class Image:
    digest: str
    reused: bool
    steps: int = 0
    cached: int = 0
