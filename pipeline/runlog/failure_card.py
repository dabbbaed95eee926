"""The failure card as text. Imports nothing heavy: the command line uses it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Paint = Callable[[str, str], str]

_WHOSE = {
    "application": "the application",
    "engine": "Pushlive's side",
    "repository": "the repository",
    "configuration": "the configuration",
    "accessory": "the accessory",
}


def whose(failure: dict[str, Any]) -> str:
    """Who can fix it, in words."""
    return _WHOSE.get(failure["whose"], str(failure["whose"]))


def failure_card(failure: dict[str, Any], paint: Paint) -> list[str]:
    """What failed, the evidence, what differs, what to do next: the one text for the log, git's output and the command
    line. ``failure``: a plain ``domain.run.Failure``; ``paint``: colours a text in a style such as "red bold"."""
    edge = paint("│", "red")
    title = paint(f"{failure['stage']}/{failure['step']} failed", "red bold")
    found = [
        f"{paint('┌─ ', 'red')}{title} · {whose(failure)}",
        *(f"{edge} {line}" for line in str(failure["message"]).splitlines()),
    ]
    sections = (
        ("seen", failure.get("evidence") or []),
        ("differs from the last good release", failure.get("differs") or []),
        ("next", [failure["advice"]] if failure.get("advice") else []),
    )
    for heading, texts in sections:
        if texts:
            found += [paint("├─ ", "red") + paint(heading, "bold"), *(f"{edge} {text}" for text in texts)]
    return [*found, paint("└─", "red")]


def unpainted(text: str, _style: str) -> str:
    return text
