"""How much of a machine everything took, hour by hour: what a month's cost is made from. Pure.

Each look adds what was taken since the look before it. Time without looks is in no hour: it is not known
what ran then.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache

from pipeline.domain.cost.taken import Size, Taken
from pipeline.domain.environment import Environment, SlotState

HOUR = 3600.0
LONGEST = 300.0  # seconds between two looks, beyond which it is not known what ran in between
GIB = float(2**30)

STORAGE, TRAFFIC = "storage", "traffic"
SERVING, WARM, DEPLOYING, COMMAND, SYSTEM, BUILD = (
    "serving",
    "warm",
    "deploying",
    "command",
    "system",
    "build",
)
ASLEEP = "asleep"  # an environment's: nothing runs, so it takes nothing; its time alone is counted


Place = tuple[str, str]
"""A pipeline, or an accessory, and its environment."""


@dataclass(frozen=True, order=True)
class Account:
    """Who took something, and for what. ``engine``: a ``Where.key``; ``process``: "" for the web one."""

    engine: str
    pipeline: str
    environment: str
    purpose: str
    process: str = ""

    def __str__(self) -> str:
        return "|".join((self.engine, self.pipeline, self.environment, self.purpose, self.process))


@lru_cache(maxsize=16384)
def account(text: str) -> Account:
    """What ``str`` wrote. Raises ValueError for any other text."""
    engine, pipeline, environment, purpose, process = text.rsplit("|", 4)
    return Account(engine, pipeline, environment, purpose, process)


@dataclass(frozen=True)
class Amount:
    """``cores``: core-seconds; ``memory``: GiB-seconds; ``count``: container-seconds."""

    cores: float = 0.0
    memory: float = 0.0
    count: float = 0.0

    def __add__(self, other: Amount) -> Amount:
        return Amount(self.cores + other.cores, self.memory + other.memory, self.count + other.count)

    def rounded(self) -> Amount:
        """To thousandths: what is kept for long."""
        return Amount(round(self.cores, 3), round(self.memory, 3), round(self.count, 3))

    def __sub__(self, other: Amount) -> Amount:
        return Amount(self.cores - other.cores, self.memory - other.memory, self.count - other.count)


@dataclass(frozen=True)
class Hour:
    """``number``: hours since the epoch. ``seconds``: of each engine, how many of it were measured; ``sizes``: its
    machine's, at the last look; ``nodes``: of each cluster, what its nodes had in that time, by their labels
    (``Amount.count``: node-seconds); ``amounts``: by account, as text; ``used``: by account, GiB-seconds of STORAGE and
    GiB of TRAFFIC; ``unsized``: clusters that do not tell which nodes they have; ``looked``: when each engine was
    looked at last, in seconds since the epoch; ``spent``: of each engine, the processor seconds of each container by
    then; ``sent``: the same of bytes that each slot has sent. The last three are those of the newest hour alone."""

    number: int
    seconds: dict[str, float] = field(default_factory=dict)
    sizes: dict[str, Size] = field(default_factory=dict)
    amounts: dict[str, Amount] = field(default_factory=dict)
    nodes: dict[str, dict[str, Amount]] = field(default_factory=dict)
    unsized: tuple[str, ...] = ()
    used: dict[str, float] = field(default_factory=dict)
    sent: dict[str, dict[str, int]] = field(default_factory=dict)
    looked: dict[str, float] = field(default_factory=dict)
    spent: dict[str, dict[str, float]] = field(default_factory=dict)


def hour_of(at: float) -> int:
    return int(at // HOUR)


def next_hour(hour: Hour, number: int) -> Hour:
    """An empty one that goes on from it."""
    return Hour(number, looked=dict(hour.looked), spent=dict(hour.spent), sent=dict(hour.sent))


def closed(hour: Hour) -> Hour:
    """As it is kept once there is a newer one."""
    return replace(
        hour,
        looked={},
        spent={},
        sent={},
        used={key: round(one, 6) for key, one in hour.used.items()},
        amounts={key: one.rounded() for key, one in hour.amounts.items()},
        nodes={key: {group: one.rounded() for group, one in of.items()} for key, of in hour.nodes.items()},
    )


def looked(hour: Hour, engine: str, size: Size, found: Iterable[tuple[Taken, str]], now: float) -> Hour:
    """The hour after one look at an engine. ``found``: each container with its purpose. What ran between two looks is
    what runs at the second one; a clock that was set back, or forward by more than a few minutes, counts as a time
    without looks."""
    taken = tuple(found)
    passed = since_last(hour, engine, now)
    spent = {one.name: one.spent for one, _ in taken if one.spent is not None}
    last = hour.spent.get(engine, {})
    new = replace(
        hour,
        looked=hour.looked | {engine: now},
        spent=hour.spent | {engine: spent},
        sizes=hour.sizes | {engine: size},
    )
    if not passed:
        return new
    amounts = dict(new.amounts)
    for one, purpose in taken:
        key = str(Account(engine, one.pipeline, one.environment, purpose, one.process))
        cores = max(one.reserved_cores, _cores(one, last, passed))
        memory = max(one.reserved_memory, one.memory) / GIB
        amounts[key] = amounts.get(key, Amount()) + Amount(cores * passed, memory * passed, passed)
    seconds = new.seconds | {engine: new.seconds.get(engine, 0.0) + passed}
    nodes = new.nodes | {engine: _nodes(new.nodes.get(engine, {}), size, passed)} if size.nodes else new.nodes
    return replace(new, amounts=amounts, seconds=seconds, nodes=nodes)


def with_storage(hour: Hour, engine: str, stored: Mapping[Place, int], passed: float) -> Hour:
    """``stored``: bytes, which were there for so many seconds."""
    used = dict(hour.used)
    for (pipeline, environment), size in stored.items():
        key = str(Account(engine, pipeline, environment, STORAGE))
        used[key] = used.get(key, 0.0) + size / GIB * passed
    return replace(hour, used=used)


def with_traffic(hour: Hour, engine: str, sent: Mapping[tuple[str, str, str], int]) -> Hour:
    """``sent``: bytes of each pipeline, environment and slot, since its proxy started. What was sent before the first
    look, and between the last look and the end of a proxy, is in no hour; a gap between looks does not matter."""
    used, last = dict(hour.used), hour.sent.get(engine, {})
    now = dict(last)
    for (pipeline, environment, slot), size in sent.items():
        name = f"{pipeline}/{environment}/{slot}"
        before = last.get(name)
        now[name] = size
        more = 0 if before is None else size - before if size >= before else size
        if more:
            key = str(Account(engine, pipeline, environment, TRAFFIC))
            used[key] = used.get(key, 0.0) + more / GIB
    return replace(hour, used=used, sent=hour.sent | {engine: now})


def without_size(hour: Hour, engine: str) -> Hour:
    """The hour after a look at a cluster that does not tell which nodes it has."""
    return replace(hour, unsized=tuple(sorted({*hour.unsized, engine})))


def _nodes(before: Mapping[str, Amount], size: Size, passed: float) -> dict[str, Amount]:
    found = dict(before)
    for group, one in size.nodes.items():
        more = Amount(one.cores * passed, one.memory / GIB * passed, one.count * passed)
        found[group] = found.get(group, Amount()) + more
    return found


def since_last(hour: Hour, engine: str, now: float) -> float:
    """Seconds since the last look at an engine; 0 if it is not known what ran meanwhile."""
    before = hour.looked.get(engine)
    passed = now - before if before is not None else 0.0
    return passed if 0 < passed <= LONGEST else 0.0


def used(hour: Hour, engine: str, taken: Iterable[Taken], now: float) -> dict[str, float]:
    """The cores that each container used on average since the last look, by its name; nothing if ``since_last`` is
    0."""
    passed, last = since_last(hour, engine, now), hour.spent.get(engine, {})
    return {one.name: _cores(one, last, passed) for one in taken} if passed else {}


def _cores(one: Taken, last: Mapping[str, float], passed: float) -> float:
    """A container that was not there at the look before has started since; one with less than before has started
    again. Builds were there before."""
    if one.cores is not None:
        return one.cores
    if one.spent is None:
        return 0.0
    before = last.get(one.name, one.spent if one.role == "build" else 0.0)
    return (one.spent - before if one.spent >= before else one.spent) / passed


def cores_of(hours: Iterable[Hour]) -> dict[str, float]:
    """What the machine of each engine has, as the newest of these hours knows it."""
    found = dict[str, float]()
    for hour in hours:
        found |= {engine: size.cores for engine, size in hour.sizes.items()}
    return found


def purpose_of(one: Taken, environments: Mapping[tuple[str, str], Environment]) -> str:
    """What a container is there for. Of a slot that neither serves nor is warm, a release is being deployed, or its
    failed containers are kept for a while."""
    if one.role == "system":
        return SYSTEM
    if one.role == "build":
        return BUILD
    if one.role == "command":
        return COMMAND
    if one.role == "accessory":
        return SERVING
    environment = environments.get((one.pipeline, one.environment))
    if environment is None:
        return DEPLOYING
    if one.slot == environment.active:
        return SERVING
    record = environment.slots.get(one.slot)
    return WARM if record and record.state == SlotState.WARM else DEPLOYING


def sleeping(environments: Iterable[Environment], engine: str) -> tuple[tuple[Taken, str], ...]:
    """What stands for each environment on that engine that sleeps, with its purpose."""
    return tuple(
        (Taken(f"asleep {one.id}", "web", 0, one.pipeline, one.name, cores=0.0), ASLEEP)
        for one in environments
        if one.engine == engine and one.asleep and not one.asleep.waking
    )
