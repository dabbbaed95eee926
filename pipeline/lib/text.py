"""Text from outside, made safe to show: on a terminal, in a log, on a page, in a notice, in an audit entry.

Every function may be applied to its own result: it changes nothing more. It imports next to nothing, since the
command line starts with this.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from pipeline.lib.secret import HIDDEN

# ECMA-48: CSI …, OSC and other strings up to BEL, ST or the end of the line, two-character escapes.
_SEQUENCES = (
    "(?:\x1b\\[|\x9b)[0-?]*[ -/]*[@-~]"
    "|(?:\x1b[\\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c\n]*(?:\x07|\x1b\\\\|\x9c)?"
    "|\x1b[ -/]*[0-~]?"
)
_CONTROLS = "\x00-\x08\x0b-\x1f\x7f-\x9f"  # C0 without tab and newline, DEL, C1
_DIRECTION = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
# Zero-width and other characters that show nothing. U+200D is among them: without it an emoji falls apart into its
# members, and with it a word can be written in two ways that look the same.
_UNSEEN = "\u00ad\u180e\u200b-\u200d\u2060-\u2065\u206a-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f"
_SEPARATORS = "\u2028\u2029"
_SURROGATES = "\ud800-\udfff"

_UNSAFE = re.compile(f"{_SEQUENCES}|[{_CONTROLS}{_DIRECTION}{_UNSEEN}{_SEPARATORS}{_SURROGATES}]")
_ESCAPED = re.compile(f"[\t\n{_CONTROLS}{_DIRECTION}{_UNSEEN}{_SEPARATORS}{_SURROGATES}]")

# Bounded, so that a long text costs little. The user's name may stand alone for ssh; for http it may be a token.
# A password may hold what a URL must escape.
_LOGIN = re.compile(
    r"(?P<scheme>[a-z][a-z0-9+.-]{0,30})://(?P<user>[^/?#@:\s]*)"
    r"(?:(?P<password>:(?:[^/\s]*|(?!\d{1,5}/)[^\s@]*))?@)",
    re.IGNORECASE,
)
_STAMP = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+(?:Z|[+-]\d\d:\d\d) ")
_SIGNS = re.compile(r"[\W\d_]+")
_PATH = re.compile(r"(https?://)(?:[^/?#\s'\"]*@)?([^/?#\s'\"]*)[/?#][^\s'\"]*", re.IGNORECASE)


def printable(text: str) -> str:
    """The text without terminal sequences, control characters, text-direction marks, zero-width characters and
    line separators. Newlines and tabs stay; half a character (a lone surrogate) becomes U+FFFD."""
    if text.isprintable():
        return (
            text  # most lines: none of the characters above counts as printable, and this is ten times faster
        )
    return _UNSAFE.sub(_replacement, text)


def one_line(text: str) -> str:
    """``printable`` text on one line: a newline becomes a space, a tab four."""
    return printable(text).replace("\t", "    ").replace("\n", " ")


def printable_lines(text: str) -> list[str]:
    """``printable`` text as lines without their ends, at least one. Tabs become four spaces."""
    return printable(text).replace("\t", "    ").split("\n")


def states(line: str) -> list[str]:
    """What a line said, where a carriage return went back to its beginning: of states that differ in figures and signs
    alone, as a progress bar's, only the last. At least one."""
    found: list[str] = []
    for state in line.split("\r"):
        if not state.strip() and (found or not state):
            continue  # the line's end, or it was blanked out
        if found and _letters(found[-1]) == _letters(state):
            found.pop()
        found.append(state)
    return found or [""]


def last_state(line: str) -> str:
    """What a terminal would show of the line in the end; a time in front of it stays."""
    first, *rest = states(line)
    stamp = _STAMP.match(first)
    return f"{stamp[0] if stamp else ''}{rest[-1]}" if rest else first


def _letters(text: str) -> str:
    return _SIGNS.sub("", text)[:12]


def summary(text: str, limit: int = 500) -> str:
    """``one_line`` with single spaces, cut with … to at most ``limit`` characters."""
    flat = " ".join(one_line(text[: 20 * limit]).split())
    return flat if len(flat) <= limit else flat[: limit - 1] + "…"


def escaped(text: str) -> str:
    """The text on one line, with what ``one_line`` takes out or changes written as an escape (``\\n``): two texts
    that differ look different."""
    return _ESCAPED.sub(lambda match: ascii(match[0])[1:-1], text)


def brief(text: str, limit: int = 200) -> str:
    """A value as a message shows it: ``escaped``, ``without_password``, and cut with … after ``limit`` characters."""
    shown = without_password(text[: 20 * limit])
    return escaped(shown[:limit]) + ("…" if len(shown) > limit else "")


def flow(value: object) -> str:
    """A value of YAML or JSON as a person would write it on a line: ``{steps: [20%, 50%], for: 60s}``."""
    if isinstance(value, Mapping):
        return "{" + pairs(value) + "}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(flow, value))}]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)


def pairs(value: Mapping[object, object]) -> str:
    """``steps: [20%, 50%], for: 60s``"""
    return ", ".join(f"{key}: {flow(one)}" for key, one in value.items())


def without_password(text: str) -> str:
    """The text with ``•••`` for the password in every URL, and for an http user, who may be a token."""
    return _LOGIN.sub(_masked, text)


def without_path(text: str) -> str:
    """The text with only scheme and host of the web addresses in it: a webhook's path is often its secret."""
    return _PATH.sub(r"\1\2/…", text)


def _replacement(match: re.Match[str]) -> str:
    return "\ufffd" if "\ud800" <= match[0] <= "\udfff" else ""


def _masked(match: re.Match[str]) -> str:
    user = f"{match['user']}:{HIDDEN}" if match["password"] else match["user"]
    if not match["password"] and match["scheme"].lower() in ("http", "https"):
        user = HIDDEN
    return f"{match['scheme']}://{user}@"
