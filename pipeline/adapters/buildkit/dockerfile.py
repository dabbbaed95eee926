"""Reads a Dockerfile before it is built: its images and stages, and what is not supported."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from pipeline.config.dockerfile import Instruction, directives, expand, instruction, instructions
from pipeline.errors import AppFailed

_FRONTEND = re.compile(r"(?:docker\.io/)?docker/dockerfile(?::[\w.-]+)?(?:@sha256:[0-9a-f]{64})?")


@dataclass
class Stage:
    name: str
    base: str  # an image, an earlier stage's name, or "scratch"
    line: int
    body: list[Instruction] = field(default_factory=list)


@dataclass(frozen=True)
class Dockerfile:
    syntax: str  # the frontend's image in a "# syntax=" line, "" without one
    stages: tuple[Stage, ...]


def parse(text: str, args: Mapping[str, str] | None = None) -> Dockerfile:
    """The Dockerfile, with the build arguments ``args`` in its FROM lines. Raises AppFailed."""
    known: dict[str, str] = {}
    stages: list[Stage] = []
    for one in instructions(text):
        if one.word == "FROM":
            stages.append(_stage(one, known, len(stages)))
        elif stages:
            stages[-1].body.append(one)
        elif one.word == "ARG":
            known |= _declared(one, known, args or {})
    if not stages:
        raise AppFailed("The Dockerfile has no FROM line.", advice="Begin it with FROM <image>.")
    return Dockerfile(directives(text).get("syntax", ""), tuple(stages))


def needed(file: Dockerfile, target: str = "") -> tuple[Stage, ...]:
    """The stages that the target (default: the last stage) is built from, itself included. Raises AppFailed if there is
    no such target."""
    last = len(file.stages) - 1 if not target else _index(file.stages, target, len(file.stages))
    if last is None:
        names = ", ".join(s.name for s in file.stages if not s.name.isdigit()) or "none has a name"
        raise AppFailed(
            f"The Dockerfile has no stage {target!r} (its stages: {names}).",
            advice="Check `target` under `build`.",
        )
    wanted, todo = set[int](), [last]
    while todo:
        number = todo.pop()
        wanted.add(number)
        found = (_index(file.stages, name, number) for name in _sources(file.stages[number]))
        todo += [index for index in found if index is not None and index not in wanted]
    return tuple(file.stages[number] for number in sorted(wanted))


def images(file: Dockerfile, target: str = "") -> tuple[str, ...]:
    """The images from outside the Dockerfile, each once, in order."""
    found: dict[str, None] = {}
    for stage in needed(file, target):
        for name in _sources(stage):
            if name != "scratch" and _index(file.stages, name, file.stages.index(stage)) is None:
                found[name] = None
    return tuple(found)


def refuse_unsupported(file: Dockerfile, target: str = "") -> None:
    """Raises AppFailed, with the line, for what would need a client's session or would reach beyond the build."""
    for stage in needed(file, target):
        for one in stage.body:
            _refuse(one)
    if file.syntax and not _FRONTEND.fullmatch(file.syntax):
        raise AppFailed(
            f"The Dockerfile needs the frontend {file.syntax[:80]!r}. A frontend is a program of its own, and only "
            "docker/dockerfile is allowed.",
            advice="Write `# syntax=docker/dockerfile:1`, or remove the line.",
        )


def refuse_hidden(text: str) -> None:
    """The same for every line that an Engine without support for here-documents would take for an instruction."""
    for one in instructions(text, heredocs=False):
        if one.word in ("RUN", "ONBUILD"):
            _refuse(one)


def _refuse(one: Instruction) -> None:
    while one.word == "ONBUILD":  # runs when another image is built from this one
        one = instruction(one.line, one.rest)
    why = _unsupported(one)
    if why:
        raise AppFailed(f"Dockerfile, line {one.line}: {why}")


def _unsupported(one: Instruction) -> str:
    """Why the instruction is refused, or "". Only known, literal values pass: a variable could have any value."""
    for flag in one.flags if one.word == "RUN" else ():
        name, _, value = flag.partition("=")
        if name == "--mount" and not _harmless(value):
            return (
                "secret and SSH mounts are not available in builds; only cache, bind and tmpfs mounts are, without "
                "variables or quotes. Fetch what needs a secret before the push, or pass a value that is not secret "
                "under `args` in `build`."
            )
        if name == "--network" and value not in ("default", "none"):
            return (
                f"RUN {flag[:40]} is not allowed: builds must not use the machine's own network. Remove it."
            )
        if name == "--security" and value != "sandbox":
            return f"RUN {flag[:40]} is not allowed: an insecure build has privileges. Remove it."
        if name not in ("--mount", "--network", "--security"):
            return f"RUN {flag[:40]} is not supported. Remove it."
    return ""


def _harmless(mount: str) -> bool:
    """True for a mount within the build: not a client's secret or agent, nor anything hidden in quotes."""
    if not re.fullmatch(r"[^\\\"']*", mount):
        return False
    kinds = [part.partition("=")[2] for part in mount.split(",") if part.partition("=")[0].lower() == "type"]
    return all(kind in ("cache", "bind", "tmpfs") for kind in kinds)


def _stage(one: Instruction, known: Mapping[str, str], number: int) -> Stage:
    words = one.rest.split()
    base = expand(words[0], known) if words else ""
    if not base or len(words) not in (1, 3):
        raise AppFailed(
            f"Dockerfile, line {one.line}: FROM {one.rest!r} does not name an image.",
            advice="Write FROM <image> or FROM <image> AS <name>, and set its arguments under `args`.",
        )
    name = words[2].lower() if len(words) == 3 else str(number)
    return Stage(name, base, one.line)


def _declared(one: Instruction, known: Mapping[str, str], args: Mapping[str, str]) -> dict[str, str]:
    found = {}
    for part in one.rest.split():
        name, given, value = part.partition("=")
        if given or name in args:
            found[name] = args.get(name, expand(value.strip("\"'"), known))
    return found


def _sources(stage: Stage) -> Iterator[str]:
    """The images and stages that a stage starts from or copies from."""
    yield stage.base
    for one in stage.body:
        for flag in one.flags:
            name, _, value = flag.partition("=")
            if name == "--from":
                yield value
            elif name == "--mount":
                yield from (part[5:] for part in value.split(",") if part.startswith("from="))


def _index(stages: tuple[Stage, ...], name: str, before: int) -> int | None:
    """The index of the stage with that name or number among the first ``before`` ones; the last one of that name."""
    if name.isdigit():
        return int(name) if int(name) < before else None
    found = [i for i, stage in enumerate(stages[:before]) if stage.name == name.lower()]
    return found[-1] if found else None
