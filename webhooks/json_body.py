"""JSON from outside: only what the rest of the service can store, show and compare."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

DIGITS = 19  # of an integer; the largest that any client can mean has no more


class NotUsable(Exception):
    """The message says what is wrong: "the body is not JSON"."""


def json_object(raw: bytes, values: int, *, any_text: bool = False) -> dict[str, Any]:
    """The object in ``raw``, with at most about that many ``values``: Python needs up to 200 bytes for each.
    ``any_text``: also half characters (lone surrogates), which no file or store takes. Raises NotUsable, and nothing
    else for any input."""
    if sum(map(raw.count, (b",", b"[", b"{"))) > values:
        raise NotUsable(f"the JSON has more than {values} values")
    errors = "surrogatepass" if any_text else "strict"
    try:
        found = json.loads(raw.decode(errors=errors), parse_int=_integer, parse_constant=_refuse)
    except RecursionError as error:
        raise NotUsable("the JSON is nested too deeply") from error
    except ValueError as error:  # not UTF-8 is one, too
        raise NotUsable("the body is not JSON") from error
    if not isinstance(found, dict):
        raise NotUsable("the body is not a JSON object")
    if not any_text and b"\\u" in raw and not all(map(_is_text, _texts(found))):
        raise NotUsable("the JSON has half a character (a lone surrogate)")
    return found


def _integer(text: str) -> int:
    if len(text.removeprefix("-")) > DIGITS:
        raise ValueError("the number is too long")
    return int(text)


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _texts(found: Any) -> Iterator[str]:
    """All strings in it, names included, without recursion."""
    left = [found]
    while left:
        value = left.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, list):
            left += value
        elif isinstance(value, dict):
            left += value.keys()
            left += value.values()


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
