"""Commands as people type them."""

from __future__ import annotations

import shlex
from collections.abc import Iterable

from pipeline.lib.text import escaped


def as_typed(argv: Iterable[str]) -> str:
    """The words as one line for a shell; what no terminal may show is written as an escape."""
    return " ".join(escaped(shlex.quote(word)) for word in argv)
