"""YAML nodes → the models of ``pipeline.config.models``, guided by the models' own types.

Every problem is found at once, with its line, because each value is read separately, from the leaves up. The expected
type is known, so text stays as it was written (``PORT: 8080``, ``branch: 1.10``), and what YAML 1.1 would turn into
something else (``on``, ``5:00``) is explained.
"""

from __future__ import annotations

import difflib
import re
import shlex
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final, get_args

from pydantic import BaseModel, TypeAdapter, ValidationError
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from pipeline.config.checks import KINDS
from pipeline.config.introspection import Hint, key_of, keys_of
from pipeline.config.yaml_nodes import REFUSED, Path, Problem, line_of, show_path
from pipeline.lib.text import without_path

WRONG: Final = object()  # stands for a value whose problem is already reported
_TAG = "tag:yaml.org,2002:"
_CHECK_MEANT = {word: key for key, kind in KINDS.items() for word in kind.MEANT}
_MEANT = _CHECK_MEANT | {
    "healthcheck": "health",
    "mem": "memory",
    "cpus": "cpu",
    "environment": "env",
    "ports": "port",
}
_MEANT |= {"on": "when", "events": "when"}
_MEANT |= {"cmd": "command", "timeout": "within"}


@cache
def _adapter(hint: Hint) -> TypeAdapter[Any]:
    return TypeAdapter(hint.annotated)


@dataclass
class Reader:
    """Reads one file and collects its problems."""

    problems: list[Problem] = field(default_factory=list)

    def complain(self, node: Node, path: Path, message: str) -> object:
        self.problems.append(Problem(line_of(node), show_path(path), message))
        return WRONG

    def read(self, node: Node, hint: Hint, path: Path) -> Any:
        """The value at this node, as the hint's type, or WRONG."""
        if node.tag == REFUSED:
            return WRONG
        if hint.optional and _is_null(node):
            return hint.empty
        if hint.listed and not isinstance(node, MappingNode | ScalarNode if hint.has_text else MappingNode):
            items = self._list(node, keys_of(hint.base)[hint.listed], path)
            if items is WRONG:
                return WRONG
            try:
                return hint.base(**{hint.listed: items})
            except ValidationError as error:
                return self._refused(node, error, {}, path)
        if hint.short and isinstance(node, ScalarNode):
            return self._leaf(node, hint, path)
        if hint.shape == "check":
            return self._check(node, path)
        if hint.shape == "model":
            return self._model(node, hint.base, path)
        if hint.shape == "mapping":
            return self._mapping(node, hint, path)
        if hint.shape == "list":
            return self._list(node, hint, path)
        return self._leaf(node, hint, path)

    # -- mappings and lists

    def _entries(self, node: Node, path: Path, wanted: str) -> list[tuple[ScalarNode, Node]] | None:
        if _is_null(node):
            return []
        if not isinstance(node, MappingNode):
            self.complain(node, path, f"{_shown(node)} is not a mapping; {wanted}")
            return None
        return list(node.value)

    def _model(self, node: Node, kind: type[BaseModel], path: Path) -> Any:
        known = keys_of(kind)
        entries = self._entries(node, path, f"allowed here: {', '.join(known)}")
        if entries is None:
            return WRONG
        values: dict[str, Any] = {}
        for key, value in entries:
            hint = known.get(key.value)
            if hint is None:
                values[key.value] = self.complain(key, (*path, key.value), _unknown(key.value, list(known)))
            elif not (hint.has_parts and _is_null(value)):  # an empty block is the same as none
                values[key.value] = self.read(value, hint, (*path, key.value))
        for name, spec in kind.model_fields.items():
            if spec.is_required() and key_of(name, spec) not in values:
                example = ": for example `{dev: {}, qa: {}, live: {}}`" if name == "environments" else ""
                values[name] = self.complain(node, path, f"`{key_of(name, spec)}` is missing{example}")
        if WRONG in values.values():
            return WRONG
        try:
            return kind(**values)
        except ValidationError as error:
            return self._refused(node, error, known, path)

    def _refused(self, node: Node, error: ValidationError, known: dict[str, Hint], path: Path) -> object:
        places = {key.value: value for key, value in node.value} if isinstance(node, MappingNode) else {}
        for detail in error.errors():
            key = str(detail["loc"][0]) if detail["loc"] else ""
            where = (*path, key) if key in known else path
            self.complain(places.get(key, node), where, _plain_words(detail, known.get(key)))
        return WRONG

    def _mapping(self, node: Node, hint: Hint, path: Path) -> Any:
        key_hint, value_hint = hint.parts
        entries = self._entries(node, path, f"write `name: value`, each value {value_hint.words}")
        if entries is None:
            return WRONG
        result: dict[str, Any] = {}
        wrong = False
        for key, value in entries:
            where = (*path, key.value)
            name = self._validated(key, key.value, key_hint, where)
            empty = value_hint.shape == "model" and not value_hint.optional and _is_null(value)
            item = (
                self._model(value, value_hint.base, where) if empty else self.read(value, value_hint, where)
            )
            wrong = wrong or name is WRONG or item is WRONG
            result[key.value] = item
        return WRONG if wrong else result

    def _list(self, node: Node, hint: Hint, path: Path) -> Any:
        if not isinstance(node, SequenceNode):
            text = node.value if isinstance(node, ScalarNode) else ""
            return self.complain(node, path, f"{_shown(node)} is not a list{_as_list(text, hint)}")
        items = [self.read(item, hint.parts[0], (*path, n)) for n, item in enumerate(node.value)]
        return WRONG if WRONG in items else tuple(items)

    def _check(self, node: Node, path: Path) -> Any:
        *examples, last = [kind.EXAMPLE for kind in KINDS.values()]
        asked = f"a check is one of {', '.join(examples)} and {last}"
        if not isinstance(node, MappingNode):
            return self.complain(node, path, f"{_shown(node)} is not a check; {asked}")
        keys = [key.value for key, _ in node.value]
        given = [key for key in keys if key in KINDS]
        if len(given) == 1:
            return self._model(node, KINDS[given[0]], path)
        if given:
            which = " and ".join(f"`{name}`" for name in given)
            return self.complain(node, path, f"has {which} in one check; write one check for each ({asked})")
        meant = next((f"did you mean `{_CHECK_MEANT[k]}` for `{k}`? " for k in keys if k in _CHECK_MEANT), "")
        known = " nor ".join(f"`{key}`" for key in KINDS)
        return self.complain(node, path, f"has neither {known}; {meant}{asked}")

    # -- single values

    def _leaf(self, node: Node, hint: Hint, path: Path) -> Any:
        if not isinstance(node, ScalarNode):
            return self.complain(node, path, f"{_shown(node)} is not a single value; write {hint.words}")
        if _is_null(node):
            hint_text = ' (write "" for an empty text)' if hint.base is str else ""
            return self.complain(node, path, f"is empty; write {hint.words}{hint_text}, or remove the key")
        if hint.shape == "any":
            return self._any(node, hint, path)
        if node.tag == _TAG + "bool" and node.style is None:
            if hint.base is bool and node.value.lower() in ("true", "false"):
                return node.value.lower() == "true"
            if node.value in get_args(hint.base):  # `off` is one of the texts that are allowed
                return node.value
            return self.complain(node, path, _bool_words(node.value, hint))
        if hint.kind == "" and hint.base is int:
            if not re.fullmatch(r"-?(0|[1-9][0-9]{0,17})", node.value):
                return self.complain(node, path, f"{_shown(node)} is not a whole number; write {hint.words}")
            return self._validated(node, int(node.value), hint, path)
        if hint.kind == "duration" and ":" in node.value:
            return self.complain(node, path, _clock_words(node.value))
        return self._validated(node, node.value, hint, path)

    def _any(self, node: ScalarNode, hint: Hint, path: Path) -> Any:
        """Text, a number, true or false, as in JSON."""
        text = node.value
        if node.style is None and node.tag == _TAG + "bool":
            if text.lower() not in ("true", "false"):
                return self.complain(
                    node, path, f'YAML reads {text} as a boolean; write true, false or "{text}"'
                )
            return text.lower() == "true"
        if node.style is None and re.fullmatch(r"-?(0|[1-9][0-9]{0,17})", text):
            return int(text)
        if node.style is None and re.fullmatch(r"-?(0|[1-9][0-9]{0,17})\.[0-9]{1,17}", text):
            return float(text)
        return self._validated(node, text, hint, path)

    def _validated(self, node: Node, value: Any, hint: Hint, path: Path) -> Any:
        try:
            return _adapter(hint).validate_python(value)
        except ValidationError as error:
            return self.complain(node, path, _plain_words(error.errors()[0], hint))


def _is_null(node: Node) -> bool:
    return isinstance(node, ScalarNode) and node.tag == _TAG + "null" and node.style is None


def _shown(node: Node) -> str:
    if isinstance(node, MappingNode):
        return "a mapping"
    return "a list" if isinstance(node, SequenceNode) else repr(without_path(node.value)[:60])


def _as_list(text: str, hint: Hint) -> str:
    if hint.parts[0].shape == "model":
        return f": write [{{{', '.join(keys_of(hint.parts[0].base))}}}] with a value for each key"
    if not text or hint.parts[0].base is not str:
        return "; put `- ` before each entry"
    try:
        words = shlex.split(text)
    except ValueError:
        words = text.split()
    return (
        f": write [{', '.join(words)}]"
        if text.isprintable() and len(text) < 80
        else "; write [first, second]"
    )


def _unknown(key: str, known: list[str]) -> str:
    near = difflib.get_close_matches(key[:60], known, 1)
    if not near and _MEANT.get(key) in known:
        near = [_MEANT[key]]
    meant = f"; did you mean `{near[0]}`?" if near else ""
    return f"unknown key{meant or ';'} allowed here: {', '.join(known)}"


def _bool_words(text: str, hint: Hint) -> str:
    if hint.base is str:
        return f'YAML reads {text} as a boolean, not as text; put it in quotes: "{text}"'
    return f"YAML reads {text} as a boolean; write {hint.words}"


def _clock_words(text: str) -> str:
    match = re.fullmatch(r"(\d{1,4}):(\d\d)", text)
    better = f"{match[1]}m" + (f"{int(match[2])}s" if int(match[2]) else "") if match else "5m or 1h30m"
    return f"{text[:40]!r}: YAML may read a duration with a colon as one number; write {better}"


def _plain_words(detail: Any, hint: Hint | None) -> str:
    """One of pydantic's errors in plain words: what is wrong, and what is allowed."""
    kind, context = detail["type"], detail.get("ctx", {})
    words = hint.words if hint else "something else"
    value = detail["input"]
    shown = repr(value[:60]) if isinstance(value, str) else repr(value)[:60]
    if kind == "value_error":
        return str(context["error"])
    if kind in ("greater_than_equal", "greater_than"):
        return f"{shown} is too small; write {words}"
    if kind in ("less_than_equal", "less_than"):
        return f"{shown} is too large; write {words}"
    if kind in ("string_too_long", "too_long"):
        parts = "characters" if isinstance(value, str) else "entries"
        return f"{shown} is longer than {context['max_length']} {parts}; write {words}"
    if kind in ("too_short", "string_too_short"):
        return f"must not be empty; write {words}"
    return f"{shown} is not allowed; write {words}"
