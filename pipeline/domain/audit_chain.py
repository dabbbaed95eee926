"""The audit log: who did what, when, on what, from where and why.

Each entry is a line of canonical JSON (keys sorted, no spaces, ASCII) that holds its number, the hash of the entry
before it, and its own hash: SHA-256 over the same line without ``hash``. Other tools can check it as well, and an entry
that was changed, removed, moved or inserted is found. A log whose end was cut off, or that was recreated, is found by
the newest entry's number and hash, which are kept outside of it (``pipeline.store.audit_head``).
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pipeline.domain.tracing.context import NONE, TraceContext
from pipeline.lib.secret import HIDDEN
from pipeline.lib.text import printable, summary, without_password

Entry = dict[str, str | int]

WHY_LIMIT = 200  # characters of a reason, a detail, or what was changed
LIMIT = 100  # of every other text
SAID_AT_MOST = 20  # problems in one report
_TOKEN = re.compile(r"\bpl_[A-Za-z0-9_-]{16,}")


@dataclass(frozen=True)
class Actor:
    """Who acts. ``role``: their token's, "" for machines. ``way``: cli, api, page, git, webhook:github, keeper …
    ``trace``: what their request is a part of."""

    name: str
    role: str = ""
    address: str = ""
    way: str = ""
    trace: TraceContext = NONE


Who = Actor | str


def actor(who: Who) -> Actor:
    return Actor(who) if isinstance(who, str) else who


def entry(
    who: Who,
    act: str,
    at: float,
    *,
    pipeline: str = "",
    environment: str = "",
    run: str = "",
    release: int | None = None,
    why: str = "",
    detail: str = "",
    before: str = "",
    after: str = "",
) -> Entry:
    """An entry without a number. ``at``: seconds since the epoch; ``run``: hello#42; ``before``, ``after``: what it
    changed, as it was and as it is then, "" if it is of no kind that has these. Every text is one printable line of
    bounded length, without anything that looks like a token or a password."""
    one = actor(who)
    return {
        "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at)) + f".{int(at * 1000) % 1000:03}Z",
        "who": _clean(one.name),
        "role": _clean(one.role),
        "address": _clean(one.address),
        "way": _clean(one.way),
        "act": _clean(act),
        "pipeline": _clean(pipeline),
        "environment": _clean(environment),
        "run": _clean(run),
        "release": f"r{release}" if release is not None else "",
        "why": _clean(why, WHY_LIMIT),
        "detail": _clean(detail, WHY_LIMIT),
        "before": _clean(before, WHY_LIMIT),
        "after": _clean(after, WHY_LIMIT),
    }


def _clean(text: str, limit: int = LIMIT) -> str:
    return summary(without_password(_TOKEN.sub(HIDDEN, printable(text[: 20 * limit]))), limit)


def own_detail(one: Mapping[str, object]) -> str:
    """The detail of an entry beside its ``before`` and ``after``, which some details begin with."""
    change = f"{one.get('before', '')} → {one.get('after', '')}"
    return str(one.get("detail", "")).removeprefix(change).removeprefix(": ")


# ── the chain ────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Mark:
    """One entry's number and hash."""

    number: int
    hash: str


BEGINNING = Mark(0, "0" * 64)
_KEYS = {*entry("", "", 0.0), "number", "previous", "hash"}
_FORMS = (_KEYS, _KEYS - {"before", "after"})  # entries of earlier versions have no such texts


def canonical(value: Entry) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def digest(value: Entry) -> str:
    """The hash that the entry must contain."""
    text = canonical({key: part for key, part in value.items() if key != "hash"})
    return hashlib.sha256(text.encode()).hexdigest()


def link(raw: str, before: Mark) -> tuple[str, Mark]:
    """The pending entry as a line of the chain after ``before``, and its mark."""
    made = read(raw) or entry("", "unreadable", time.time(), detail=raw)
    made |= {"number": before.number + 1, "previous": before.hash}
    made["hash"] = digest(made)
    return canonical(made), Mark(before.number + 1, str(made["hash"]))


def mark_of(line: str, place: int) -> Mark:
    """The mark of the line at that position (1: the first). If it cannot be read, the mark is made up: the log goes on,
    and `verify` reports the line."""
    found = read(line)
    number, own = (found or {}).get("number"), (found or {}).get("hash")
    if type(number) is int and isinstance(own, str):
        return Mark(number, own)
    return Mark(place, hashlib.sha256(line.encode("utf-8", "replace")).hexdigest())


def read(line: str) -> Entry | None:
    """The entry of that line; None if it is not one."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    plain = isinstance(found, dict) and all(type(part) in (str, int) for part in found.values())
    return found if plain else None


# ── verifying ────────────────────────────────────────────────────────────────


@dataclass
class Report:
    """``problems``: what is wrong, in the order of the log; ``newest``: to be kept outside of the log."""

    entries: int = 0
    newest: Mark = BEGINNING
    problems: list[str] = field(default_factory=list)


def verify(lines: Iterable[str], head: Mark | None = None, noted: str = "") -> Report:
    """Walks the whole chain. ``head``: the mark that was kept outside; ``noted``: the hash that a person noted, which
    must be that of an entry."""
    walk = _Walk(head, noted)
    for line in lines:
        walk.step(line)
    return walk.end()


class _Walk:
    def __init__(self, head: Mark | None, noted: str) -> None:
        self._head, self._noted = head, noted.strip().lower()
        self._report = Report()
        self._last = BEGINNING
        self._sound = True  # the entry before it is unchanged
        self._numbers: set[int] = set()
        self._highest = 0
        self._head_found = head is None or head.number == 0
        self._noted_found = not noted

    def step(self, line: str) -> None:
        self._report.entries += 1
        place = self._report.entries
        found = read(line)
        if found is None or set(found) not in _FORMS or canonical(found) != line:
            self._bad(
                f"line {place} of the log cannot be read: it was changed", Mark(self._last.number + 1, "")
            )
        elif found["hash"] != digest(found):
            self._bad(
                f"line {place} of the log was changed: its hash does not match",
                Mark(self._last.number + 1, ""),
            )
        elif type(found["number"]) is not int:
            self._bad(f"line {place} of the log has no number", Mark(self._last.number + 1, ""))
        else:
            self._follows(Mark(found["number"], str(found["hash"])), str(found["previous"]))

    def _bad(self, problem: str, mark: Mark) -> None:
        self._report.problems.append(problem)
        self._last, self._sound = mark, False
        self._numbers.add(mark.number)
        self._highest = max(self._highest, mark.number)

    def _follows(self, mark: Mark, previous: str) -> None:
        """Checks the position of an entry whose content is unchanged."""
        number, problems = mark.number, self._report.problems
        if number in self._numbers and self._sound:
            problems.append(f"there are two entries {number}: one was inserted")
        elif number < self._highest:
            problems.append(f"entry {number} is after entry {self._highest}: it was moved")
        elif number == self._last.number + 1 and self._sound and previous != self._last.hash:
            problems.append(
                f"entry {number} does not follow from entry {number - 1}: one of the two was replaced"
            )
        elif number != self._last.number + 1 and not self._sound:
            problems.append(f"entry {number} does not follow from the entry before it")
        self._head_found = self._head_found or mark == self._head
        self._noted_found = self._noted_found or mark.hash == self._noted
        self._last, self._sound = mark, True
        self._numbers.add(number)
        self._highest = max(self._highest, number)

    def end(self) -> Report:
        self._missing()
        report, head = self._report, self._head
        if head and head.number > self._highest:
            report.problems.append(
                f"the log ends with entry {self._highest}, but there was an entry {head.number}: the end was cut off"
            )
        elif head and not self._head_found:
            report.problems.append(
                f"entry {head.number} is not the one in audit.head: the log was cut off there, or recreated"
            )
        if not self._noted_found:
            report.problems.append(
                f"no entry has the hash {_clean(self._noted)} that you noted: the log was cut off, or recreated"
            )
        more = len(report.problems) - SAID_AT_MOST
        if more > 0:
            report.problems = [*report.problems[:SAID_AT_MOST], f"… and {more} more"]
        report.newest = self._last
        return report

    def _missing(self) -> None:
        first, gaps = 0, []
        for number in sorted(self._numbers):
            if number > first + 1:
                gaps.append((first + 1, number - 1))
            first = max(first, number)
        for low, high in gaps:
            what = f"entry {low} is" if low == high else f"entries {low} to {high} are"
            self._report.problems.append(f"{what} missing")
