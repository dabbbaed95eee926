"""The keys of a service that say what its containers are given besides memory and CPU."""

from __future__ import annotations

import ipaddress
import re
from fnmatch import fnmatchcase
from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints

from pipeline.config.fields import Host, Model, Size, Words
from pipeline.config.workload.binds import BindSource
from pipeline.config.workload.labels import Annotations, Labels

USUAL_SHM = 64 * 2**20  # bytes: what Docker and containerd give a container
GATEWAY = "host-gateway"  # Docker's word for the address of the machine

_PATH = re.compile(r"(?!.*//)/[^\0-\x1f\x7f\\]*")
_SYSTEM = ("/proc", "/sys", "/dev")
_USER = r"([0-9]{1,10}|[A-Za-z_][A-Za-z0-9_.-]{0,31})"
_LIMIT = re.compile(r"(-1|[0-9]{1,18})(?::(-1|[0-9]{1,18}))?")
UNLIMITED = -1


def _path_inside(text: str) -> str:
    if text and (not _PATH.fullmatch(text) or ".." in text.split("/")):
        raise ValueError(
            f"{text[:80]!r} is not a folder in the container; write an absolute path without `..`, such as /srv/app"
        )
    return text


def _mounted(text: str) -> str:
    _path_inside(text)
    if text == "/" or text.endswith("/") or ":" in text:
        raise ValueError(
            f"{text[:80]!r} cannot be a folder of its own; write a path such as /run, without `:` and `/` at the end"
        )
    if text == "/dev/shm":  # noqa: S108 - in the container
        raise ValueError("/dev/shm is in every container; its size is the key `shm`")  # noqa: S108
    if text in _SYSTEM or text.startswith(tuple(f"{one}/" for one in _SYSTEM)):
        raise ValueError(f"{text[:80]!r} belongs to the system; write a path such as /run")
    return text


def _user(text: str) -> str:
    if text and not re.fullmatch(rf"{_USER}(:{_USER})?", text):
        raise ValueError(
            f"{text[:80]!r} is not a user; write a number or a name of the image, such as 1000, 1000:1000 or app"
        )
    if any(part.isdecimal() and int(part) >= 2**31 for part in text.split(":")):
        raise ValueError(f"{text[:80]!r}: the numbers of users and groups end at {2**31 - 1}")
    return text


def limits_of(text: str) -> tuple[int, int]:
    """(soft, hard) of a limit as it is written: ``65536``, ``1024:65536``; -1 for no limit. Raises ValueError."""
    match = _LIMIT.fullmatch(text)
    if not match:
        raise ValueError(
            f"{text[:40]!r} is not a limit; write a number for both, such as 65536, or soft:hard, such as "
            "1024:65536; -1 is no limit"
        )
    soft = int(match[1])
    hard = int(match[2]) if match[2] else soft
    if hard != UNLIMITED and not UNLIMITED < soft <= hard:
        raise ValueError(f"{text[:40]!r}: the soft limit is above the hard one; write soft:hard")
    return soft, hard


def _limit(text: str) -> str:
    limits_of(text)
    return text


def _address(text: str) -> str:
    if text != GATEWAY:
        try:
            ipaddress.ip_address(text)
        except ValueError:
            raise ValueError(
                f"{text[:60]!r} is not an address; write an IP address, or {GATEWAY} for the machine"
            ) from None
    return text


def _device(text: str) -> str:
    _path_inside(text)
    if not re.fullmatch(r"/dev/[A-Za-z0-9._/-]{1,200}", text) or text.endswith("/"):
        raise ValueError(f"{text[:80]!r} is not a device; write a path such as /dev/dri/renderD128")
    return text


_NETWORK = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
_DOCKERS_OWN = ("bridge", "default", "host", "none")


def _network(text: str) -> str:
    if text in _DOCKERS_OWN:
        raise ValueError(f"{text} is Docker's own; make another one with `docker network create NAME`")
    if not _NETWORK.fullmatch(text):
        raise ValueError(f"{text[:80]!r} is not the name of a network; `docker network ls` shows them")
    return text


def refused_devices(wanted: tuple[str, ...], allowed: tuple[str, ...]) -> tuple[str, ...]:
    """The devices that no path or pattern of ``allowed`` (PUSHLIVE_DEVICES) names."""
    return tuple(path for path in wanted if not any(fnmatchcase(path, one) for one in allowed))


ShmSize = Annotated[Size, Field(ge=2**20, le=2**40)]
TmpSize = Annotated[Size, Field(ge=2**12, le=2**40)]
InsidePath = Annotated[
    str,
    StringConstraints(max_length=1024),
    AfterValidator(_path_inside),
    Words("an absolute path in the container, such as /srv/app"),
]
MountPath = Annotated[
    str,
    StringConstraints(pattern=r"^/[^:]*[^:/]$", max_length=1024),
    AfterValidator(_mounted),
    Words("an absolute path in the container, such as /run, without `:` and without `/` at its end"),
]
UlimitName = Annotated[
    str,
    StringConstraints(
        pattern=r"^(as|core|cpu|data|fsize|locks|memlock|msgqueue|nice|nofile|nproc|rss|rtprio|rttime|sigpending|stack)$"
    ),
    Words("a limit of setrlimit, such as nofile, nproc, memlock or core"),
]
UlimitValue = Annotated[
    str, AfterValidator(_limit), Words("a number such as 65536, or soft:hard such as 1024:65536")
]
User = Annotated[
    str, AfterValidator(_user), Words("a number or name, with a group or without: 1000, 1000:1000, app")
]
Address = Annotated[str, AfterValidator(_address), Words(f"an IP address or {GATEWAY}")]
Device = Annotated[str, AfterValidator(_device), Words("a device such as /dev/dri/renderD128")]
NetworkName = Annotated[str, AfterValidator(_network), Words("the name of a Docker network, such as backend")]


class ContainerOptions(Model):
    """What a container is given. A key at its default is not passed on: the engine and the image decide."""

    ignore: Annotated[tuple[InsidePath, ...], Field(max_length=100)] = ()
    """Files and folders that may end with the release: they are not named at a switch, and not copied aside."""
    shm: ShmSize = USUAL_SHM
    """The size of `/dev/shm`, which browsers and databases need. What is in it counts towards `memory`."""
    tmpfs: Annotated[dict[MountPath, TmpSize], Field(max_length=16)] = {}
    """Folders in memory, each with its size: `{/run: 16MiB}`. They are empty at the start, and what is in them counts
    towards `memory`."""
    working_dir: InsidePath = ""
    """The folder in which the application and its commands start. Default: the image's `WORKDIR`."""
    user: User = ""
    """The user and group as which they run. On Kubernetes by number. Default: the image's `USER`."""
    ulimits: dict[UlimitName, UlimitValue] = {}
    """Limits of each process, as `ulimit` shows them: `{nofile: 65536, core: 0}`. Only on Docker."""
    extra_hosts: Annotated[dict[Host, Address], Field(max_length=100)] = {}
    """Host names with their addresses, for `/etc/hosts`. `host-gateway` is the machine itself, only on Docker, where it
    has the name `host.docker.internal` without this."""
    devices: Annotated[tuple[Device, ...], Field(max_length=16)] = ()
    """Devices of the machine, those that `PUSHLIVE_DEVICES` allows. Only on Docker."""
    binds: Annotated[dict[MountPath, BindSource], Field(max_length=16)] = {}
    """Folders of the machine, those that `PUSHLIVE_BINDS` allows: `{/photos: /srv/photos}`, or `/srv/photos:ro` to let
    it be read alone. Nothing makes, backs up or removes such a folder. Only on Docker."""
    networks: Annotated[tuple[NetworkName, ...], Field(max_length=8)] = ()
    """Docker networks that exist already: all its containers join them beside the environment's own. Only on Docker."""
    labels: Labels = {}
    """Labels of the containers; on Kubernetes of the pods and their Deployment."""
    annotations: Annotations = {}
    """Annotations of the pods. Only on Kubernetes: containers on Docker have `labels` alone."""
