"""What an image declares that does not go together with a pipeline's configuration: ``check`` reads it in a Dockerfile,
a build in the image itself."""

from __future__ import annotations

import json
import posixpath
import shlex
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from posixpath import basename

from pipeline.config.dockerfile import Instruction, instructions
from pipeline.config.models import Pipeline, Service
from pipeline.config.shell_words import split
from pipeline.config.workload.volumes import covers, line_for

_SHELL = ("/bin/sh", "-c")  # what a shell form is run by
_OF_EVERY_IMAGE = {
    "/bin", "/etc", "/lib", "/lib64", "/opt", "/sbin", "/usr", "/usr/bin", "/usr/lib", "/usr/local", "/usr/local/bin",
    "/usr/sbin", "/usr/share", "/var",
}  # fmt: skip


@dataclass(frozen=True)
class Declared:
    """``volumes``: folders (``VOLUME``); ``entrypoint``: its words; a shell form as the Engine runs it; ``filled``:
    where COPY and ADD put files, as far as a Dockerfile says it without variables."""

    volumes: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] = ()
    filled: tuple[str, ...] = ()


def declared(dockerfile: str) -> Declared:
    """What the last stage declares, and the stages that it starts from."""
    stages: dict[str, Declared] = {}
    folders: dict[str, str] = {}  # WORKDIR at the end of each stage
    name, found, folder = "", Declared(), "/"
    for one in instructions(dockerfile):
        if one.word == "FROM":
            words = [*one.rest.lower().split(), "", ""]
            name, found = words[2] if words[1] == "as" else "", stages.get(words[0], Declared())
            folder = folders.get(words[0], "/")
        elif one.word == "WORKDIR":
            folder = posixpath.join(folder, one.rest.strip())
        elif one.word in ("COPY", "ADD"):
            found = replace(found, filled=(*found.filled, *_target(one, folder)))
        elif one.word == "VOLUME":
            listed = _list(one)
            more = split(one.rest) if listed is None else listed
            found = replace(found, volumes=(*found.volumes, *more))
        elif one.word == "ENTRYPOINT":
            listed = _list(one)
            found = replace(found, entrypoint=(*_SHELL, one.rest) if listed is None else tuple(listed))
        stages[name], folders[name] = found, folder
    return replace(found, volumes=tuple(sorted(set(found.volumes))), filled=tuple(sorted(set(found.filled))))


def _target(copy: Instruction, folder: str) -> tuple[str, ...]:
    words = _list(copy) or split(copy.rest)
    path = posixpath.join(folder, words[-1]) if words else ""
    return (posixpath.normpath(path),) if path and "$" not in path else ()


def reads(dockerfile: str) -> Callable[[str], bool]:
    """Whether a build by that Dockerfile reads a path of its context, or what is below it. What it cannot tell, it
    takes for read."""
    sources = {one for each in instructions(dockerfile) for one in _sources(each)}
    return lambda path: any(
        one == "." or covers([f"/{one}"], path) or covers([f"/{path}"], one) for one in sources
    )


def _sources(one: Instruction) -> Iterator[str]:
    """Folders and files below the context, ``.`` for all of it."""
    return map(_known_part, sources_of(one))


def sources_of(one: Instruction) -> Iterator[str]:
    """What an instruction reads of the build's context, as written: paths and patterns."""
    flags = [flag.partition("=")[2] for flag in one.flags if flag.startswith("--mount=")]
    if one.word in ("COPY", "ADD") and not any(flag.startswith("--from=") for flag in one.flags):
        words = _list(one) or split(one.rest)
        yield from (word for word in words[:-1] if "://" not in word and not word.startswith("<<"))
    for mount in flags if one.word == "RUN" else ():
        values = dict(part.partition("=")[::2] for part in mount.split(","))
        if values.get("type", "bind") == "bind" and "from" not in values:
            yield values.get("source") or values.get("src") or "."


def _known_part(source: str) -> str:
    """The folder above the first part with a pattern or a variable in it."""
    parts: list[str] = []
    for part in posixpath.normpath(source.strip("/") or ".").split("/"):
        if set(part) & set("*?[$\\"):
            return "/".join(parts) or "."
        parts.append(part)
    return "/".join(parts)


def _list(one: Instruction) -> list[str] | None:
    """``["/a", "/b"]``; None for any other form."""
    with suppress(ValueError):
        words = json.loads(one.rest)
        if isinstance(words, list):
            return [str(word) for word in words]
    return None


def _kept(service: Service) -> list[str]:
    """The folders whose files outlive a release."""
    return [*(one.path for one in service.volumes.values()), *service.binds]


def unwise(image: Declared, pipeline: Pipeline) -> Iterator[str]:
    """A clause for each, beginning with what the image declares."""
    services = [pipeline.render(name).service for name in pipeline.environments]
    for volume in image.volumes:
        if not all(covers(_kept(service), volume) for service in services):
            ends = "what is written there ends with the release. To keep it, write under `service`"
            yield f"declares VOLUME {volume}; {ends} {line_for(volume)}"
    yield from _laid_over(image, services)
    if not image.entrypoint:
        return
    if image.entrypoint[: len(_SHELL)] == _SHELL and any(service.command for service in services):
        yield (
            "has an ENTRYPOINT in shell form, which ignores `command`; write it as a list: "
            f"ENTRYPOINT {json.dumps(image.entrypoint[-1].split()[:8])}"
        )
    given = [one.release.command for one in services if one.release.command and one.release.entrypoint]
    if given:
        yield from _given(image.entrypoint, given[0])


def _laid_over(image: Declared, services: list[Service]) -> Iterator[str]:
    """The volumes at folders that have files of the image."""
    found = {volume.path: name for service in services for name, volume in service.volumes.items()}
    for path, name in sorted(found.items()):
        if path in _OF_EVERY_IMAGE or any(covers([path], one) for one in image.filled):
            yield (
                f"puts files into {path}, and the volume {name} is laid over it: Docker fills a volume only once, when "
                f"it is made, and Kubernetes never, so later pushes do not change what is below {path}. Give the "
                "volume a folder of its own"
            )


def _given(entrypoint: tuple[str, ...], command: tuple[str, ...]) -> Iterator[str]:
    """What is wrong with an ENTRYPOINT that is given the release command."""
    if entrypoint[: len(_SHELL)] == _SHELL:
        yield (
            "has an ENTRYPOINT in shell form, which ignores `release` and would start the application instead; write "
            "`entrypoint: false` under `release`, or the ENTRYPOINT as a list"
        )
    elif basename(command[0]) in {basename(word) for word in entrypoint}:
        yield (
            f"has the ENTRYPOINT {json.dumps(list(entrypoint))}, which is given `release`: {shlex.join(command)}, so "
            f"{command[0]} is there twice; leave it out of the command, or write `entrypoint: false` under `release`"
        )
