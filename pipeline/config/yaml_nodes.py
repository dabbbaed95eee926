"""YAML text → a tree of PyYAML's nodes; everything that a configuration does not need is refused.

Tags, anchors, aliases, merge keys, duplicate keys, deep nesting and several documents are reported with their lines.
No object is constructed, no tag is applied, and no alias is expanded.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

import yaml
from yaml.composer import Composer
from yaml.events import AliasEvent, StreamEndEvent
from yaml.nodes import MappingNode, Node, ScalarNode
from yaml.parser import Parser
from yaml.reader import Reader, ReaderError
from yaml.resolver import Resolver
from yaml.scanner import Scanner

MAX_BYTES = 1 << 20
MAX_DEPTH = 20
MAX_NODES = 10_000  # a pipeline has about a hundred
REFUSED = "!refused"  # the tag of a node whose problem is already reported

Path = tuple[str | int, ...]


@dataclass(frozen=True, order=True)
class Problem:
    """One thing that is wrong. ``line`` counts from 1; ``path`` is like ``pipelines.hello.smoke[0].get``."""

    line: int
    path: str
    message: str


@dataclass
class Tree:
    """``root`` is None for an empty file, and if the text is not YAML."""

    root: Node | None = None
    problems: list[Problem] = field(default_factory=list)


def show_path(path: Path) -> str:
    """``pipelines.hello.smoke[0].get``; a key that is not a plain word is quoted and cut at 60 characters."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            plain = part.replace("-", "").replace("_", "")
            shown = part if plain.isascii() and plain.isalnum() and len(part) <= 60 else repr(part[:60])
            text += f".{shown}" if text else shown
    return text


def line_of(node: Node) -> int:
    return int(node.start_mark.line) + 1


class _Stop(Exception):
    """Reading stops here."""


class _Nodes(Reader, Scanner, Parser, Composer, Resolver):
    def __init__(self, text: str) -> None:
        Reader.__init__(self, text)
        Scanner.__init__(self)
        Parser.__init__(self)
        Composer.__init__(self)
        Resolver.__init__(self)
        self.path: list[str | int] = []
        self.count = self.depth = 0
        self.problems: list[Problem] = []

    def next_event(self) -> Any:
        return self.peek_event()  # type: ignore[no-untyped-call]

    def complain(self, mark: Any, message: str) -> None:
        self.problems.append(Problem(mark.line + 1, show_path(tuple(self.path)), message))

    def compose_node(self, parent: Node | None, index: Any) -> Node:
        """PyYAML calls this for every node; ``index`` is the key's node, a number, or None for a key."""
        outer = len(self.path)
        self.depth += 1  # a key that is a mapping is deeper as well, without being part of the path
        if isinstance(index, int):
            self.path.append(index)
        elif index is not None:
            self.path.append(index.value if isinstance(index, ScalarNode) else "?")
        node = self._checked(parent, index)
        if isinstance(node, MappingNode):
            self._keys(node)
        del self.path[outer:]
        self.depth -= 1
        return node

    def _checked(self, parent: Node | None, index: Any) -> Node:
        event = self.next_event()
        mark = event.start_mark
        self.count += 1
        if self.depth > MAX_DEPTH or self.count > MAX_NODES:
            limit = f"nested more than {MAX_DEPTH} deep" if self.count <= MAX_NODES else "too many entries"
            self.complain(event.start_mark, f"{limit}; simplify it: nothing below was read")
            raise _Stop
        if isinstance(event, AliasEvent):
            self.get_event()  # type: ignore[no-untyped-call]
            self.complain(mark, f"`*{event.anchor}` is an alias; write the value itself")
            return ScalarNode(REFUSED, "", mark, mark)
        refused = event.tag is not None
        if event.anchor is not None:
            self.complain(event.start_mark, f"`&{event.anchor}` is an anchor; remove it and repeat the value")
            event.anchor = None
        if refused:
            self.complain(event.start_mark, f"`{event.tag[:60]}` is a tag; remove it: tags are not supported")
            event.tag = None
        node = cast(Node, super().compose_node(parent, index))
        if refused:
            node = ScalarNode(REFUSED, "", node.start_mark, node.end_mark)
        return node

    def _keys(self, mapping: MappingNode) -> None:
        """Reports and drops keys that are not plain text and duplicate keys."""
        kept: dict[str, tuple[Node, Node]] = {}
        for key, value in mapping.value:
            if not isinstance(key, ScalarNode):
                self.complain(key.start_mark, "a key must be plain text, not a list or a mapping")
            elif key.value == "<<" and key.style is None:
                self.complain(key.start_mark, "`<<` (merge) is not supported; write the keys themselves")
            elif key.value in kept:
                first = line_of(kept[key.value][0])
                name = show_path((key.value,))
                self.complain(
                    key.start_mark, f"`{name}` is given twice, first in line {first}; remove one of them"
                )
            elif key.tag != REFUSED:
                kept[key.value] = (key, value)
        mapping.value = list(kept.values())


def compose(text: str) -> Tree:
    """The tree and its problems. Never raises."""
    if len(text) > MAX_BYTES or len(text.encode("utf-8", "replace")) > MAX_BYTES:
        return Tree(None, [Problem(1, "", "the file is larger than 1 MiB and was not read")])
    try:
        nodes = _Nodes(text)
    except ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        message = f"the character U+{error.character:04X} is not allowed in YAML; remove it"
        return Tree(None, [Problem(line, "", message)])
    try:
        root = _document(nodes)
    except _Stop:
        root = None
    except yaml.MarkedYAMLError as error:
        root = None
        nodes.problems.append(_broken(error))
    except (ValueError, OverflowError):  # chr() of an escape such as \UFFFFFFFF
        root = None
        nodes.problems.append(
            Problem(nodes.line + 1, "", "an escape sequence here is not a valid character; correct it")
        )
    return Tree(root, nodes.problems)


def _document(nodes: _Nodes) -> Node | None:
    if not nodes.check_node():
        return None
    root = nodes.get_node()
    if not nodes.check_event(StreamEndEvent):
        nodes.complain(
            nodes.next_event().start_mark, "a second document begins here; the file must contain only one"
        )
    return root


def _broken(error: yaml.MarkedYAMLError) -> Problem:
    """PyYAML's message about text that is not YAML, with the line where the construct began in brackets."""
    mark = error.problem_mark or error.context_mark
    says = error.problem or "cannot be read"
    if "\\t" in says:
        says = "a tab where spaces are needed"
    context = f" ({error.context} from line {error.context_mark.line + 1})" if error.context_mark else ""
    message = f"this is not YAML: {says}{context}; check indentation, colons and quotes here and above"
    return Problem(mark.line + 1 if mark else 1, "", message)
