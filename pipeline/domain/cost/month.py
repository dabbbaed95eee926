"""What a month has cost so far, day by day, and will: shares of machines with prices. Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from pipeline.config.cost.prices import Costs
from pipeline.config.engines import kind_of, machines_of
from pipeline.domain.cost import shares
from pipeline.domain.cost.ledger import LONGEST, STORAGE, TRAFFIC, Account, Amount, Hour
from pipeline.domain.cost.shares import IDLE, UNSEEN, Day, Divided, Share
from pipeline.domain.cost.taken import labels_of
from pipeline.domain.measuring.monthly.calendar import Month

__all__ = ["IDLE", "UNSEEN", "WINDOW", "Line", "Spent", "spent", "to_come"]

MOMENT = 1.0  # seconds, below which nothing is missing: hours are kept in thousandths
WINDOW = 7 * 86400.0  # seconds
Piece = Hour | Day
Began = Callable[[str], float]
"""When the machines with that key were measured first, from which they cost, in seconds since the epoch."""


@dataclass(frozen=True)
class Line:
    """What an account cost in a time. ``cost``: in the currency of the prices; ``amount``: what it took; ``machines``:
    for how many seconds it pays for a whole machine; ``used``: GiB-seconds of storage, GiB of traffic."""

    account: Account
    cost: float
    amount: Amount
    machines: float = 0.0
    used: float = 0.0


@dataclass(frozen=True)
class Spent:
    """A month. ``lines``: sorted; of each priced machine also what was idle, and the time that was not measured;
    ``days``: the same for each day that has any, by the time of its beginning; their sums are those of the month.
    ``total``: of all lines. ``unpriced``: machines that were measured and have no price, with the labels of a cluster's
    nodes; ``unseen``: seconds in which clusters were not measured: how many nodes they had then is not known, so it
    is in no sum."""

    lines: tuple[Line, ...]
    days: dict[float, tuple[Line, ...]]
    total: float
    unpriced: tuple[tuple[str, str], ...]
    unseen: dict[str, float]


def spent(pieces: Iterable[Piece], costs: Costs, month: Month, now: float, began: Began) -> Spent:
    """``now``: within the month, or after it. What has passed since the last look is in no line while the next one may
    still tell of it."""
    known, last = list[Divided](), dict[str, float]()
    for piece in pieces:
        known.append(shares.divided(piece))
        if isinstance(piece, Hour):
            _note_looks(last, piece)
    days = {since: list[Divided]() for since in month.days[:-1]}
    for one in known:
        days[_beginning(month, one.at)].append(one)
    every = {since: _together(of) for since, of in days.items()}
    prices, unseen = _Prices(costs, month), dict[str, float]()
    found = {since: list[Line]() for since in days}
    for key in prices.keys:
        looked = last.get(key, 0.0)
        end = looked if 0 <= now - looked <= LONGEST else now
        time = _Time(
            {since: _overlap(since, until, began(key), end) for since, until in pairwise(month.days)},
            {since: seconds.get(key, 0.0) for since, (_, seconds) in every.items()},
        )
        for since, (of, _) in every.items():
            found[since] += _measured(of.get(key, {}), prices, time.part)
        if _cluster(key):
            unseen[key] = sum(time.unseen.values())
            continue
        for since, seconds in time.unseen.items():
            line = Line(Account(key, "", "", UNSEEN), prices.rate(key, "") * seconds, Amount(), seconds)
            found[since].append(line)
    by_day = {
        since: tuple(sorted(lines, key=lambda one: one.account)) for since, lines in found.items() if lines
    }
    lines = _added(line for day in by_day.values() for line in day)
    return Spent(lines, by_day, sum(one.cost for one in lines), _unpriced(known, costs), unseen)


def to_come(pieces: Iterable[Piece], costs: Costs, month: Month, now: float) -> dict[Account, float]:
    """What each account will cost from ``now`` to the end of the month, if it goes on taking what it took in
    ``pieces``, which are those of the last WINDOW: whole weeks, since weekends differ from weekdays. Of a machine that
    was not measured in them, the whole of it is not measured; of a cluster, nothing is known."""
    left = max(0.0, month.until - max(now, month.since))
    prices, found = _Prices(costs, month), dict[Account, float]()
    every, seconds = _together(shares.divided(one) for one in pieces)
    for key in prices.keys:
        if seconds.get(key):
            for account, share in every[key].items():
                cost = prices.cost(account, share) * left / seconds[key]
                if cost or account.purpose not in (STORAGE, TRAFFIC):
                    found[account] = cost
        elif not _cluster(key):
            found[Account(key, "", "", UNSEEN)] = prices.rate(key, "") * left
    return found


def monthly(hour: Hour | None, costs: Costs) -> float:
    """What all machines cost in a whole month, with the nodes that clusters had at the last look."""
    found = sum(one.monthly for one in costs.machines.values() if one.kubernetes is None)
    seen = set[str]()
    for engine, size in (hour.sizes if hour else {}).items():
        key = machines_of(engine)
        if not _cluster(key) or key in seen:
            continue
        seen.add(key)
        for group, nodes in size.nodes.items():
            machine = costs.machine_of(key, labels_of(group))
            found += nodes.count * machine[1].monthly if machine else 0.0
    return found


class _Prices:
    """By the second of a month."""

    def __init__(self, costs: Costs, month: Month) -> None:
        self._costs, self._length = costs, month.until - month.since
        self.keys = sorted({one.engine for one in costs.machines.values()})
        self._rates = dict[tuple[str, str], float]()

    def rate(self, key: str, group: str) -> float:
        """0 for nodes without a price."""
        if (key, group) not in self._rates:
            machine = self._costs.machine_of(key, labels_of(group))
            self._rates[key, group] = machine[1].monthly / self._length if machine else 0.0
        return self._rates[key, group]

    def cost(self, account: Account, share: Share) -> float:
        key = machines_of(account.engine)
        if account.purpose in (STORAGE, TRAFFIC):
            stored, sent = self._costs.per_use(key)
            return share.used * (stored / self._length if account.purpose == STORAGE else sent)
        return sum(self.rate(key, group) * seconds for group, seconds in share.machines.items())


class _Time:
    """Of one machine, by day: ``passed``, for how long it cost something, and ``measured``. They are compared by the
    month, as a day that was folded is one in UTC, and begins and ends within days of another zone."""

    def __init__(self, passed: Mapping[float, float], measured: Mapping[float, float]) -> None:
        whole, seen = sum(passed.values()), sum(measured.values())
        # A clock that was set back measures a time twice: the machine has cost it once.
        self.part = min(1.0, whole / seen) if seen else 0.0
        missed = whole - seen
        short = {day: max(0.0, passed[day] - measured[day]) for day in passed}
        every = sum(short.values())
        self.unseen = {day: missed * one / every for day, one in short.items() if one and missed > MOMENT}


def _overlap(since: float, until: float, began: float, end: float) -> float:
    return max(0.0, min(end, until) - max(began, since))


def _measured(of: Mapping[Account, Share], prices: _Prices, part: float) -> Iterator[Line]:
    for one, share in of.items():
        counts = 1.0 if one.purpose == TRAFFIC else part  # what was sent was sent, whatever the clock said
        cost = prices.cost(one, share) * counts
        if cost or one.purpose not in (STORAGE, TRAFFIC):
            yield Line(one, cost, share.amount, sum(share.machines.values()) * counts, share.used * counts)


def _together(pieces: Iterable[Divided]) -> tuple[dict[str, dict[Account, Share]], dict[str, float]]:
    """The shares and the measured seconds of several stretches of time, by their machines."""
    found, seconds = defaultdict[str, dict[Account, Share]](dict), defaultdict[str, float](float)
    for piece in pieces:
        for key, measured in piece.seconds.items():
            seconds[key] += measured
        for account, share in piece.shares.items():
            own = found[machines_of(account.engine)]
            own[account] = own[account] + share if account in own else share
    return found, seconds


def _note_looks(last: dict[str, float], hour: Hour) -> None:
    for engine, at in hour.looked.items():
        key = machines_of(engine)
        last[key] = max(at, last.get(key, 0.0))


def _beginning(month: Month, at: float) -> float:
    """Of the day of the month at that time; what begins before the month is of its first day."""
    return month.days[max(0, bisect_right(month.days, at) - 1)]


def _added(lines: Iterable[Line]) -> tuple[Line, ...]:
    found = dict[Account, Line]()
    for one in lines:
        before = found.get(one.account, Line(one.account, 0.0, Amount()))
        found[one.account] = Line(
            one.account,
            before.cost + one.cost,
            before.amount + one.amount,
            before.machines + one.machines,
            before.used + one.used,
        )
    return tuple(sorted(found.values(), key=lambda one: one.account))


def _unpriced(pieces: Iterable[Divided], costs: Costs) -> tuple[tuple[str, str], ...]:
    found = {
        (account.engine, group)
        for piece in pieces
        for account, share in piece.shares.items()
        if account.purpose == IDLE and not account.pipeline
        for group in share.machines
    }
    return tuple(sorted(one for one in found if costs.machine_of(one[0], labels_of(one[1])) is None))


@lru_cache(maxsize=1024)
def _cluster(key: str) -> bool:
    return kind_of(key).machines
