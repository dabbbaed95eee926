"""What an image declares that does not go together with a pipeline's configuration: ``check`` reads it in a Dockerfile,
a build in the image itself."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from pipeline.config.dockerfile import Instruction, instructions
from pipeline.config.models import Pipeline
from pipeline.config.shell_words import split

_SHELL = ("/bin/sh", "-c")  # what a shell form is run by


@dataclass(frozen=True)
class Declared:
    """``volumes``: folders (``VOLUME``); ``entrypoint``: its words; a shell form as the Engine runs it."""

    volumes: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] = ()


def declared(dockerfile: str) -> Declared:
    """What the last stage declares, and the stages that it starts from."""
    stages: dict[str, Declared] = {}
    name, found = "", Declared()
    for one in instructions(dockerfile):
        if one.word == "FROM":
            words = [*one.rest.lower().split(), "", ""]
            name, found = words[2] if words[1] == "as" else "", stages.get(words[0], Declared())
        elif one.word == "VOLUME":
            listed = _list(one)
            more = split(one.rest) if listed is None else listed
            found = Declared((*found.volumes, *more), found.entrypoint)
        elif one.word == "ENTRYPOINT":
            listed = _list(one)
            found = Declared(found.volumes, (*_SHELL, one.rest) if listed is None else tuple(listed))
        stages[name] = found
    return Declared(tuple(sorted(set(found.volumes))), found.entrypoint)


def _list(one: Instruction) -> list[str] | None:
    """``["/a", "/b"]``; None for any other form."""
    with suppress(ValueError):
        words = json.loads(one.rest)
        if isinstance(words, list):
            return [str(word) for word in words]
    return None


def unwise(image: Declared, pipeline: Pipeline) -> Iterator[str]:
    """A clause for each, beginning with what the image declares."""
    for volume in image.volumes:
        ends = "what is written there ends with the release: keep it in a database or an object store"
        yield f"declares VOLUME {volume}; {ends}"
    if not image.entrypoint:
        return
    services = [pipeline.render(name).service for name in pipeline.environments]
    if image.entrypoint[: len(_SHELL)] == _SHELL and any(service.command for service in services):
        yield (
            "has an ENTRYPOINT in shell form, which ignores `command`; write it as a list: "
            f"ENTRYPOINT {json.dumps(image.entrypoint[-1].split()[:8])}"
        )
    elif any(service.release.command for service in services):
        yield (
            f"has the ENTRYPOINT {json.dumps(list(image.entrypoint))}, and `release` runs without it, as the commands "
            "of smoke checks do; write it in front of the command if that needs it"
        )
