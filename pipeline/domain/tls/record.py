"""What is known of the certificate of one name, and what follows from an attempt. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from pipeline.domain.tls import renewal

State = Literal["valid", "waiting", "failing", "expired"]


@dataclass(frozen=True)
class Record:
    """Times are seconds since 1970, 0 for never. ``next``: no attempt before; ``ordered``: whether the last failure
    was one of the authority; ``told``: that a person was told of the problem; ``left``: since when nothing needs it;
    ``issued``: when, within a week; ``first``: when it got its first certificate."""

    name: str
    engine: str = "docker"
    asked: float = 0.0
    not_before: float = 0.0
    not_after: float = 0.0
    renew: float = 0.0
    next: float = 0.0
    failures: int = 0
    problem: str = ""
    advice: str = ""
    told: bool = False
    left: float = 0.0
    issued: tuple[float, ...] = ()
    first: float = 0.0

    def due(self, now: float) -> bool:
        return now >= self.next and (not self.not_after or now >= self.renew)

    def state(self, now: float) -> State:
        if self.not_after and now >= self.not_after:
            return "expired"
        if self.problem and (not self.not_after or now >= renewal.warn_at(self.not_before, self.not_after)):
            return "failing"
        return "valid" if self.not_after else "waiting"


@dataclass(frozen=True)
class Records:
    """Of all names."""

    names: dict[str, Record] = field(default_factory=dict)

    def put(self, record: Record) -> Records:
        return Records({**self.names, record.name: record})

    def without(self, name: str) -> Records:
        return Records({key: one for key, one in self.names.items() if key != name})

    def firsts(self, now: float) -> int:
        """How many names got their first certificate within a week: what a limit of the authority counts."""
        return sum(one.first > now - renewal.WEEK for one in self.names.values())


def has(record: Record, not_before: float, not_after: float, renew: float, now: float) -> Record:
    """A certificate with these times is there."""
    if (record.not_before, record.not_after) == (not_before, not_after):
        return record
    issued = (*(at for at in record.issued if at > now - renewal.WEEK), now)
    return replace(
        record, not_before=not_before, not_after=not_after, renew=renew, issued=issued,
        first=record.first or record.not_before or now,
        next=0.0, failures=0, problem="", advice="", told=False,
    )  # fmt: skip


def failed(
    record: Record, problem: str, advice: str, now: float, *, ordered: bool, until: float = 0.0
) -> Record:
    """``until``: when the authority takes orders again, if it says so."""
    failures = record.failures + 1
    wait = max(until, now + renewal.pause(failures, ordered=ordered))
    return replace(record, failures=failures, next=wait, problem=problem, advice=advice)


def to_tell(record: Record, now: float) -> bool:
    """True once a person has to know of its problem: the third failure of a name without a certificate, or the end of
    the one that it has comes near."""
    if record.told or not record.problem:
        return False
    return record.state(now) == "expired" or (
        record.failures >= 3 if not record.not_after else record.state(now) == "failing"
    )


def limited(record: Record, records: Records, now: float) -> str:
    """Why no order may be made now, so that no limit of the authority is met; "" if it may."""
    mine = [at for at in record.issued if at > now - renewal.WEEK]
    if len(mine) >= renewal.DUPLICATES and record.not_after > now:
        return f"{len(mine)} certificates were issued for {record.name} within a week"
    if not record.not_after and records.firsts(now) >= renewal.ORDERS:
        return f"{renewal.ORDERS} names got their first certificate within a week"
    return ""
