"""Reads a Dockerfile before it is built: its images and stages, and what is not supported."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from pipeline.errors import AppFailed

_DIRECTIVE = re.compile(r"^#\s*([A-Za-z]+)\s*=\s*(.*?)\s*$")
_SPACE = re.compile(r"[\t\v\f\r ]+")  # what BuildKit takes for a space
_FRONTEND = re.compile(r"(?:docker\.io/)?docker/dockerfile(?::[\w.-]+)?(?:@sha256:[0-9a-f]{64})?")
_HEREDOC = re.compile(r"<<-?\s*([\"']?)([A-Za-z_]\w*)\1")
_VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)(?::?([-+])([^}]*))?\})")


@dataclass(frozen=True)
class Instruction:
    line: int  # the first one, from 1
    word: str  # in upper case
    flags: tuple[str, ...]  # "--from=build"
    rest: str


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
    directives = _directives(text)
    known: dict[str, str] = {}
    stages: list[Stage] = []
    for one in _instructions(text, directives.get("escape", "\\")):
        if one.word == "FROM":
            stages.append(_stage(one, known, len(stages)))
        elif stages:
            stages[-1].body.append(one)
        elif one.word == "ARG":
            known |= _declared(one, known, args or {})
    if not stages:
        raise AppFailed("The Dockerfile has no FROM line.", advice="Begin it with FROM <image>.")
    return Dockerfile(directives.get("syntax", ""), tuple(stages))


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
    for one in _instructions(text, _directives(text).get("escape", "\\"), heredocs=False):
        if one.word in ("RUN", "ONBUILD"):
            _refuse(one)


def _refuse(one: Instruction) -> None:
    while one.word == "ONBUILD":  # runs when another image is built from this one
        one = _instruction(one.line, one.rest)
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


def _directives(text: str) -> dict[str, str]:
    """`# syntax=…` and `# escape=…`, which count only at the very beginning of the file."""
    found: dict[str, str] = {}
    for line in _lines(text):
        match = _DIRECTIVE.match(line.strip())
        if not match or match[1].lower() in found:
            break
        found[match[1].lower()] = match[2]
    return found


def _lines(text: str) -> list[str]:
    """Lines end with a line feed only, as in BuildKit."""
    return [line.removesuffix("\r") for line in text.removeprefix("\ufeff").split("\n")]


def _instructions(text: str, escape: str, *, heredocs: bool = True) -> Iterator[Instruction]:
    lines = _lines(text)
    i = 0
    while i < len(lines):
        first, joined = i + 1, ""
        while i < len(lines):
            line, i = lines[i], i + 1
            if not line.strip() or line.lstrip().startswith("#"):
                if not joined:
                    break
                continue
            stripped = line.rstrip()
            if not stripped.endswith(escape):
                joined += line
                break
            joined += stripped[: -len(escape)]
        if not joined.strip():
            continue
        one = _instruction(first, joined.strip())
        if heredocs and one.word in ("RUN", "COPY", "ADD"):
            i = _after_heredocs(lines, i, one.rest)
        yield one


def _instruction(line: int, text: str) -> Instruction:
    word, rest = [*_SPACE.split(text, maxsplit=1), ""][:2]
    flags = []
    rest = rest.strip()
    while match := re.match(r"(--[^\s=]*(?:=(?:\"[^\"]*\"|\S*))?)(?:\s+|$)", rest):
        flags.append(match[1].replace('"', ""))
        rest = rest[match.end() :]
    return Instruction(line, word.upper(), tuple(flags), rest)


def _after_heredocs(lines: list[str], i: int, rest: str) -> int:
    for _, word in _HEREDOC.findall(rest):
        end = next((n for n in range(i, len(lines)) if lines[n].strip() == word), None)
        if end is None:  # it was not a here-document
            return i
        i = end + 1
    return i


def _stage(one: Instruction, known: Mapping[str, str], number: int) -> Stage:
    words = one.rest.split()
    base = _expand(words[0], known) if words else ""
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
            found[name] = args.get(name, _expand(value.strip("\"'"), known))
    return found


def _expand(text: str, known: Mapping[str, str]) -> str:
    def value(match: re.Match[str]) -> str:
        found = known.get(match[1] or match[2], "")
        if match[3] == "-":
            return found or match[4]
        return match[4] if match[3] == "+" and found else "" if match[3] == "+" else found

    return _VARIABLE.sub(value, text.strip("\"'"))


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
