"""What the proxy's extras cost, as HAProxy's processor time for the same requests: that it measures how long answers
take, with the configuration that Pushlive writes and with the same one without that part; and that two releases share
the traffic, with a share and without one."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from pipeline.adapters.haproxy import config
from pipeline.adapters.haproxy.measuring import latencies
from pipeline.adapters.haproxy.rules.sharing import Shared
from pipeline.config.settings import Settings

IMAGE = "haproxy:2.6"
CONNECTIONS, AT_ONCE, BATCHES = 8, 25, 200  # of each connection: so many batches of requests at once
WITHIN = 15.0  # seconds until a proxy accepts connections
APPLICATION = """\
defaults
    mode http
    timeout client 60s
    timeout server 60s
    timeout connect 1s
frontend application
    bind 127.0.0.1:{port}
    http-request return status 200 content-type text/plain string ok
"""


def free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        found = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [int(one.getsockname()[1]) for one in found]


@contextmanager
def haproxy(files: dict[str, str], port: int) -> Iterator[int]:
    """The number of its process, once it accepts connections."""
    folder, name = Path(tempfile.mkdtemp(prefix="pl-proxy-")), f"bench-proxy-{secrets.token_hex(4)}"
    (folder / "certificates").mkdir()
    for file, text in files.items():
        (folder / file).write_text(text)
    start = [
        "docker",
        "run",
        "-d",
        "--name",
        name,
        "--network",
        "host",
        "-u",
        "0",
        "-v",
        f"{folder}:/proxy",
        IMAGE,
    ]
    try:
        subprocess.run(
            [*start, "haproxy", "-db", "-f", "/proxy/haproxy.cfg"], check=True, capture_output=True
        )
        await_port(port)
        asked = ["docker", "inspect", "-f", "{{.State.Pid}}", name]
        yield int(subprocess.run(asked, check=True, capture_output=True, text=True).stdout)
    finally:
        subprocess.run(["docker", "rm", "-f", name], check=False, capture_output=True)
        shutil.rmtree(folder, ignore_errors=True)


def await_port(port: int) -> None:
    end = time.monotonic() + WITHIN
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)
        else:
            return


def configuration(
    application: int, port: int, preview: int, http: int, *, measured: bool = True, shared: bool = False
) -> dict[str, str]:
    """Of one environment, whose application listens on that port, in both slots; ``shared``: half of the requests go to
    the slot that does not serve yet."""
    settings = Settings.model_validate(
        {
            "data": "/tmp",
            "ports": f"{port}-{port}",
            "preview_port": preview,
            "proxy_http": f"127.0.0.1:{http}",
            "proxy_https": "",
        }
    )
    routes = config.Routes(
        "bench-live",
        ("bench.localhost",),
        "blue",
        {"blue": (("127.0.0.1", application),), "green": (("127.0.0.1", application),)},
        shared=Shared("green", 500, "bench") if shared else None,
    )
    found = config.files(config.State("token", {0: routes}), settings)
    if measured:
        return found
    rules = {line.strip() for line in latencies.RULES.splitlines()}
    text = found["haproxy.cfg"].replace(latencies.BACKEND, "")
    left = (line for line in text.splitlines() if line.strip() not in rules)
    return {**found, "haproxy.cfg": "\n".join(left) + "\n"}


def processor_time(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def ask(port: int) -> None:
    """Batches of requests over kept-alive connections. Raises SystemExit for an answer that is not a 200."""
    with ExitStack() as stack:
        new = (socket.create_connection(("127.0.0.1", port), 60) for _ in range(CONNECTIONS))
        opened = [stack.enter_context(one) for one in new]
        batch = b"GET /page HTTP/1.1\r\nHost: bench.localhost\r\n\r\n" * AT_ONCE
        for _ in range(BATCHES):
            for one in opened:
                one.sendall(batch)
            for one in opened:
                receive(one)


def receive(connection: socket.socket) -> None:
    answered, text = 0, b""
    while answered < AT_ONCE:
        piece = connection.recv(1 << 16)
        text += piece
        answered = text.count(b"HTTP/1.1 200 OK")
        if not piece:
            raise SystemExit(f"the proxy ended a connection: {text[-200:]!r}")
    while not text.endswith(b"ok"):
        text += connection.recv(1 << 16)


def seconds_of(pid: int, port: int) -> float:
    before = processor_time(pid)
    ask(port)
    return processor_time(pid) - before


def measured(pairs: int) -> tuple[list[float], list[float]]:
    """Seconds of HAProxy's processor time for the same requests, with and without measuring."""
    return _compared(pairs, {"measured": True}, {"measured": False})


def shared(pairs: int) -> tuple[list[float], list[float]]:
    """The same, through two slots that share the traffic, and through one."""
    return _compared(pairs, {"shared": True}, {"shared": False})


def _compared(pairs: int, one: dict[str, bool], two: dict[str, bool]) -> tuple[list[float], list[float]]:
    application, *ports = free_ports(7)
    own = {"haproxy.cfg": APPLICATION.format(port=application)}
    ours, other = [], []
    with haproxy(own, application), ExitStack() as stack:
        sides = []
        for options, (port, preview, http) in ((one, ports[:3]), (two, ports[3:])):
            files = configuration(application, port, preview, http, **options)
            sides.append((stack.enter_context(haproxy(files, port)), port))
        for side in sides:
            seconds_of(*side)
        for number in range(pairs):
            found = [seconds_of(*side) for side in (sides if number % 2 else sides[::-1])]
            for list_, seconds in zip((ours, other) if number % 2 else (other, ours), found, strict=True):
                list_.append(seconds)
    return ours, other
