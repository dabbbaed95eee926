"""The keys of a service that say what its containers are given besides memory and CPU."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints

from pipeline.config.fields import Model, Size, Words

USUAL_SHM = 64 * 2**20  # bytes: what Docker and containerd give a container

_PATH = re.compile(r"(?!.*//)/[^\0-\x1f\x7f\\]*")


def _path_inside(text: str) -> str:
    if text and (not _PATH.fullmatch(text) or ".." in text.split("/")):
        raise ValueError(
            f"{text[:80]!r} is not a folder in the container; write an absolute path without `..`, such as /srv/app"
        )
    return text


ShmSize = Annotated[Size, Field(ge=2**20, le=2**40)]
InsidePath = Annotated[
    str,
    StringConstraints(max_length=1024),
    AfterValidator(_path_inside),
    Words("an absolute path in the container, such as /srv/app"),
]


class ContainerOptions(Model):
    """What a container is given. A key at its default is not passed on: the engine and the image decide."""

    shm: ShmSize = USUAL_SHM
    """The size of `/dev/shm`, which browsers and databases need. What is in it counts towards `memory`."""
    working_dir: InsidePath = ""
    """The folder in which the application and its commands start. Default: the image's `WORKDIR`."""
