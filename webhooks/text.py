"""Text that came from outside, made harmless for a terminal and a page."""

from __future__ import annotations

import re

# ECMA-48 sequences: CSI …, OSC … (BEL or ST), other strings, two-character escapes.
_ESCAPES = re.compile(
    "(?:\x1b\\[|\x9b)[0-?]*[ -/]*[@-~]"
    "|(?:\x1b[\\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\\\|\x9c)?"
    "|\x1b[ -/]*[0-~]?"
)
# C0 and C1 controls, and the marks that turn the direction of text around.
_CONTROLS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]"
)


def clean(text: str) -> str:
    """The text without escape sequences, control characters (tab and newline stay) or lone surrogates."""
    plain = _CONTROLS.sub("", _ESCAPES.sub("", text))
    return plain.encode("utf-8", "replace").decode()


def line(text: str, limit: int = 500) -> str:
    """``clean`` text as one line of at most ``limit`` characters."""
    flat = " ".join(clean(text).split())
    return flat if len(flat) <= limit else flat[: limit - 1] + "…"
