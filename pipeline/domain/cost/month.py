"""What a month has cost so far, and will: hours with prices. Pure.

One bill for a machine does not say what its cores and its memory are worth. They are weighed in the proportion of
OpenCost's default prices: a core is worth RATIO GiB. Of both, each account pays for what it took, as OpenCost's
specification says: the larger of what is reserved and what is used. What nothing took is idle.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pipeline.domain.cost.ledger import GIB, LONGEST, Account, Amount, Hour, account
from pipeline.domain.cost.taken import Size
from pipeline.domain.measuring.monthly.calendar import Month

RATIO = 0.031611 / 0.004237  # OpenCost's default prices of a core and of a GiB, each by the hour
IDLE, UNSEEN = "idle", "not measured"
WINDOW = 7 * 86400.0  # seconds


@dataclass(frozen=True)
class Line:
    """What an account cost in a time. ``cost``: in the currency of the prices; ``amount``: what it took."""

    account: Account
    cost: float
    amount: Amount


@dataclass(frozen=True)
class Spent:
    """A month. ``lines``: sorted; of each priced engine also what was idle, and the time that was not measured.
    ``total``: of all lines; ``whole``: of all machines in the whole month, as far as their prices are known.
    ``unpriced``: engines that were measured and have no price."""

    lines: tuple[Line, ...]
    total: float
    whole: float
    unpriced: tuple[str, ...]


def spent(
    hours: Iterable[Hour], prices: Mapping[str, float], month: Month, now: float, since: float
) -> Spent:
    """``prices``: of each engine's machine, for the whole month; ``since``: when measuring began, from which a machine
    costs; ``now``: within the month, or after it. What has passed since the last look is in no line while the next one
    may still tell of it."""
    known = tuple(hours)
    amounts, seconds, unpriced = _by_engine(known, prices)
    length = month.until - month.since
    lines = list[Line]()
    for engine, price in sorted(prices.items()):
        rate = price / length
        last = max((one.looked.get(engine, 0.0) for one in known), default=0.0)
        until = last if 0 <= now - last <= LONGEST else now
        passed = max(0.0, min(until, month.until) - max(since, month.since))
        seen = min(seconds.get(engine, 0.0), passed)
        lines += _divided(amounts.get(engine, {}), rate * seen)
        if passed > seen:
            lines.append(Line(Account(engine, "", "", UNSEEN), rate * (passed - seen), Amount()))
    found = tuple(sorted(lines, key=lambda one: one.account))
    return Spent(found, sum(one.cost for one in found), sum(prices.values()), tuple(sorted(unpriced)))


def to_come(
    hours: Iterable[Hour], prices: Mapping[str, float], month: Month, now: float
) -> dict[Account, float]:
    """What each account will cost from ``now`` to the end of the month, if it goes on taking what it took in ``hours``,
    which are those of the last WINDOW: whole weeks, since weekends differ from weekdays. Of an engine that was not
    measured in them, the whole machine is not measured."""
    left = max(0.0, month.until - max(now, month.since)) / (month.until - month.since)
    amounts, _, _ = _by_engine(hours, prices)
    found = dict[Account, float]()
    for engine, price in prices.items():
        of = amounts.get(engine) or {Account(engine, "", "", UNSEEN): Amount(1.0)}
        found |= {one.account: one.cost for one in _divided(of, price * left)}
    return found


def _by_engine(
    hours: Iterable[Hour], prices: Mapping[str, float]
) -> tuple[dict[str, dict[Account, Amount]], dict[str, float], set[str]]:
    """What each account took of each engine, idle as well, and how long it was looked at."""
    amounts = defaultdict[str, dict[Account, Amount]](dict)
    seconds, unpriced = defaultdict[str, float](float), set[str]()
    for hour in hours:
        left = dict[str, Amount]()
        for engine, looked in hour.seconds.items():
            seconds[engine] += looked
            unpriced |= {engine} - prices.keys()
            left[engine] = _whole(hour.sizes[engine], looked)
        for text, amount in hour.amounts.items():
            key = account(text)
            own = amounts[key.engine]
            own[key] = own.get(key, Amount()) + amount
            left[key.engine] = left[key.engine] - amount
        for engine, amount in left.items():
            key, own = Account(engine, "", "", IDLE), amounts[engine]
            rest = Amount(max(0.0, amount.cores), max(0.0, amount.memory))
            own[key] = own.get(key, Amount()) + rest
    return amounts, seconds, unpriced


def _whole(size: Size, seconds: float) -> Amount:
    return Amount(size.cores * seconds, size.memory / GIB * seconds)


def _divided(amounts: Mapping[Account, Amount], cost: float) -> Iterable[Line]:
    """The cost of the time that was measured, divided among those who took something, and what was idle. If more was
    reserved than there is, each pays in proportion."""
    worth = {key: one.cores * RATIO + one.memory for key, one in amounts.items()}
    whole = sum(worth.values())
    for key, amount in amounts.items():
        yield Line(key, cost * worth[key] / whole if whole else 0.0, amount)
