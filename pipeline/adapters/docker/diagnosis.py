"""Why an application that runs does not answer: on which ports its container really listens."""

from __future__ import annotations

import re
from pathlib import Path

from pipeline.adapters.docker_api.api import DockerApi, Found
from pipeline.adapters.docker_api.labels import INSTANCE, ROLE
from pipeline.config.settings import Settings
from pipeline.errors import EngineFailed, TryAgain

Listener = tuple[bool, int]  # on the loopback address alone, port

_LISTEN = "0A"
_ROW = re.compile(
    r"^\s*\d+: ([0-9A-F]{8}|[0-9A-F]{32}):([0-9A-F]{4}) [0-9A-F]+:[0-9A-F]{4} ([0-9A-F]{2}) ", re.M
)


def listeners(table: str) -> set[Listener]:
    """The listening sockets in the text of ``/proc/net/tcp`` and ``tcp6``.

    Addresses are in the machine's (little endian) words: 127.x ends with ``7F``, ::1 with ``01000000``.
    """
    found = set()
    for host, port, state in _ROW.findall(table):
        v6_loopback = len(host) == 32 and host == "0" * 24 + "01000000"
        mapped_loopback = len(host) == 32 and host[16:24] == "FFFF0000" and host.endswith("7F")
        v4_loopback = len(host) == 8 and host.endswith("7F")
        # Docker's own name server listens on 127.0.0.11
        if state == _LISTEN and host != "0B00007F":
            found.add((v4_loopback or v6_loopback or mapped_loopback, int(port, 16)))
    return found


def explain(found: set[Listener], port: int) -> tuple[str, str]:
    """What is wrong and what to do about it, in words; both empty where it listens as it should."""
    public = sorted({p for loopback, p in found if not loopback})
    if port in public:
        return "", ""
    if (True, port) in found:
        return (
            f"it listens on 127.0.0.1:{port} only, which nobody outside its container reaches",
            f"Let the application listen on 0.0.0.0:{port}.",
        )
    elsewhere = public or sorted({p for _, p in found})
    if elsewhere:
        ports = " and ".join(str(p) for p in elsewhere)
        return (
            f"it listens on port {ports}, not on {port}",
            f"Set `port: {elsewhere[0]}` in pipelines.yaml, or let the application listen on {port}.",
        )
    return f"it listens on no port at all, {port} was expected", ""


def table_of(api: DockerApi, settings: Settings, container: Found) -> str:
    """The socket tables of a running container, from /proc, or through a short helper beside it; "" if
    neither can be had."""
    text = _from_proc(container)
    return text if text else _from_helper(api, settings, container["Id"])


def _from_proc(container: Found) -> str:
    proc = Path("/proc") / str(container["State"]["Pid"])
    try:
        # In a container of our own, that number is somebody else's process.
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
        api.sdk.wait(helper, timeout=5)
        return "\n".join(api.output(helper, 10_000))
    except (EngineFailed, TryAgain):  # a diagnosis that cannot be had must not hide what is diagnosed
        return ""
    finally:
        if helper:
            api.remove(helper)
