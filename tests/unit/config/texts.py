"""Configuration files with a change."""

from __future__ import annotations


def edited(text: str, old: str, new: str) -> str:
    """The file in which ``old``, which must be there, was replaced once."""
    assert old in text
    return text.replace(old, new, 1)
