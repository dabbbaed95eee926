"""What runs in a slot on Docker, as properties that can be compared. Pure."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from pipeline.adapters.docker.parity.by_hand import LIMITS, has_image, mounts_of, variables
from pipeline.adapters.docker_api.api import Found
from pipeline.adapters.docker_api.labels import Body
from pipeline.config.parity.properties import SET, Value, plain
from pipeline.domain.engine_types import SlotSpec
from pipeline.domain.parity import seen


@dataclass(frozen=True)
class Running:
    """A container that runs: as inspected, the body that it was made from, and its image's own variables, None if they
    are not known."""

    found: Found
    body: Body
    image_env: tuple[str, ...] | None = ()


def inside(
    spec: SlotSpec,
    web: Iterable[Running],
    beside: Iterable[tuple[str, Running]],
    settable: Collection[str] = LIMITS,
) -> dict[str, Value | None]:
    """``web``: its containers; ``beside``: those of its processes, with their names; ``settable``: the limits that the
    Engine can set. {} if none runs."""
    mine, others = list(web), list(beside)
    every = [*mine, *(one for _, one in others)]
    if not every:
        return {}
    service = spec.config.service
    hosts = [one.found["HostConfig"] for one in every]
    found: dict[str, Value | None] = {
        "image": seen.merged(_image(spec, one) for one in every),
    }
    if "Memory" in settable:
        found["memory"] = seen.merged(seen.memory(int(host.get("Memory") or 0)) for host in hosts)
    if "NanoCpus" in settable:
        found["cpu"] = seen.merged(seen.cores((host.get("NanoCpus") or 0) / 1e9) for host in hosts)
    pids = seen.merged(seen.count(int(host.get("PidsLimit") or 0)) for host in hosts)
    if "PidsLimit" in settable and pids.same != str(service.pids):
        found["pids"] = pids
    if spec.web:
        found["replicas"] = seen.count(len(mine))
    for name, process in service.processes_in_use.items():
        running = sum(1 for other, _ in others if other == name)
        if running != process.replicas:
            found[f"processes.{name}"] = plain(f"{running} of {process.replicas} run")
    return found | _variables(spec, every) | _mounts(spec, every) | _networks(spec, every)


def _image(spec: SlotSpec, one: Running) -> Value:
    """The release's, by whichever name the engine has it."""
    return seen.image(spec.image if has_image(one.found, one.body) else str(one.found["Image"]))


def _variables(spec: SlotSpec, every: list[Running]) -> dict[str, Value | None]:
    """Those of the configuration, and those that are neither Pushlive's own nor the image's. A filled-in reference is
    compared as it is written."""
    found: dict[str, Value | None] = {}
    config, filled = spec.config.service.env, set(spec.filled)
    sides = [(variables(one.found["Config"].get("Env") or ()), one) for one in every]
    for name in sorted({name for has, _ in sides for name in has} | config.keys()):
        values = [has.get(name) for has, _ in sides]
        if name in filled or name in spec.given:
            continue
        if name not in config and all(_own(has, one, name) for has, one in sides):
            continue
        there = [seen.hidden(value) for value in values if value is not None]
        found[f"env.{name}"] = seen.merged(there) if there else None
    for name in sorted(spec.given):
        found[f"secrets.{name}"] = plain(SET) if all(name in has for has, _ in sides) else None
    return found


def _own(has: dict[str, str], one: Running, name: str) -> bool:
    """Whether the container has that variable from Pushlive or from its image, as they have it."""
    made = variables(one.body["Env"])
    if one.image_env is None and name not in made:
        return True
    return has.get(name) == {**variables(one.image_env or ()), **made}.get(name)


def _mounts(spec: SlotSpec, every: list[Running]) -> dict[str, Value | None]:
    found: dict[str, Value | None] = {}
    paths = {one.path: name for name, one in spec.config.service.volumes.items()}
    for path, source in _other_mounts(every):
        name = f"volumes.{paths[path]}" if path in paths else f"mounts.{path.strip('/').replace('/', '-')}"
        found[name] = plain(source) if source else None
    return found


def _other_mounts(every: list[Running]) -> Iterator[tuple[str, str]]:
    for one in every:
        has, wanted = mounts_of(one.found), mounts_of({"HostConfig": one.body["HostConfig"]})
        for path in sorted({*has, *wanted}):
            if has.get(path) != wanted.get(path):
                yield path, has.get(path, "")


def _networks(spec: SlotSpec, every: list[Running]) -> dict[str, Value | None]:
    """Beside the environment's own."""
    asked = list(spec.config.service.networks)
    has = {name for one in every for name in one.found["NetworkSettings"]["Networks"]}
    own = {one.body["HostConfig"]["NetworkMode"] for one in every}
    more = sorted(has - own - set(asked))
    if not more:
        return {}
    return {"networks": Value(json.dumps([*asked, *more]), ", ".join([*asked, *more]))}
