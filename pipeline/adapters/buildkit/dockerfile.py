"""Reads a Dockerfile before it is built: its images and stages, and what is not supported."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from pipeline.config.dockerfile import Instruction, Unclear, directives, instruction, instructions, read
from pipeline.config.shell_words import expand, split
from pipeline.errors import AppFailed

_FRONTEND = re.compile(r"(?:docker\.io/)?docker/dockerfile(?::[\w.-]+)?(?:@sha256:[0-9a-f]{64})?")
_NUMBER = re.compile(r"[+-]?[0-9]+")  # what Go takes for one
_VALUED = ("--from", "--mount", "--network", "--security")


@dataclass
class Stage:
    name: str  # in lower case, "" without one
    base: str  # an image, an earlier stage's name, or "scratch"
    line: int
    body: list[Instruction] = field(default_factory=list)


@dataclass(frozen=True)
class Dockerfile:
    syntax: str  # the frontend's image in a "# syntax=" line, "" without one
    stages: tuple[Stage, ...]


def parse(
    text: str, args: Mapping[str, str] | None = None, platforms: Mapping[str, str] | None = None
) -> Dockerfile:
    """The Dockerfile, with the build arguments ``args`` in its FROM lines, and ``platforms``: those that BuildKit sets
    by itself (``TARGETARCH``). Raises AppFailed, also for what versions of BuildKit read differently."""
    args = args or {}
    known = {name: args.get(name, value) for name, value in (platforms or {}).items()}
    stages: list[Stage] = []
    escape = directives(text).get("escape", "\\")
    try:
        found = read(text)
    except Unclear as error:
        raise AppFailed(
            f"Dockerfile, line {error.line}: {error.why}. Versions of BuildKit read that differently.",
            advice="Write it in a simpler way: directives first, one escape at the end of a line, scripts in files.",
        ) from error
    for one in found:
        _refuse_odd_flags(one)
        if one.word == "FROM":
            stages.append(_stage(one, known, escape))
        elif stages:
            stages[-1].body.append(one)
        elif one.word == "ARG":
            known |= _declared(one, known, args, escape)
    if not stages:
        raise AppFailed("The Dockerfile has no FROM line.", advice="Begin it with FROM <image>.")
    return Dockerfile(directives(text).get("syntax", ""), tuple(stages))


def platform_args(target: str, build: str) -> dict[str, str]:
    """The build arguments that BuildKit sets by itself, for two platforms: ``linux/arm64``, ``linux/arm/v7``."""
    found: dict[str, str] = {}
    for prefix, platform in (("TARGET", target or build), ("BUILD", build)):
        system, _, rest = platform.partition("/")
        arch, _, variant = rest.partition("/")
        arch = {"x86_64": "amd64", "aarch64": "arm64", "armhf": "arm"}.get(arch, arch)
        variant = variant or ("v7" if arch == "arm" else "")
        variant = "" if (arch, variant) == ("arm64", "v8") else variant
        whole = "/".join(part for part in (system, arch, variant) if part)
        values = {"PLATFORM": whole, "OS": system, "ARCH": arch, "VARIANT": variant}
        found |= {f"{prefix}{name}": value for name, value in values.items()}
    return found


def needed(file: Dockerfile, target: str = "") -> tuple[Stage, ...]:
    """The stages that the target (default: the last stage) is built from, itself included. Raises AppFailed if there is
    no such target."""
    last = {len(file.stages) - 1} if not target else _indexes(file.stages, target)
    if not last:
        names = ", ".join(s.name for s in file.stages if s.name) or "none has a name"
        raise AppFailed(
            f"The Dockerfile has no stage {target!r} (its stages: {names}).",
            advice="Check `target` under `build`.",
        )
    wanted, todo = set[int](), last
    while todo:
        number = todo.pop()
        wanted.add(number)
        todo |= _base(file.stages, number)
        for name in _copied(file.stages[number]):
            todo |= _indexes(file.stages, name)
        todo -= wanted
    return tuple(file.stages[number] for number in sorted(wanted))


def images(file: Dockerfile, target: str = "") -> tuple[str, ...]:
    """The images from outside the Dockerfile, each once, in order."""
    found: dict[str, None] = {}
    for stage in needed(file, target):
        number = next(i for i, each in enumerate(file.stages) if each is stage)
        base = () if _base(file.stages, number) else (stage.base,)
        copied = (name for name in _copied(stage) if not _indexes(file.stages, name))
        found |= dict.fromkeys(name for name in (*base, *copied) if name != "scratch")
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
    for one in instructions(text, with_heredocs=False):
        if one.word in ("RUN", "ONBUILD"):
            _refuse(one)


def _plain(one: Instruction) -> Instruction:
    """What an ONBUILD has in it; it runs when another stage or image is built from this one."""
    while one.word == "ONBUILD":
        one = instruction(one.line, one.rest)
    return one


def _refuse_odd_flags(one: Instruction) -> None:
    for flag in _plain(one).flags:
        name, given, _ = flag.partition("=")
        if not flag.isascii() or (name in _VALUED and not given):
            raise AppFailed(
                f"Dockerfile, line {one.line}: {flag[:40]!r} is not a valid flag.",
                advice="Write flags as --name=value, in ASCII.",
            )


def _refuse(one: Instruction) -> None:
    one = _plain(one)
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


def _stage(one: Instruction, known: Mapping[str, str], escape: str) -> Stage:
    words = one.rest.split()
    try:
        base = expand(words[0], known, escape) if words else ""
    except ValueError as error:
        raise _not_an_image(one, f"cannot be read: {error}") from error
    if not base or len(words) not in (1, 3) or not one.rest.isascii():
        raise _not_an_image(one, "does not name an image")
    return Stage(words[2].lower() if len(words) == 3 else "", base, one.line)


def _not_an_image(one: Instruction, why: str) -> AppFailed:
    return AppFailed(
        f"Dockerfile, line {one.line}: FROM {one.rest!r} {why}.",
        advice="Write FROM <image> or FROM <image> AS <name>, and set its arguments under `args`.",
    )


def _declared(
    one: Instruction, known: Mapping[str, str], args: Mapping[str, str], escape: str
) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in split(one.rest, escape):
        name, given, value = part.partition("=")
        try:
            if given or name in args:
                found[name] = args[name] if name in args else expand(value, {**known, **found}, escape)
        except ValueError as error:
            raise AppFailed(f"Dockerfile, line {one.line}: ARG {part!r} cannot be read: {error}.") from error
    return found


def _copied(stage: Stage) -> Iterator[str]:
    """The images and stages that a stage copies from or mounts."""
    for one in stage.body:
        for flag in _plain(one).flags:
            name, _, value = flag.partition("=")
            if name == "--from":
                yield value
            elif name == "--mount":
                pairs = (part.partition("=") for part in value.split(","))
                yield from (given for key, _, given in pairs if key.strip().lower() == "from")


def _base(stages: tuple[Stage, ...], number: int) -> set[int]:
    """The index of the earlier stage that this one starts from: the last of that name. Numbers are images here."""
    name = stages[number].base.lower()
    return set([i for i in range(number) if stages[i].name == name][-1:])


def _indexes(stages: tuple[Stage, ...], name: str) -> set[int]:
    """The indexes of every stage with that name, also of a later one, or else with that number."""
    named = {i for i, stage in enumerate(stages) if stage.name and stage.name == name.lower()}
    if named or not _NUMBER.fullmatch(name) or len(name) > 9:
        return named
    return {int(name)} if 0 <= int(name) < len(stages) else set()
