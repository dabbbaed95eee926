"""Accessories: databases, caches and brokers beside the slots of an environment."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from pydantic import ValidationError

from pipeline.config.engines import DOCKER
from pipeline.config.workload.accessory import Accessory
from pipeline.domain.engine_types import SlotRef
from pipeline.domain.environment import SLOTS
from pipeline.domain.volumes import BEFORE_UPGRADE, DATA, VolumeRef
from pipeline.errors import EngineFailed
from pipeline.lib import codec
from pipeline.lib.secret import Secret

PLACES = range(29, 34)  # the last number of an accessory's address in an environment's network


@dataclass(frozen=True)
class AccessoryRef:
    """Names an accessory of an environment to an engine."""

    name: str
    environment: str
    engine: str = DOCKER  # `Where.key`

    @property
    def id(self) -> str:
        return f"{self.name}/{self.environment}"

    @property
    def volume(self) -> VolumeRef:
        """The volume of its `volume` key."""
        return VolumeRef(self.name, self.environment, DATA, "accessory")

    @property
    def before_upgrade(self) -> VolumeRef:
        """The volume with its data from before its last upgrade."""
        return VolumeRef(self.name, self.environment, BEFORE_UPGRADE, "accessory")


@dataclass(frozen=True)
class Attachment:
    """An environment that uses an accessory. ``names``: the host names by which its containers reach it; ``place``: one
    of PLACES."""

    pipeline: str
    index: int
    names: tuple[str, ...]
    place: int


@dataclass(frozen=True)
class Upgrade:
    """What an accessory was before its upgrade, for as long as that can be taken back; its data of then are in
    ``AccessoryRef.before_upgrade``. ``done``: its container was replaced; before, only the data were copied."""

    config: Accessory
    secrets: dict[str, int]
    at: float
    done: bool = False


@dataclass(frozen=True)
class AccessoryRecord:
    """What the store knows about an accessory of an environment. ``config``: what it was made from: a deploy does not
    change it."""

    name: str
    environment: str
    engine: str
    config: Accessory
    made: float
    attached: dict[str, Attachment] = field(default_factory=dict)  # by pipeline
    secrets: dict[str, int] = field(default_factory=dict)  # versions that its container is given
    stopped: str = ""  # who stopped it: it stays so until a person starts it
    upgrade: Upgrade | None = None
    moved_from: str = ""  # the id of the one whose data it has got, while that is still to be removed
    formerly: tuple[str, ...] = ()  # the ids that it had, oldest first: releases from then know it by them

    @property
    def ref(self) -> AccessoryRef:
        return AccessoryRef(self.name, self.environment, self.engine)

    @property
    def id(self) -> str:
        return self.ref.id


@dataclass(frozen=True)
class AccessorySpec:
    """Everything that an engine needs to run an accessory."""

    ref: AccessoryRef
    config: Accessory
    attached: tuple[Attachment, ...] = ()
    secrets: dict[str, int] = field(default_factory=dict)
    reveal: Callable[[], dict[str, Secret]] = field(default=dict, compare=False, repr=False)
    """Returns the values of its secrets, when its container is created."""
    moved_from: str = ""
    """The id of the one whose place it takes, while that is still to be removed."""
    formerly: tuple[str, ...] = ()
    """The ids that it had."""


@dataclass(frozen=True)
class AccessoryMade:
    """What an accessory was made from, as its container remembers it; never a secret's value."""

    config: Accessory
    secrets: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class FoundAccessory:
    """An accessory as its engine knows it, for a store that knows nothing of it. ``spec``: see ``AccessoryState``;
    ``attached``: the networks that it is in; ``env``: the variables of its container, secret values among them;
    ``made``: None for one of an earlier version."""

    ref: AccessoryRef
    spec: str
    attached: tuple[Attachment, ...]
    env: dict[str, Secret] = field(default_factory=dict, compare=False, repr=False)
    made: AccessoryMade | None = None


def remembered(spec: AccessorySpec) -> str:
    """What its container is to remember, as one line of text."""
    return codec.dump(AccessoryMade(spec.config, spec.secrets))


def made_of(text: str | None) -> AccessoryMade | None:
    """What a container remembers; None for one of an earlier version, or a later one with another form."""
    try:
        return codec.load(AccessoryMade, text) if text else None
    except ValidationError:
        return None


@dataclass(frozen=True)
class AccessoryState:
    """What an engine says of an accessory.

    state: created · starting · running · exited · missing; ``spec``: a hash of what it was made from; ``restarts``: how
    often the engine has started it again by itself; ``image``: what its container really has, "" if that is not known.
    """

    container: str
    state: str
    spec: str = ""
    exit_code: int | None = None
    out_of_memory: bool = False
    restarts: int = 0
    image: str = ""


def slot_ref_of(record_or_spec: AccessoryRecord | AccessorySpec, attachment: Attachment) -> SlotRef:
    """A slot of the environment that uses it."""
    ref = record_or_spec.ref
    return SlotRef(attachment.pipeline, ref.environment, attachment.index, SLOTS[0], ref.engine)


def attached(
    record: AccessoryRecord,
    pipeline: str,
    index: int,
    names: Iterable[str],
    others: Iterable[AccessoryRecord],
) -> AccessoryRecord:
    """The record with that pipeline's environment attached under these names, without those by which a release there
    still reaches another accessory. ``others``: the accessories of the same environment. Raises EngineFailed if the
    environment's network has no place left."""
    now = record.attached.get(pipeline)
    beside = [one.attached[pipeline] for one in others if pipeline in one.attached and one.id != record.id]
    taken = {one.place for one in beside}
    kept = set(now.names if now else ())
    names = tuple(sorted(set(names) - ({name for one in beside for name in one.names} - kept)))
    place = now.place if now else next((one for one in PLACES if one not in taken), 0)
    if not place:
        raise EngineFailed(
            f"{pipeline}/{record.environment} is attached to {len(PLACES)} accessories already, the most that its "
            f"network has addresses for, and cannot use {record.name} as well.",
            advice="Remove one from `uses`, deploy, and wait until no release in one of its slots uses it: until it is "
            "no longer warm.",
        )
    wanted = Attachment(pipeline, index, names, place)
    return record if now == wanted else replace(record, attached={**record.attached, pipeline: wanted})


def spec_of(record: AccessoryRecord, reveal: Callable[[], dict[str, Secret]]) -> AccessorySpec:
    attached = tuple(record.attached.values())
    return AccessorySpec(
        record.ref, record.config, attached, record.secrets, reveal, record.moved_from, record.formerly
    )
