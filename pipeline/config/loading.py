"""``pipelines.yaml`` → Config: every problem at once, each with its line and what is allowed there."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import ValidationError
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from pipeline.config.cost import cap_rules
from pipeline.config.engines import Where
from pipeline.config.http import redirect_rules
from pipeline.config.https import policy
from pipeline.config.introspection import hint_of
from pipeline.config.models import Config
from pipeline.config.previews import rules as preview_rules
from pipeline.config.promotion import shift_rules
from pipeline.config.reader import WRONG, Reader
from pipeline.config.sleep import sleep_rules
from pipeline.config.workload import accessory_rules, engine_rules, process_rules, web_rules
from pipeline.config.yaml_nodes import Problem, Tree, compose, line_of, show_path
from pipeline.errors import ConfigError
from pipeline.lib.units import show_size

LONGEST_TEXT = 128 << 10  # bytes: MAX_ARG_STRLEN, of one argument or one variable with its name
MOST_VARIABLES = (2 << 20) - (
    128 << 10
)  # bytes: a quarter of the usual stack, without what is left for secrets
MOST_OF_A_CLUSTER = 1_000_000  # bytes: a ConfigMap has at most 1 MiB
_OWN = "names that begin with PUSHLIVE_ are reserved for Pushlive; choose another name"
SHOWN = 100  # problems in one message

__all__ = ["Problem", "load", "problems", "show"]


def load(text: str, name: str = "pipelines.yaml") -> Config:
    """The configuration in ``text``; an empty file has no pipelines.

    Raises ConfigError that lists every problem, one a line: ``name:line: path: what is wrong; what to do``.
    """
    config, found = _read(text)
    if config is None or found:
        lines = [show(problem, name) for problem in found[:SHOWN]]
        if len(found) > SHOWN:
            lines.append(f"{name}: and {len(found) - SHOWN} more problems; correct these first")
        raise ConfigError("\n".join(lines))
    return config


def problems(text: str, name: str = "pipelines.yaml") -> tuple[Problem, ...]:
    """Every problem of ``text``, by line; empty if ``load`` would succeed. Never raises."""
    del name  # a problem has its line; show() puts the file's name before it
    return tuple(_read(text)[1])


def line_at(text: str, *keys: str) -> int:
    """The line of that key, or of the last one above it that is there."""
    return _line(compose(text).root, *keys)


def _line(node: Node | None, *keys: str) -> int:
    line = 1
    for key in keys:
        node = _child(node, key)
        line = line_of(node) if node else line
    return line


def show(problem: Problem, name: str = "pipelines.yaml") -> str:
    """``pipelines.yaml:12: pipelines.hello.service.memory: what is wrong; what is allowed there``."""
    place = f"{name}:{problem.line}"
    return f"{place}: {problem.path}: {problem.message}" if problem.path else f"{place}: {problem.message}"


def _read(text: str) -> tuple[Config | None, list[Problem]]:
    tree = compose(text)
    if tree.root is None:
        return (None if tree.problems else Config()), tree.problems
    reader = Reader()
    config = reader.read(tree.root, hint_of(Config), ())
    whole = (
        *_clashes(tree),
        *_reserved(tree),
        *_given_twice(tree),
        *_remote_without_registry(tree),
        *_too_large(tree),
    )
    if config is not WRONG:
        for rules in (
            engine_rules,
            accessory_rules,
            process_rules,
            web_rules,
            shift_rules,
            sleep_rules,
            policy,
            redirect_rules,
            cap_rules,
            preview_rules,
        ):
            whole = (*whole, *rules.problems(config, lambda *keys: _line(tree.root, *keys)))
    found = sorted({*tree.problems, *reader.problems, *whole})
    return (None if config is WRONG else config), found


# -- what involves several values


def _entries(node: Node | None) -> Iterator[tuple[str, Node, Node]]:
    if isinstance(node, MappingNode):
        for key, value in node.value:
            yield key.value, key, value


def _child(node: Node | None, name: str) -> Node | None:
    return next((value for key, _, value in _entries(node) if key == name), None)


def _environments(tree: Tree) -> Iterator[tuple[str, str, Node, Node]]:
    """(pipeline, environment, the environment's key, its settings)."""
    for pipeline, _, body in _entries(_child(tree.root, "pipelines")):
        for name, key, settings in _entries(_child(body, "environments")):
            yield pipeline, name, key, settings


def _claims(tree: Tree) -> Iterator[tuple[str, str, Node, str]]:
    """(host, environment, node, path) of every host name."""
    for pipeline, name, key, settings in _environments(tree):
        owner = f"{pipeline}/{name}"
        path = show_path(("pipelines", pipeline, "environments", name))
        yield f"{pipeline}-{name}.localhost", owner, key, path
        host = _child(settings, "host")
        if isinstance(host, ScalarNode):
            yield host.value, owner, host, f"{path}.host"
        for block in ("hosts", "redirect_hosts"):
            more = _child(settings, block)
            for number, item in enumerate(more.value if isinstance(more, SequenceNode) else ()):
                if isinstance(item, ScalarNode):
                    yield item.value, owner, item, f"{path}.{block}[{number}]"


def _clashes(tree: Tree) -> Iterator[Problem]:
    """Host names that two environments have, or that are too long for DNS."""
    first: dict[str, tuple[str, int]] = {}
    for host, owner, node, path in _claims(tree):
        label = host.partition(".")[0]
        if host.endswith(".localhost") and len(label) > 63:
            yield Problem(
                line_of(node),
                path,
                f"its host name {label[:80]}… is longer than 63 characters; use shorter names",
            )
        other, line = first.setdefault(host, (owner, line_of(node)))
        if host and other != owner:
            message = f"{host[:80]!r} already belongs to {other} (line {line}); give each environment its own"
            yield Problem(line_of(node), path, message)


def _reserved(tree: Tree) -> Iterator[Problem]:
    """Environment variables with names that are reserved for Pushlive."""
    for pipeline, _, body in _entries(_child(tree.root, "pipelines")):
        path: tuple[str, ...] = ("pipelines", pipeline, "service", "env")
        yield from _own_names(_child(_child(body, "service"), "env"), path)
    for pipeline, name, _, settings in _environments(tree):
        yield from _own_names(_child(settings, "env"), ("pipelines", pipeline, "environments", name, "env"))
    for _, place, node, name in _secrets(tree):
        if name.startswith("PUSHLIVE_"):
            yield Problem(line_of(node), show_path(place), _OWN)


def _secrets(tree: Tree) -> Iterator[tuple[tuple[str, str], tuple[str | int, ...], Node, str]]:
    """Every name under ``secrets``: (pipeline, environment or ""), path, node and the name itself."""
    for pipeline, _, body in _entries(_child(tree.root, "pipelines")):
        yield from _names(_child(body, "service"), (pipeline, ""), ("pipelines", pipeline, "service"))
    for pipeline, name, _, settings in _environments(tree):
        yield from _names(settings, (pipeline, name), ("pipelines", pipeline, "environments", name))


def _names(
    block: Node | None, owner: tuple[str, str], path: tuple[str, ...]
) -> Iterator[tuple[tuple[str, str], tuple[str | int, ...], Node, str]]:
    found = _child(block, "secrets")
    for number, item in enumerate(found.value if isinstance(found, SequenceNode) else ()):
        if isinstance(item, ScalarNode):
            yield owner, (*path, "secrets", number), item, item.value


def _plain(tree: Tree) -> Iterator[tuple[tuple[str, str], Node, str]]:
    """Every name under ``env``: (pipeline, environment or ""), node and the name itself."""
    for pipeline, _, body in _entries(_child(tree.root, "pipelines")):
        for name, key, _ in _entries(_child(_child(body, "service"), "env")):
            yield (pipeline, ""), key, name
    for pipeline, environment, _, settings in _environments(tree):
        for name, key, _ in _entries(_child(settings, "env")):
            yield (pipeline, environment), key, name


def _given_twice(tree: Tree) -> Iterator[Problem]:
    """Variables that a container would get twice, from ``env`` and from ``secrets``."""
    plain = [(owner, line_of(node), name) for owner, node, name in _plain(tree)]
    seen: set[tuple[tuple[str, str], str]] = set()
    for owner, path, node, name in _secrets(tree):
        if (owner, name) in seen:
            yield Problem(line_of(node), show_path(path), f"{name} is listed twice here; remove one of them")
        seen.add((owner, name))
        for (pipeline, environment), line, other in plain:
            meet = pipeline == owner[0] and ("" in (environment, owner[1]) or environment == owner[1])
            if name == other and meet:
                message = f"{name} is already under `env` (line {line}); remove one of the two"
                yield Problem(line_of(node), show_path(path), message)


def _remote_without_registry(tree: Tree) -> Iterator[Problem]:
    """Environments on another engine whose pipeline has no registry to pull images from."""
    registries = {
        name: _child(body, "registry") for name, _, body in _entries(_child(tree.root, "pipelines"))
    }
    for pipeline, name, _, settings in _environments(tree):
        engine = _child(settings, "engine")
        if engine and not _is_local(engine) and _is_empty(registries.get(pipeline)):
            path = ("pipelines", pipeline, "environments", name, "engine")
            message = (
                "runs on another machine, which pulls its images from a registry; write "
                f"`registry: registry.example.com/team/{pipeline}` under pipelines.{pipeline}"
            )
            yield Problem(line_of(engine), show_path(path), message)


def _too_large(tree: Tree) -> Iterator[Problem]:
    """Variables and arguments that the kernel gives to no process. (All together are limited by the file's size.)"""
    for pipeline, _, body in _entries(_child(tree.root, "pipelines")):
        common, path = _child(body, "service"), ("pipelines", pipeline)
        yield from _long_texts(common, (*path, "service"))
        yield from _long_arguments(_child(body, "smoke"), (*path, "smoke"))
        for name, _, own in _entries(_child(body, "environments")):
            place = (*path, "environments", name)
            yield from _long_texts(own, place)
            yield from _long_arguments(_child(own, "smoke"), (*place, "smoke"))


def _long_texts(service: Node | None, path: tuple[str, ...]) -> Iterator[Problem]:
    for name, key, value in _entries(_child(service, "env")):
        if _size_of(value, name) > LONGEST_TEXT:
            yield Problem(line_of(key), show_path((*path, "env", name)), _too_long(_size_of(value, name)))
    for name in ("command", "release"):
        yield from _long_arguments(_child(service, name), (*path, name))


def _long_arguments(node: Node | None, path: tuple[str | int, ...]) -> Iterator[Problem]:
    """In a list of words, and in lists of words within it."""
    for name, _, value in _entries(node):
        yield from _long_arguments(value, (*path, name))
    for number, item in enumerate(node.value if isinstance(node, SequenceNode) else ()):
        if isinstance(item, ScalarNode) and _size_of(item) > LONGEST_TEXT:
            yield Problem(line_of(item), show_path((*path, number)), _too_long(_size_of(item)))
        yield from _long_arguments(item, (*path, number))


def _size_of(value: Node, name: str = "") -> int:
    """Bytes that a process is given for it: a name, an equals sign, the text, and a NUL."""
    text = str(value.value) if isinstance(value, ScalarNode) else ""
    return (
        len(text.encode("utf-8", "replace")) + 1 + (len(name.encode("utf-8", "replace")) + 1 if name else 0)
    )


def _too_long(size: int) -> str:
    return (
        f"takes {show_size(size)}, and the kernel gives a process no text longer than {show_size(LONGEST_TEXT)}; put "
        "it into a file of the image, or let the application fetch it"
    )


def _is_local(engine: Node) -> bool:
    """True for this machine's own Docker Engine, and for a value that is not an engine."""
    return _where(engine).kind.local


def _where(engine: Node | None) -> Where:
    """The engine that is written there; this machine's own for a value that is none, which the reader reports."""
    given: object = {key: "" if _is_empty(value) else value.value for key, _, value in _entries(engine)}
    if isinstance(engine, ScalarNode):
        given = engine.value
    try:
        return Where.model_validate(given)
    except ValidationError:
        return Where()


def _is_empty(node: Node | None) -> bool:
    return node is None or (isinstance(node, ScalarNode) and str(node.value) in ("", "~", "null"))


def _own_names(env: Node | None, path: tuple[str, ...]) -> Iterator[Problem]:
    for name, key, _ in _entries(env):
        if name.startswith("PUSHLIVE_"):
            yield Problem(line_of(key), show_path((*path, name)), _OWN)
