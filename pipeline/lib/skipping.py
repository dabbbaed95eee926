"""Pushes that ask not to be deployed, as other CI systems read it: by the message of the pushed commit, or by an option
of ``git push``."""

from __future__ import annotations

import re

_MARK = re.compile(r"\[(?:skip[ _-]ci|ci[ _-]skip|no[ _-]ci)\]", re.IGNORECASE)
OPTIONS = ("ci.skip", "skip-ci")
"""Options of ``git push -o``. The pre-receive hook has them as well, since it imports nothing."""


def by_message(message: str) -> str:
    """Why the commit with that whole message is not deployed, as a clause; "" if it is."""
    found = _MARK.search(message)
    return f"its commit message says {found[0]}" if found else ""


def by_option(option: str) -> str:
    """Why a push with that option is not deployed; "" if it is."""
    return f"it was pushed with -o {option}" if option in OPTIONS else ""
