"""Puts a value at a path into YAML text. Every other character stays: comments, spaces and the order of keys.

Libraries that read YAML and write it again (ruamel.yaml) keep comments, and change indentation and spaces all over the
file. Here the text is changed between the marks of the nodes, and the result is read and compared: what is not exactly
the old file with that value is refused.
"""

from __future__ import annotations

import copy
import json
import re
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from pipeline.config.yaml_nodes import compose, line_of, show_path
from pipeline.errors import ConfigError
from pipeline.lib.text import one_line

Path = tuple[str, ...]
_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_RESERVED = frozenset(["true", "false", "yes", "no", "on", "off", "null", "y", "n"])


def with_value(text: str, path: Path, value: str) -> str:
    """The text with ``value``, which is YAML on one line, at that path; keys that are missing are added. Raises
    ConfigError if the value is not YAML, or if the path is one of something else than keys."""
    wanted = _loaded_value(path, value)
    root = compose(text).root
    if not isinstance(root, MappingNode):
        raise _by_hand(path, "the file has no keys", 1)
    new = _changed(text, root, path, value)
    if yaml.safe_load(new) != _merged(yaml.safe_load(text), path, wanted):
        raise _by_hand(path, "it is written in a way that Pushlive does not change", line_of(root))
    return new


def value_at(text: str, path: Path) -> Any:
    """What a valid text has at that path; None if nothing, so that it is inherited."""
    found = yaml.safe_load(text)
    for key in path:
        if not isinstance(found, dict):
            return None
        found = found.get(key)
    return found


def line_feeds(text: str) -> str:
    """With the line ends that reading a text file gives."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def with_line_ends_of(before: str, text: str) -> str:
    """``text``, whose lines end with LF, with the line ends of the file ``before``. Raises ConfigError if these are
    mixed."""
    if "\r" not in before:
        return text
    if {"\r", "\n"} & set(before.replace("\r\n", "")):
        raise ConfigError(
            "the lines of pipelines.yaml do not all end in the same way.",
            advice="Save it with one kind of line ends, CRLF or LF, and repeat it.",
        )
    return text.replace("\n", "\r\n")


def _loaded_value(path: Path, value: str) -> Any:
    try:
        if "\n" not in value and "\r" not in value:
            found = yaml.safe_load(f"[{value}]") if value else [""]
            if len(found) == 1:
                return found[0]
    except (yaml.YAMLError, ValueError):
        pass
    raise ConfigError(
        f"{show_path(path)}: {one_line(value)[:60]!r} is not a value.",
        advice="Put a text with special characters into quotes.",
    )


def _changed(text: str, mapping: MappingNode, path: Path, value: str) -> str:
    key, rest = path[0], path[1:]
    found = next((pair for pair in mapping.value if pair[0].value == key), None)
    if found is None:
        return _added(text, mapping, f"{_key(key)}: {_nested(rest, value)}")
    node = found[1]
    if rest and isinstance(node, MappingNode):
        return _changed(text, node, rest, value)
    if rest and not _is_empty(node):
        raise _by_hand(path, "it is not a mapping", line_of(node))
    if not _replaceable(node):
        raise _by_hand(path, "its value is written over several lines", line_of(node))
    return _replaced(text, node, _nested(rest, value))


def _added(text: str, mapping: MappingNode, entry: str) -> str:
    """With an entry as the first one."""
    if mapping.flow_style:
        at = mapping.start_mark.index + 1
        return f"{text[:at]}{entry}{', ' if mapping.value else ''}{text[at:]}"
    first = mapping.value[0][0].start_mark
    return f"{text[: first.index]}{entry}\n{' ' * first.column}{text[first.index :]}"


def _replaced(text: str, node: Node, value: str) -> str:
    start, end = node.start_mark.index, node.end_mark.index
    space = "" if text[start - 1 : start].isspace() else " "  # there is none in front of an empty value
    return f"{text[:start]}{space}{value}{text[end:]}"


def _nested(path: Path, value: str) -> str:
    written = value or '""'
    for key in reversed(path):
        written = f"{{{_key(key)}: {written}}}"
    return written


def _key(key: str) -> str:
    return key if _KEY.fullmatch(key) and key.lower() not in _RESERVED else json.dumps(key)


def _is_empty(node: Node) -> bool:
    return isinstance(node, ScalarNode) and node.tag == "tag:yaml.org,2002:null"


def _replaceable(node: Node) -> bool:
    if isinstance(node, ScalarNode):
        return node.style not in ("|", ">") and node.start_mark.line == node.end_mark.line
    return isinstance(node, (MappingNode, SequenceNode)) and bool(node.flow_style)


def _merged(data: Any, path: Path, value: Any) -> Any:
    """The same as data. Keys are texts, as the reader takes them."""
    data = copy.copy(data) if isinstance(data, dict) else {}
    data[path[0]] = _merged(data.get(path[0]), path[1:], value) if path[1:] else value
    return data


def _by_hand(path: Path, why: str, line: int) -> ConfigError:
    return ConfigError(
        f"{show_path(path)} in pipelines.yaml cannot be set by a command: {why} (line {line}).",
        advice="Edit the file; `pushlive plan pipelines.yaml` shows what that changes.",
    )
