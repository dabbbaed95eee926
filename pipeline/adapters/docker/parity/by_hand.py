"""How a container differs from the body that it was made from. Pure.

``docker update`` changes limits in place and leaves the labels, so that nothing but a comparison of values finds it.
The same holds for a container that someone made again under its name and with its labels.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from pipeline.adapters.docker_api.api import Found
from pipeline.adapters.docker_api.container_calls import UNLESS_STOPPED
from pipeline.adapters.docker_api.labels import Body
from pipeline.domain.parity.by_hand import ByHand, changed
from pipeline.lib.secret import HIDDEN
from pipeline.lib.text import brief
from pipeline.lib.units import show_size

NOTHING = "nothing"
LIMITS = ("Memory", "MemorySwap", "NanoCpus", "PidsLimit")
_TOLD = {
    "Memory": "MemoryLimit",
    "MemorySwap": "SwapLimit",
    "NanoCpus": "CpuCfsQuota",
    "PidsLimit": "PidsLimit",
}


@dataclass(frozen=True)
class Change:
    """``name``: of a property, as in ``pipeline.config.parity``; ``has``, ``wanted``: for people, never a variable's
    value. ``network``: the one that it is in and should not be; ``in_place``: it can be changed back while the
    container runs."""

    name: str
    has: str
    wanted: str
    network: str = ""
    in_place: bool = False

    @property
    def line(self) -> ByHand:
        return changed(self.name, self.wanted, self.has)

    def __str__(self) -> str:
        return self.line


def limited(info: Mapping[str, object]) -> frozenset[str]:
    """Those of LIMITS that an Engine can set, by what it says of itself. A kernel without one of them makes the Engine
    leave it out with a warning, which is no one's change."""
    return frozenset(key for key in LIMITS if info.get(_TOLD[key], True))


def changes(
    found: Found,
    body: Body,
    image_env: Collection[str] | None,
    given: Collection[str],
    networks: Collection[str],
    settable: Collection[str] = LIMITS,
) -> tuple[Change, ...]:
    """``found``: as inspected; ``image_env``: the image's own variables, ``NAME=value`` each, None if they are not
    known; ``given``: names of variables whose values are secret; ``networks``: those that it should be in;
    ``settable``: as ``limited``."""
    return (*_image(found, body), *_variables(found, body, image_env, given), *_limits(found, body, settable),
            *_command(found, body), *_mounts(found, body), *_networks(found, networks))  # fmt: skip


def limits_of(body: Body, settable: Collection[str] = LIMITS) -> Body:
    """What makes the limits what they were, for the Engine's ``update``."""
    wanted = {key: body["HostConfig"][key] for key in LIMITS if key in settable}
    return wanted | {"RestartPolicy": UNLESS_STOPPED}


def has_image(found: Found, body: Body) -> bool:
    return body["Image"] in (found["Image"], found["Config"]["Image"])


def variables(entries: Collection[str]) -> dict[str, str]:
    return {name: value for name, _, value in (entry.partition("=") for entry in entries)}


def mounts_of(found: Found) -> dict[str, str]:
    """The source of each folder of a container that a person or Pushlive gave it, by its path; not those of the
    image's own volumes."""
    host = found["HostConfig"]
    places = {str(one.get("Target")): str(one.get("Source", "")) for one in host.get("Mounts") or ()}
    for bind in host.get("Binds") or ():
        source, _, rest = str(bind).partition(":")
        places[rest.partition(":")[0]] = source
    return places


def _image(found: Found, body: Body) -> Iterator[Change]:
    if not has_image(found, body):
        yield Change("image", brief(str(found["Config"]["Image"])[:40]), brief(str(body["Image"])[:40]))


def _variables(
    found: Found, body: Body, image_env: Collection[str] | None, given: Collection[str]
) -> Iterator[Change]:
    has, made = variables(found["Config"].get("Env") or ()), variables(body["Env"])
    wanted: Mapping[str, str] = {**variables(image_env or ()), **made}
    names = {*wanted, *given} if image_env is None else {*has, *wanted, *given}
    for name in sorted(names):
        if name in given:
            if name not in has:
                yield Change(f"secrets.{name}", NOTHING, HIDDEN)
        elif has.get(name) != wanted.get(name):
            yield Change(f"env.{name}", _hidden(has, name), _hidden(wanted, name))


def _hidden(values: Mapping[str, str], name: str) -> str:
    """A value set by hand may be a secret, which redaction does not know."""
    return HIDDEN if name in values else NOTHING


def _limits(found: Found, body: Body, settable: Collection[str]) -> Iterator[Change]:
    has, wanted = found["HostConfig"], body["HostConfig"]
    memory = [key for key in ("Memory", "MemorySwap") if key in settable]
    if any((has.get(key) or 0) != wanted[key] for key in memory):
        yield Change("memory", _memory(has), _memory(wanted), in_place=True)
    if "NanoCpus" in settable and (has.get("NanoCpus") or 0) != wanted["NanoCpus"]:
        yield Change("cpu", _cores(has.get("NanoCpus") or 0), _cores(wanted["NanoCpus"]), in_place=True)
    if "PidsLimit" in settable and (has.get("PidsLimit") or 0) != wanted["PidsLimit"]:
        yield Change("pids", str(has.get("PidsLimit") or "no limit"), str(wanted["PidsLimit"]), in_place=True)
    for key, name in (("CpusetCpus", "cpuset"), ("CpuQuota", "cpu quota")):
        if has.get(key):
            yield Change(name, brief(str(has[key])), NOTHING)
    policy = (has.get("RestartPolicy") or {}).get("Name") or "no"
    if policy != UNLESS_STOPPED["Name"]:
        yield Change("restart policy", policy, UNLESS_STOPPED["Name"], in_place=True)


def _memory(host: Body) -> str:
    memory, swap = int(host.get("Memory") or 0), int(host.get("MemorySwap") or 0)
    text = show_size(memory) if memory else "no limit"
    return text if swap == memory else f"{text}, and swap"


def _cores(nano: int) -> str:
    return f"{nano / 1e9:g}" if nano else "no limit"


def _command(found: Found, body: Body) -> Iterator[Change]:
    for key, name in (("Cmd", "command"), ("User", "user"), ("WorkingDir", "working_dir")):
        if key in body and (found["Config"].get(key) or "") != body[key]:
            yield Change(name, brief(str(found["Config"].get(key) or NOTHING)), brief(str(body[key])))


def _mounts(found: Found, body: Body) -> Iterator[Change]:
    has, wanted = mounts_of(found), mounts_of({"HostConfig": body["HostConfig"]})
    for path in sorted({*has, *wanted}):
        if has.get(path) != wanted.get(path):
            before, after = (brief(one.get(path) or NOTHING) for one in (has, wanted))
            yield Change(f"the mount {brief(path)}", before, after)


def _networks(found: Found, networks: Collection[str]) -> Iterator[Change]:
    for name in sorted(set(found["NetworkSettings"]["Networks"]) - set(networks)):
        yield Change("networks", brief(name), NOTHING, network=name, in_place=True)
