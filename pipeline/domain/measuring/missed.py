"""Which line of a Dockerfile was the first that BuildKit did not find in its cache, and why. Pure.

A step is named as BuildKit names it, ``[build 2/3] COPY go.mod .``: stage, number in the stage, number of the stage's
steps, and the instruction with its variables filled in. What is numbered is in ``dockerfile2llb/convert.go`` of
BuildKit: FROM an image, RUN, COPY, ADD and WORKDIR.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from posixpath import normpath
from typing import Any

from pipeline.config.dockerfile import Instruction, instruction, instructions
from pipeline.config.image_hints import sources_of
from pipeline.config.models import Build
from pipeline.config.shell_words import split
from pipeline.lib.text import one_line

_NAME = re.compile(r"\[(?:([^\]]*\S) )?\s*(\d{1,4})/(\d{1,4})\] (.*)", re.DOTALL)
_COUNTED = ("RUN", "COPY", "ADD", "WORKDIR")
_FILES = ("COPY", "ADD", "WORKDIR")
_SHAPES_FILES = ("FROM", *_COUNTED)  # what a COPY's place in the cache depends on
_SHAPES_RUN = (*_SHAPES_FILES, "ENV", "ARG", "USER", "SHELL")
_BUILD_KEYS = ("context", "dockerfile", "target", "platform")
_SHOWN = 80  # characters of an instruction


@dataclass
class Stage:
    """``base``: the image or the earlier stage that it starts from, as written."""

    name: str
    base: str
    on: Stage | None  # the earlier stage
    body: list[Instruction] = field(default_factory=list)

    @property
    def chain(self) -> tuple[Stage, ...]:
        """The stages that it starts from, the first one first, itself last."""
        return (*(self.on.chain if self.on else ()), self)

    @property
    def image(self) -> str:
        """The image that it starts from in the end."""
        return self.chain[0].base

    def steps(self) -> list[Instruction | None]:
        """What BuildKit numbers, from 1; None for FROM."""
        first: list[Instruction | None] = [] if self.on or self.base == "scratch" else [None]
        return [*first, *(one for one in self.body if one.word in _COUNTED)]


@dataclass(frozen=True)
class Dockerfile:
    stages: tuple[Stage, ...]
    arguments: tuple[Instruction, ...]  # ARG before the first FROM
    text: tuple[str, ...]  # its lines


@dataclass(frozen=True)
class Missed:
    """The first step that was not cached. ``line``: in the Dockerfile, 0 if it is not in it (``ONBUILD`` of a base
    image); ``given``: the instruction with its variables filled in; ``seconds``: that it and all others took that were
    not cached."""

    line: int
    text: str
    seconds: float
    stage: int = -1
    given: Instruction | None = None


@dataclass(frozen=True)
class Built:
    """What a build was made from. ``run``: as ``hello#41``; ``given_back``: that cache was removed after it, "" if that
    is not known."""

    run: str
    build: Build
    dockerfile: Dockerfile
    bases: Mapping[str, str]
    given_back: str = ""


@dataclass(frozen=True)
class Cause:
    """``kind``: rebuild, setting, base, dockerfile, argument, files or unknown. ``text``: a clause; ``path``: the file
    that changed, whose commit can be looked up; a Dockerfile's for its line."""

    kind: str
    text: str
    path: str = ""


def read(text: str) -> Dockerfile:
    """Reads what it can: a Dockerfile that was built is valid."""
    stages, arguments = list[Stage](), list[Instruction]()
    for one in instructions(text):
        if one.word == "FROM":
            words = [*one.rest.split(), "", ""]
            name = words[2].lower() if words[1].lower() == "as" else ""
            named = [stage for stage in stages if stage.name and stage.name == words[0].lower()]
            stages.append(Stage(name, words[0], named[-1] if named else None, [one]))
        elif stages:
            stages[-1].body.append(one)
        elif one.word == "ARG":
            arguments.append(one)
    return Dockerfile(tuple(stages), tuple(arguments), tuple(text.split("\n")))


def first(file: Dockerfile, ran: Iterable[tuple[str, float]]) -> Missed | None:
    """The first line of the Dockerfile among the steps that were carried out: names and seconds. None if all that was
    carried out is a FROM."""
    steps = list(ran)
    seconds = sum(took for _, took in steps)
    found = [one for name, _ in steps if (one := _placed(file, name, seconds))]
    return min(found, key=lambda one: one.line or len(file.text) + 1, default=None)


def _placed(file: Dockerfile, name: str, seconds: float) -> Missed | None:
    match = _NAME.fullmatch(name)
    if match is None or match[4].startswith("FROM "):
        return None
    stage, number, count = _stage(file, (match[1] or "").split()[-1:]), int(match[2]), int(match[3])
    given = instruction(0, match[4].replace("\n", " "))
    if stage is not None:
        steps = file.stages[stage].steps()
        found = steps[number - 1] if len(steps) == count and 0 < number <= count else None
        if found is not None and found.word == given.word:
            return Missed(found.line, shown(found), seconds, stage, _filled(found, given))
    return Missed(0, _short(match[4]), seconds)


def _filled(found: Instruction, given: Instruction) -> Instruction:
    """As it is written, or as BuildKit names it if that has values of variables in it. A list comes without quotes
    then: ``COPY [src, /x]``."""
    if "$" not in found.rest:
        return found
    listed = given.rest.startswith("[") and given.rest.endswith("]")
    return replace(given, rest=json.dumps(given.rest[1:-1].split(", "))) if listed else given


def _stage(file: Dockerfile, name: list[str]) -> int | None:
    """The index of the stage that BuildKit calls so: ``build``, ``stage-1``, nothing for the only one."""
    if len(file.stages) == 1:
        return 0
    for number, stage in enumerate(file.stages):
        if name and name[0].lower() == (stage.name or f"stage-{number}"):
            return number
    return None


def shown(one: Instruction) -> str:
    return _short(" ".join([one.word, *one.flags, one.rest]))


def place(found: Mapping[str, Any]) -> str:
    """Where a build missed its cache, from its record: ``Dockerfile line 7 `COPY go.mod .` ``."""
    where = f"Dockerfile line {found['line']} " if found["line"] else ""
    return f"{where}`{found['text']}`"


def _short(text: str) -> str:
    text = one_line(" ".join(text.split()))
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


# ── why ──────────────────────────────────────────────────────────────────────


def cause(
    missed: Missed, now: Built, before: Built, *, rebuild: bool, changed: Callable[[], Iterable[str]]
) -> Cause:
    """Why that step was not in the cache although the build ``before`` had carried it out. ``changed``: the paths
    below the context that have changed since, without what .dockerignore leaves out."""
    if rebuild:
        return Cause("rebuild", "a build of everything was requested")
    for key in _BUILD_KEYS:
        if getattr(now.build, key) != getattr(before.build, key):
            return Cause("setting", f"`build.{key}` changed in pipelines.yaml")
    if missed.stage < 0 or missed.given is None:
        return _unknown(before)
    stage = now.dockerfile.stages[missed.stage]
    for name in _images(stage, missed.given):
        if name in now.bases and name in before.bases and now.bases[name] != before.bases[name]:
            return Cause("base", f"the image {name} is another one than for {before.run}")
    if at := _rewritten(missed, now.dockerfile, before.dockerfile):
        what = "that line" if at == missed.line else f"line {at} of the Dockerfile"
        return Cause("dockerfile", f"{what} changed", now.build.dockerfile)
    found = sorted(path for path in changed() if _reads(missed.given, path))
    if found:
        return Cause("files", files_text(found), found[0])
    if name := next(iter(_arguments(missed, stage, now, before)), ""):
        return Cause("argument", f"the build argument {name} has another value")
    return _unknown(before)


def _unknown(before: Built) -> Cause:
    known = f"nothing that it names has changed since {before.run}"
    if before.given_back:
        return Cause("unknown", f"why is not certain; {known}, but {before.given_back}")
    return Cause("unknown", f"why is not known; {known}, so its cache may be gone")


def files_text(paths: list[str]) -> str:
    """``a.txt changed``, ``a.txt and 3 more files changed``: the first is the one whose commit is looked up."""
    more = len(paths) - 1
    files, path = "file" if more == 1 else "files", path_text(paths[0])
    return f"{path} and {more} more {files} changed" if more else f"{path} changed"


def path_text(path: str) -> str:
    """The end of a long one."""
    path = one_line(path)
    return path if len(path) <= _SHOWN else f"…{path[1 - _SHOWN :]}"


def _images(stage: Stage, given: Instruction) -> Iterator[str]:
    yield stage.image
    for flag in given.flags:
        name, _, value = flag.partition("=")
        if name == "--from":
            yield value
        elif name == "--mount":
            yield from (part.partition("=")[2] for part in value.split(",") if part.startswith("from="))


def _rewritten(missed: Missed, now: Dockerfile, before: Dockerfile) -> int:
    """The first line up to the missed one that is not as it was, of those that its place in the cache depends on; 0
    for none."""
    words = _SHAPES_FILES if missed.given and missed.given.word in _FILES else _SHAPES_RUN
    stage = now.stages[missed.stage]
    earlier = _same_stage(stage, missed.stage, before)
    if earlier is None:
        return stage.body[0].line
    new = [(one, _whole(one, now)) for one in _chain(stage, words) if _precedes(one, missed, stage)]
    old = [_whole(one, before) for one in _chain(earlier, words)]
    for number, (one, text) in enumerate(new):
        if number >= len(old) or old[number] != text:
            return one.line
    return 0


def _precedes(one: Instruction, missed: Missed, stage: Stage) -> bool:
    return one.line <= missed.line or all(one is not own for own in stage.body)


def _same_stage(stage: Stage, number: int, before: Dockerfile) -> Stage | None:
    named = [one for one in before.stages if stage.name and one.name == stage.name]
    if stage.name:
        return named[-1] if named else None
    return before.stages[number] if number < len(before.stages) else None


def _chain(stage: Stage, words: tuple[str, ...]) -> list[Instruction]:
    return [one for each in stage.chain for one in each.body if one.word in words]


def _whole(one: Instruction, file: Dockerfile) -> tuple[str, ...]:
    """The instruction, with the lines of its here-document if it has one."""
    lines = list[str]()
    if "<<" in one.rest:
        starts = (other.line for stage in file.stages for other in stage.body if other.line > one.line)
        lines = [
            line for line in file.text[one.line : min(starts, default=len(file.text) + 1) - 1] if line.strip()
        ]
    return (one.word, *one.flags, one.rest, *lines)


def _arguments(missed: Missed, stage: Stage, now: Built, before: Built) -> Iterator[str]:
    """The build arguments with another value that are declared before the missed line, and can matter there."""
    declared = [one for one in now.dockerfile.arguments if "$" in stage.chain[0].body[0].rest]
    declared += [one for one in _chain(stage, ("ARG",)) if _precedes(one, missed, stage)]
    names = dict.fromkeys(part.partition("=")[0] for one in declared for part in split(one.rest))
    yield from (name for name in names if now.build.args.get(name) != before.build.args.get(name))


def _reads(given: Instruction, path: str) -> bool:
    """Whether the instruction reads that path of the context, by its patterns as Go's ``filepath.Match`` takes them."""
    parts = path.split("/")
    for source in sources_of(given):
        wanted = normpath(source.strip("/") or ".").split("/")
        if wanted == ["."] or (
            len(wanted) <= len(parts) and all(fnmatchcase(a, b) for a, b in zip(parts, wanted, strict=False))
        ):
            return True
    return False
