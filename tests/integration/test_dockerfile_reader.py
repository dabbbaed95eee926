"""Our reader of Dockerfiles against the Engine's own: a build reads the images that we found, or we refuse it."""

import random
import uuid

import pytest

from pipeline.adapters.buildkit.dockerfile import images, parse, platform_args
from pipeline.adapters.buildkit.trace import Vertex, decode
from pipeline.adapters.docker_api.build_stream import build
from pipeline.errors import AppFailed
from pipeline.ports.clock import Deadline
from tests.support.build_images import CLOCK, Workshop, tar

SEEDS = 40
TOP = [
    "",
    "",
    "",
    "# escape=`\n",
    "# a comment\n",
    "#!/bin/x\n",
    "ARG A=0 B='2'\n",
    "ARG A=0\nARG B=$A\n",
    "\n# escape=`\n",
]
BASES = ["T:0", "T:${A:-1}", "T:${B:-${A:-0}}", '"T:1"', "T:0 AS one", "T:1 as ONE", "scratch", "T:$TARGETOS"]
LINES = [
    "COPY --from=T:{} /mark /x",
    "copy\t--from=T:{} /mark /x",
    "COPY \\\n --from=T:{} /mark /x",
    "COPY `\n --from=T:{} /mark /x",
    "COPY \\\n# in between\n\n --from=T:{} /mark /x",
    "COPY --from='T:{}' /mark /x",
    "COPY --chown=0 --from=T\\:{} /mark /x",
    "RUN echo COPY \\\n --from=T:{} /mark /x",
    "RUN echo `\nCOPY --from=T:{} /mark /x",
    "RUN --mount=type=bind,FROM=T:{},target=/y true",
    "RUN true <<CMD\nCOPY --from=T:{} /mark /x\nCMD",
    "RUN true << CMD\nCOPY --from=T:{} /mark /x\nCMD",
    "RUN true <<E\nCOPY --from=T:{} /mark /x\nE",
    "RUN true <<E\nCOPY --from=T:{} /mark \\\nE",
    "RUN true '<<CMD\nCOPY --from=T:{} /mark /x\nCMD",
    "RUN echo $((1<<3))\nCOPY --from=T:{} /mark /x",
    "RUN [ 1 ] && true \\ \nCOPY --from=T:{} /mark /x",
    "RUN true \\\\\nCOPY --from=T:{} /mark /x",
    "CMD <<CMD\nCOPY --from=T:{} /mark /x\nCMD",
    "  # COPY --from=T:{} /mark /x",
    "COPY --from=one /mark /x",
    "COPY --from=+0 /mark /x",
    "ENV A=<<CMD\nCOPY --from=T:{} /mark /x\nCMD",
    "FROM T:{}",
]


@pytest.fixture(scope="module")
def workshop():
    one = Workshop()
    base = one.client.images.get(one.base)
    name = f"{one.name}-t"
    tags = [*map(str, range(6)), "linux"]
    for tag in tags:
        base.tag(name, tag)
    yield one
    for tag in tags:
        one.client.api.remove_image(f"{name}:{tag}", noprune=True)
    one.close()


def read_by_the_engine(workshop, text):
    """The images in the build's record; None if the Engine refuses the Dockerfile. Its last line fails before any step
    takes long."""
    params = {"dockerfile": "Dockerfile"}
    body = iter([tar({"Dockerfile": text.encode()})])
    found, steps = set(), 0
    for record in build(workshop.api, uuid.uuid4().hex, params, body, Deadline(CLOCK, 60, "The build")):
        if record.get("id") != "moby.buildkit.trace":
            continue
        for entry in decode(record["aux"]):
            if isinstance(entry, Vertex):
                found |= {entry.image} - {""}
                steps += entry.is_step
    return {name.removeprefix("docker.io/library/").partition("@")[0] for name in found} if steps else None


def made(number, name):
    chance = random.Random(number)
    lines = [f"FROM {chance.choice(BASES)}"]
    for at in range(chance.randint(1, 4)):
        lines.append(chance.choice(LINES).format(at + 2))
    text = chance.choice(TOP) + "\n".join([*lines, "COPY missing /\n"])
    return text.replace("T:", f"{name}-t:").replace("T\\:", f"{name}-t\\:")


def test_fault_18_the_engine_reads_the_images_that_we_found(workshop):
    platforms = platform_args("", workshop.api.platform())
    compared = refused = 0
    for number in range(SEEDS):
        text = made(number, workshop.name)
        try:
            ours = set(images(parse(text, {}, platforms)))
        except AppFailed:
            refused += 1
            continue
        if "one" in ours:  # no stage of that name: the Engine would ask a registry
            continue
        theirs = read_by_the_engine(workshop, text)
        if theirs is not None:
            compared += 1
            assert theirs == ours, text
    assert compared >= SEEDS // 3
    assert refused >= SEEDS // 10
