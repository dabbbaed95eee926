"""One line of ``pushlive doctor``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pipeline.errors import PushliveError

Check = dict[str, Any]  # name, ok, text, advice ("" if there is nothing to do)


def check(name: str, ok: bool, text: str, advice: str = "") -> Check:
    return {"name": name, "ok": ok, "text": text, "advice": "" if ok else advice}


def tried(name: str, act: Callable[[], str]) -> Check:
    """``act`` says that all is well, or raises what is not."""
    try:
        return check(name, True, act())
    except PushliveError as error:
        return check(name, False, error.message, error.advice)
