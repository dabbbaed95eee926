"""Words and variables of a Dockerfile, as BuildKit's ``frontend/dockerfile/shell`` and ``parser`` read them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

_HEREDOC = re.compile(r"([0-9]*)<<(-?)[\t\v\f\r ]*([^<]*)")
_PLAIN = re.compile(r"\$\{\w+(?::[-+][\w./-]*)?\}")  # every version takes these for one piece of a word
_SPECIAL = "@*#?-$!"
_DEPTH = 20  # variables within one another
_PATTERN_LIMIT = (
    256  # characters of a value that is matched, whose pattern has at most two stars: bounded time
)


@dataclass(frozen=True)
class Heredoc:
    name: str
    chomp: bool  # ``<<-``: tabs before the last line's name do not count


def heredocs(line: str, *, spaces: bool, raw_escapes: bool = True) -> tuple[Heredoc, ...]:
    """The here-documents that begin on a line. ``spaces``: newer versions allow them before the name (``<< EOF``).
    Without ``raw_escapes``, as the first versions did, an escaped ``\\<<EOF`` begins one as well.

    Raises ValueError for a line that versions of BuildKit read differently."""
    if "<<" not in line:
        return ()
    for at in (match.start() for match in re.finditer(r"\$\{", line)):
        if not _PLAIN.match(line, at):
            raise ValueError("it has a here-document and a variable with ${…} that is more than a name")
    found = []
    for word in _words(line, spaces=spaces, raw_escapes=raw_escapes):
        match = _HEREDOC.fullmatch(word)
        if match and match[3] and len(name := _words(match[3], raw_quotes=False, raw_escapes=False)) == 1:
            found.append(Heredoc(name[0], bool(match[2])))
    return tuple(found)


def _words(
    text: str, *, spaces: bool = False, raw_quotes: bool = True, raw_escapes: bool = True
) -> list[str]:
    """Words of a shell, none if a quotation does not end."""
    words, word, i = list[str](), "", 0
    while i < len(text):
        char, i = text[i], i + 1
        if char in "'\"":
            end = _quote_end(text, i, char)
            if end < 0:
                return []
            inside = text[i:end] if raw_escapes or char == "'" else re.sub(r'\\(["$\\])', r"\1", text[i:end])
            word += char + inside + char if raw_quotes else inside
            i = end + 1
        elif char == "\\":
            word += (char if raw_escapes else "") + text[i : i + 1]
            i += 1
        elif spaces and text.startswith("<<", i - 1):
            end = i + 1
            while text[end : end + 1].isspace():
                end += 1
            word, i = word + text[i - 1 : end], end
        elif char.isspace():
            if word:
                words.append(word)
            word = ""
        else:
            word += char
    return [*words, word] if word else words


def _quote_end(text: str, at: int, quote: str) -> int:
    while at < len(text) and text[at] != quote:
        at += 2 if quote == '"' and text[at] == "\\" else 1
    return at if at < len(text) else -1


def split(text: str, escape: str = "\\") -> list[str]:
    """The text at its spaces, except at those in quotes. Quotes and escapes stay."""
    words, word, quote, i = list[str](), "", "", 0
    while i < len(text):
        char = text[i]
        if char == escape and quote != "'" and i + 1 < len(text):
            word, i = word + text[i : i + 2], i + 2
            continue
        if not quote and char.isspace():
            if word:
                words.append(word)
            word = ""
        else:
            word += char
            quote = "" if char == quote else quote or (char if char in "'\"" else "")
        i += 1
    return [*words, word] if word else words


def expand(text: str, known: Mapping[str, str], escape: str = "\\") -> str:
    """The text without its quotes and escapes, its variables replaced: ``$A``, ``${A}`` and ``${A…}`` with
    ``:-`` ``-`` ``:+`` ``+`` ``:?`` ``?`` ``#`` ``##`` ``%`` ``%%`` ``/`` ``//``, also one within another.

    An unknown one is empty. Raises ValueError, with the reason, for what is not valid."""
    return _Expansion(text, known, escape).until("")


class _Expansion:
    def __init__(self, text: str, known: Mapping[str, str], escape: str) -> None:
        self._text = text
        self._known = known
        self._escape = escape
        self._at = 0
        self._depth = 0

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _next(self) -> str:
        char = self._peek()
        self._at += 1
        return char

    def until(self, stop: str, *, raw: bool = False) -> str:
        """Up to the character ``stop``, or to the end. ``raw``: escapes stay in it."""
        out = ""
        while char := self._next():
            if char == stop:
                return out
            if char == "'":
                out += self._single()
            elif char == '"':
                out += self._double(raw)
            elif char == "$":
                out += self._variable()
            elif char == self._escape:
                out += (char if raw else "") + self._next()
            else:
                out += char
        if stop:
            raise ValueError(f"a {stop} is missing")
        return out

    def _single(self) -> str:
        end = self._text.find("'", self._at)
        if end < 0:
            raise ValueError("a ' is missing")
        found, self._at = self._text[self._at : end], end + 1
        return found

    def _double(self, raw: bool) -> str:
        out = ""
        while char := self._next():
            if char == '"':
                return out
            if char == "$":
                out += self._variable()
            elif char == self._escape:
                out += char if raw else ""
                special = self._peek() in ('"', "$", self._escape)
                out += self._next() if special else "" if raw else char
            else:
                out += char
        raise ValueError('a " is missing')

    def _name(self) -> str:
        if self._peek() and self._peek() in _SPECIAL:
            return self._next()
        found = re.compile(r"[0-9]+|\w*").match(self._text, self._at)
        name = found[0] if found else ""
        self._at += len(name)
        return name

    def _variable(self) -> str:
        if self._peek() != "{":
            name = self._name()
            return self._known.get(name, "") if name else "$"
        self._next()
        if self._peek() in ("", "{", "}", ":"):
            raise ValueError("${ is not followed by a name")
        name, sign = self._name(), self._next()
        value = self._known.get(name)
        if sign == "}":
            return value or ""
        if sign == "/":
            return self._replaced(value or "")
        if sign == ":":
            value, sign = value or None, self._next()
            if sign in ("#", "%"):
                raise ValueError(f"${{{name}:{sign}…}} is not supported")
        if sign in ("-", "+", "?"):
            return self._conditional(name, value, sign)
        if sign in ("#", "%"):
            pattern = self._within("}", raw=True)
            return _trimmed(value or "", sign, pattern)
        raise ValueError(f"${{{name}{sign}…}} is not supported")

    def _conditional(self, name: str, value: str | None, sign: str) -> str:
        word = self._within("}")
        if sign == "-":
            return word if value is None else value
        if sign == "+":
            return "" if value is None else word
        if value is None:
            raise ValueError(f"{name}: {word or 'it has no value'}")
        return value

    def _within(self, stop: str, *, raw: bool = False) -> str:
        self._depth += 1
        if self._depth > _DEPTH:
            raise ValueError("too many variables are within one another")
        found = self.until(stop, raw=raw)
        self._depth -= 1
        return found

    def _replaced(self, value: str) -> str:
        every = self._peek() == "/"
        self._at += every
        pattern, by = self._within("/", raw=True), self._within("}", raw=True)
        return re.sub(_pattern(pattern, value), lambda _: by, value, count=0 if every else 1)


def _trimmed(value: str, sign: str, pattern: str) -> str:
    """Without the shortest (longest, if the sign is doubled) prefix (``#``) or suffix (``%``) that matches."""
    longest = pattern.startswith(sign)
    expression = re.compile(_pattern(pattern.removeprefix(sign), value), re.DOTALL)
    lengths = range(len(value), -1, -1) if longest else range(len(value) + 1)
    for length in lengths:
        part = value[:length] if sign == "#" else value[len(value) - length :]
        if expression.fullmatch(part):
            return value[length:] if sign == "#" else value[: len(value) - length]
    return value


def _pattern(pattern: str, value: str) -> str:
    """The pattern as a regular expression for the value."""
    chars = list(_characters(re.sub(r"\*+", "*", pattern)))
    if len(value) > _PATTERN_LIMIT or chars.count(("*", False)) > 2:
        raise ValueError("a pattern with more than two stars, or for a value this long, is not supported")
    wild = {("*", False): ".*", ("?", False): "."}
    return "".join(wild.get(each, re.escape(each[0])) for each in chars)


def _characters(pattern: str) -> Iterator[tuple[str, bool]]:
    i = 0
    while i < len(pattern):
        escaped = pattern[i] == "\\"
        i += escaped
        if escaped and pattern[i : i + 1] not in ("*", "?", "\\", "}", "/"):
            raise ValueError(f"\\{pattern[i : i + 1]} is not a valid escape in a pattern")
        yield pattern[i], escaped
        i += 1
