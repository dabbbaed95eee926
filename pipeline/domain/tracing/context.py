"""The trace that a request is a part of: what https://www.w3.org/TR/trace-context/ has in two headers.

Anyone who may start a run can send them, so whatever is not exactly as the standard says is left out.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

_PARENT = re.compile(
    r"(?!ff)([0-9a-f]{2})-((?!0{32})[0-9a-f]{32})-((?!0{16})[0-9a-f]{16})-([0-9a-f]{2})(-.*)?"
)
_MEMBER = re.compile(
    r"[a-z0-9][a-z0-9_*/@-]{0,255}=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]"
)
LONGEST_PARENT = 200  # characters
LONGEST_STATE = 512  # as much as the standard obliges anyone to hand on
MEMBERS = 32
SAMPLED = 1  # a bit of the flags: who began the trace records it. Else there is nothing to go on in


@dataclass(frozen=True)
class TraceContext:
    """``trace``, ``parent``: the ids, 32 and 16 hex digits; ``flags``: 2; ``state``: the header ``tracestate``. Nothing
    for a request that is not part of a trace."""

    trace: str = ""
    parent: str = ""
    flags: str = ""
    state: str = ""


NONE = TraceContext()


def read(parents: Sequence[str], states: Sequence[str]) -> TraceContext:
    """``parents``, ``states``: the values of the headers ``traceparent`` and ``tracestate``, one for each time that it
    was sent."""
    if len(parents) != 1 or len(parents[0]) > LONGEST_PARENT:
        return NONE
    found = _PARENT.fullmatch(parents[0])
    if found is None or (found[1] == "00" and found[5]) or not int(found[4], 16) & SAMPLED:
        return NONE
    return TraceContext(found[2], found[3], found[4], _state(",".join(states)))


def _state(text: str) -> str:
    """The list as it is to be handed on, "" if any part of it is wrong."""
    members = [one.strip(" \t") for one in text.split(",") if one.strip(" \t")]
    keys = {one.partition("=")[0] for one in members}
    found = ",".join(members)
    good = len(found) <= LONGEST_STATE and len(members) <= MEMBERS and len(keys) == len(members)
    return found if good and all(_MEMBER.fullmatch(one) for one in members) else ""
