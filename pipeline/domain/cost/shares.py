"""How the time of machines is divided among those who took something of them, hour by hour. Pure.

Cores and memory are weighed in the proportion of OpenCost's default prices: a core is worth RATIO GiB. Of both, each
account pays for what it took, as OpenCost's specification says: the larger of what is reserved and what is used. What
nothing took is idle. If more was reserved than there is, each pays in proportion.

A share is a time of a machine, so prices come later, and shares of several hours may be added.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pipeline.config.engines import machines_of
from pipeline.domain.cost.ledger import GIB, HOUR, Account, Amount, Hour, account

RATIO = 0.031611 / 0.004237  # OpenCost's default prices of a core and of a GiB, each by the hour
DAY = 24 * HOUR
IDLE, UNSEEN = "idle", "not measured"


@dataclass(frozen=True)
class Share:
    """``amount``: what an account took; ``machines``: for how many seconds it pays for a whole machine, by the labels
    of a cluster's nodes, "" for a machine with a Docker Engine; ``used``: of STORAGE and TRAFFIC, as in ``Hour``."""

    amount: Amount = field(default_factory=Amount)
    machines: dict[str, float] = field(default_factory=dict)
    used: float = 0.0

    def rounded(self) -> Share:
        machines = {key: round(one, 3) for key, one in self.machines.items()}
        return Share(self.amount.rounded(), machines, round(self.used, 6))

    def __add__(self, other: Share) -> Share:
        groups = dict(self.machines)
        for group, seconds in other.machines.items():
            groups[group] = groups.get(group, 0.0) + seconds
        return Share(self.amount + other.amount, groups, self.used + other.used)


@dataclass(frozen=True)
class Divided:
    """A stretch of time that begins ``at``, in seconds since the epoch; of a day its noon, which is on the same date in
    most zones. ``seconds``: for how long machines were
    measured, by ``engines.machines_of``; ``shares``: by account; IDLE and those of several namespaces of a cluster are
    of its machines."""

    at: float
    seconds: dict[str, float]
    shares: dict[Account, Share]


@dataclass(frozen=True)
class Day:
    """The hours of a day as one. ``number``: days since the epoch, in UTC; the rest as in ``Divided``, by the account
    as text."""

    number: int
    seconds: dict[str, float] = field(default_factory=dict)
    shares: dict[str, Share] = field(default_factory=dict)


def folded(number: int, hours: Iterable[Hour]) -> Day:
    """What each account pays stays as it is, whatever the prices are."""
    seconds, found = defaultdict[str, float](float), dict[str, Share]()
    for hour in hours:
        piece = divided(hour)
        for key, measured in piece.seconds.items():
            seconds[key] += measured
        for one, share in piece.shares.items():
            found[str(one)] = found.get(str(one), Share()) + share
    rounded = {key: share.rounded() for key, share in sorted(found.items())}
    return Day(number, {key: round(one, 3) for key, one in seconds.items()}, rounded)


def amounts(piece: Hour | Day) -> dict[str, Amount]:
    """What each account took, by its text."""
    if isinstance(piece, Hour):
        return piece.amounts
    return {text: share.amount for text, share in piece.shares.items()}


def worth(amount: Amount) -> float:
    """In GiB-seconds."""
    return amount.cores * RATIO + amount.memory


def divided(piece: Hour | Day) -> Divided:
    """All of it."""
    if isinstance(piece, Hour):
        return _of_hour(piece)
    shares = {account(text): share for text, share in piece.shares.items()}
    return Divided((piece.number + 0.5) * DAY, piece.seconds, shares)


def _of_hour(hour: Hour) -> Divided:
    """All machines of an hour. Engines that are namespaces of one cluster have the same nodes, which count once."""
    own = defaultdict[str, dict[Account, Amount]](dict)
    for text, amount in hour.amounts.items():
        one = account(text)
        own[machines_of(one.engine)][one] = amount
    longest = dict[str, str]()  # the engine that was measured for the longest time
    for engine, measured in hour.seconds.items():
        key = machines_of(engine)
        if key not in longest or measured > hour.seconds[longest[key]]:
            longest[key] = engine
    found = dict[Account, Share]()
    for key, engine in longest.items():
        found |= _shares(own[key], _machines(hour, engine), Account(key, "", "", IDLE))
    found |= {account(text): Share(used=used) for text, used in hour.used.items()}
    seconds = {key: hour.seconds[engine] for key, engine in longest.items()}
    return Divided(hour.number * HOUR, seconds, found)


def _machines(hour: Hour, engine: str) -> Mapping[str, Amount]:
    """What there was, by the labels of nodes. ``Amount.count``: machine-seconds."""
    if nodes := hour.nodes.get(engine):
        return nodes
    size, seconds = hour.sizes[engine], hour.seconds[engine]
    return {"": Amount(size.cores * seconds, size.memory / GIB * seconds, seconds)}


def _shares(
    taken: Mapping[Account, Amount], machines: Mapping[str, Amount], idle: Account
) -> dict[Account, Share]:
    there = sum(machines.values(), Amount())
    used = sum(taken.values(), Amount())
    rest = Amount(max(0.0, there.cores - used.cores), max(0.0, there.memory - used.memory))
    amounts = {**taken, idle: rest}
    parts = {key: worth(one) for key, one in amounts.items()}
    whole = sum(parts.values())
    return {
        key: Share(
            amount,
            {group: one.count * parts[key] / whole if whole else 0.0 for group, one in machines.items()},
        )
        for key, amount in amounts.items()
    }
