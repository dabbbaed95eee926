"""Why an application that runs does not answer: on which ports its container listens."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from pipeline.adapters.docker_api.api import DockerApi, Found
from pipeline.adapters.docker_api.labels import INSTANCE, ROLE
from pipeline.config.settings import Settings
from pipeline.errors import EngineFailed, TryAgain

_LISTEN = "0A"
_ROW = re.compile(
    r"^\s*\d+: ([0-9A-F]{8}|[0-9A-F]{32}):([0-9A-F]{4}) [0-9A-F]+:[0-9A-F]{4} ([0-9A-F]{2}) ", re.M
)


class Listener(NamedTuple):
    """A listening socket. ``v6``: on an address of IPv6, which may take connections over IPv4 as well."""

    loopback: bool
    port: int
    v6: bool = False


def listeners(table: str) -> set[Listener]:
    """The listening sockets in the text of ``/proc/net/tcp`` and ``tcp6``.

    Addresses are in the machine's (little endian) words: 127.x ends in ``7F``, ::1 in ``01000000``.
    """
    found = set()
    for host, port, state in _ROW.findall(table):
        v6_loopback = len(host) == 32 and host == "0" * 24 + "01000000"
        mapped_loopback = len(host) == 32 and host[16:24] == "FFFF0000" and host.endswith("7F")
        v4_loopback = len(host) == 8 and host.endswith("7F")
        # Docker's own name server listens on 127.0.0.11
        if state == _LISTEN and host != "0B00007F":
            loopback = v4_loopback or v6_loopback or mapped_loopback
            found.add(Listener(loopback, int(port, 16), len(host) == 32 and host[16:24] != "FFFF0000"))
    return found


@dataclass(frozen=True)
class Finding:
    """What is wrong, and what to do about it. ``settled``: the application listens, but in the wrong place, so waiting
    does not help."""

    text: str
    advice: str = ""
    settled: bool = False


def explain(found: set[Listener], port: int, refused: Callable[[], bool]) -> Finding | None:
    """What is wrong with the sockets of an application that should listen on ``port``; None if nothing is. ``refused``:
    asks whether connections over IPv4 are refused there; the kernel's tables do not say it of sockets of IPv6."""
    public = sorted({one.port for one in found if not one.loopback})
    there = [one for one in found if one.port == port]
    if port in public:
        if any(not one.v6 and not one.loopback for one in there) or not refused():
            return None
        return Finding(
            f"it listens on port {port} over IPv6 alone, and its container is reached over IPv4",
            f"Let the application listen on 0.0.0.0:{port}.",
            settled=True,
        )
    if there:
        host = "[::1]" if all(one.v6 for one in there) else "127.0.0.1"
        return Finding(
            f"it listens on {host}:{port} only, which cannot be reached from outside its container",
            f"Let the application listen on 0.0.0.0:{port}.",
            settled=True,
        )
    others = public or sorted({one.port for one in found})
    if others:
        ports = " and ".join(str(p) for p in others)
        return Finding(
            f"it listens on port {ports}, not on {port}",
            f"Set `port: {others[0]}` in pipelines.yaml, or let the application listen on {port}.",
            settled=True,
        )
    return Finding(f"it listens on no port at all; {port} was expected")


def table_of(api: DockerApi, settings: Settings, container: Found) -> str:
    """The socket tables of a running container, from /proc or else from a helper container; "" if neither works."""
    text = _from_proc(container)
    return text if text else _from_helper(api, settings, container["Id"])


def _from_proc(container: Found) -> str:
    proc = Path("/proc") / str(container["State"]["Pid"])
    try:
        # If this process runs in a container itself, that number is another process.
        if container["Id"] not in (proc / "cgroup").read_text():
            return ""
        return "".join((proc / "net" / name).read_text() for name in ("tcp", "tcp6"))
    except OSError:
        return ""


def _from_helper(api: DockerApi, settings: Settings, target: str) -> str:
    body = {
        "Image": settings.proxy_image,
        "Entrypoint": ["cat"],
        "Cmd": ["/proc/net/tcp", "/proc/net/tcp6"],
        "Labels": {INSTANCE: settings.instance, ROLE: "helper"},
        "HostConfig": {"NetworkMode": f"container:{target}"},
    }
    helper = ""
    try:
        helper = api.create(f"{settings.instance}-look-{target[:12]}", body)
        api.start(helper)
        api.wait(helper, 5)
        return "\n".join(api.output(helper, 10_000))
    except (EngineFailed, TryAgain):  # without a diagnosis, the failure itself is still reported
        return ""
    finally:
        if helper:
            api.remove(helper)
