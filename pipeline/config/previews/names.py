"""Names of previews: ``hello--login`` is one of the pipeline ``hello``. No name in pipelines.yaml has two hyphens in a
row, so none of a preview can meet one of a pipeline, an environment or an accessory."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Container

MARK = "--"
SECRETS = "previews"  # the environment for which secrets of previews are set
LONGEST = 20  # characters after the mark: ``<32>--<20>-<20>.localhost`` would not fit otherwise
_TAIL = 6  # hex digits
_FORBIDDEN = re.compile(r"[^a-z0-9]+")


def is_preview(name: str) -> bool:
    """Whether that pipeline, or environment, is one of a preview."""
    return MARK in name


def pipeline_of(name: str) -> str:
    """``hello`` of ``hello--login``; every other name is its own."""
    return name.partition(MARK)[0]


def short_of(name: str) -> str:
    """``login`` of ``hello--login``."""
    return name.partition(MARK)[2]


def name_for(pipeline: str, branch: str, text: str, taken: Container[str]) -> str:
    """A name that is not ``taken``: ``text``, of that branch, in characters that DNS allows. A hash of the branch is
    added if it is too long, has no such character, or another preview has that name."""
    plain = _FORBIDDEN.sub("-", text.lower()).strip("-")
    name = f"{pipeline}{MARK}{plain}"
    if plain and len(plain) <= LONGEST and name not in taken:
        return name
    start = plain[: LONGEST - _TAIL - 1].strip("-")
    for turn in range(1000):
        digest = hashlib.sha256(f"{branch}{turn or ''}".encode("utf-8", "surrogatepass")).hexdigest()
        name = f"{pipeline}{MARK}{start}{'-' if start else 'x'}{digest[:_TAIL]}"
        if name not in taken:
            return name
    raise ValueError(f"every name for a preview is taken: {branch[:80]!r}")
