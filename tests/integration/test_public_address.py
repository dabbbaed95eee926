"""The service at its own address, behind the proxy of the applications: HTTPS, HTTP/2, pushes, streams, a restart."""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import os
import random
import re
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from urllib.parse import urlencode

import pytest

import docker
from tests.integration.test_proxy_certificates import make
from tests.support.developer import Repository, web
from tests.support.ports import free_ports
from tests.support.service import SECRET, Service, running
from tests.support.waiting import until

HOST = "deploy.test"
CONFIG = """
pipelines:
  hello:
    service: {memory: 64MiB, stop: 1s}
    environments: {live: }
"""

# The command line where that name leads here: not every libc knows that of itself.
NAMED = f"""
import socket, sys
real = socket.getaddrinfo
socket.getaddrinfo = lambda host, *more, **keys: real("127.0.0.1" if host == {HOST!r} else host, *more, **keys)
from pipeline.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def port() -> int:
    return free_ports(1)


@pytest.fixture(scope="module")
def service(docker_client: docker.DockerClient, base_images: None, port: int) -> Iterator[Service]:
    with running(
        docker_client,
        CONFIG,
        PUSHLIVE_PUBLIC_URL=f"https://{HOST}:{port}",
        PUSHLIVE_SERVE_PUBLIC="true",
        PUSHLIVE_PROXY_HTTPS=f"127.0.0.1:{port}",
    ) as one:
        folder = one.data / "certificates"
        folder.mkdir(exist_ok=True)
        make(folder, HOST)
        until(lambda: secured(port, HOST) is not None, 30)
        yield one


def secured(port: int, host: str) -> str | None:
    """The protocol that was agreed upon; None without a certificate for that name."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2", "http/1.1"])
    try:
        with (
            socket.create_connection(("127.0.0.1", port), timeout=5) as plain,
            context.wrap_socket(plain, server_hostname=host) as one,
        ):
            return one.selected_alpn_protocol()
    except (ssl.SSLError, ConnectionError):
        return None


def opened(port: int) -> http.client.HTTPSConnection:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    one = http.client.HTTPSConnection("127.0.0.1", port, timeout=60, context=context)
    plain = socket.create_connection(("127.0.0.1", port), timeout=60)
    one.sock = context.wrap_socket(plain, server_hostname=HOST)
    return one


def ask(
    port: int, method: str, path: str, body: bytes | None = None, **headers: str
) -> tuple[int, http.client.HTTPMessage, bytes]:
    with closing(opened(port)) as one:
        sent = {"Host": f"{HOST}:{port}", **{k.replace("_", "-"): v for k, v in headers.items()}}
        one.request(method, path, body, sent)
        answer = one.getresponse()
        return answer.status, answer.headers, answer.read()


def bearer(service: Service) -> dict[str, str]:
    return {"Authorization": f"Bearer {service.token}"}


def remote(service: Service, port: int, name: str) -> Repository:
    url = f"https://ann:{service.token}@{HOST}:{port}/git/hello.git"
    found = [("http.sslVerify", "false"), ("http.curloptResolve", f"{HOST}:{port}:127.0.0.1")]
    trusting = {**service.environ, "GIT_CONFIG_COUNT": str(len(found))}
    for number, (key, value) in enumerate(found):
        trusting |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    return Repository(service.folder / name, url, trusting)


def test_a_log_in_knows_the_visitor_and_a_forged_address_is_not_believed(service: Service, port: int) -> None:
    assert secured(port, HOST) == "h2"
    status, _, page = ask(port, "GET", "/login")
    assert status == 200
    assert b"<form" in page
    form = urlencode({"token": service.token}).encode()
    status, headers, _ = ask(
        port, "POST", "/login", form, Content_Type="application/x-www-form-urlencoded",
        Origin=f"https://{HOST}:{port}", X_Forwarded_For="203.0.113.9", X_Pushlive_Visitor="203.0.113.9",
        Forwarded="for=203.0.113.9",
    )  # fmt: skip
    assert status == 302 or status == 303
    cookie = headers["Set-Cookie"]
    assert "Secure" in cookie
    status, _, page = ask(port, "GET", "/", Cookie=cookie.partition(";")[0])
    assert status == 200
    assert b"hello" in page
    entries = service.ask("GET", "/api/audit?limit=20")["entries"]
    [entry] = [one for one in entries if one["act"] == "log-in"]
    assert entry["address"] == "127.0.0.1"


def test_http_leads_to_https_and_doctor_asks_the_public_url(service: Service, port: int) -> None:
    connection = http.client.HTTPConnection(service.proxy, timeout=10)
    with closing(connection):
        connection.request("GET", "/login?next=/", headers={"Host": service.proxy.replace("127.0.0.1", HOST)})
        answer = connection.getresponse()
    assert (answer.status, answer.headers["Location"]) == (308, f"https://{HOST}:{port}/login?next=/")
    [check] = [one for one in service.ask("GET", "/api/doctor")["checks"] if one["name"] == "public URL"]
    assert not check["ok"]
    assert check["text"].startswith(
        f"Browsers and git refuse the certificate for {HOST}: self-signed certificate"
    )
    assert "on this machine also: http://" in service.output


def test_the_direct_listener_believes_no_header_of_the_proxy(service: Service) -> None:
    forged = {"X-Pushlive-Visitor": "203.0.113.9", "X-Forwarded-For": "203.0.113.9"}
    for _ in range(2):
        service.request("GET", "/api/status", None, {"Authorization": "Bearer wrong", **forged})
    status, _, _ = service.request("GET", "/healthz", None, forged)
    assert status == 200
    lines = [json.loads(line) for line in (service.data / "journal/journal.jsonl").read_text().splitlines()]
    assert "203.0.113.9" not in json.dumps(lines)


def test_a_large_push_deploys_and_its_events_arrive_while_they_happen(service: Service, port: int) -> None:
    one = remote(service, port, "large")
    one.commit(web("version 1"), "One")
    noise = random.Random(1).randbytes(32 << 20)
    (one.folder / "noise.bin").write_bytes(noise)
    (one.folder / ".dockerignore").write_text("noise.bin\n")
    one.commit({}, "And 32 MiB")
    push = one.started("push", "pushlive", "main")
    until(lambda: bool(service.runs()), 60)
    with closing(opened(port)) as stream:
        stream.request("GET", "/api/runs/hello/1/events", None, {"Host": HOST, **bearer(service)})
        answer = stream.getresponse()
        assert answer.status == 200
        assert answer.readline()  # an event, while the stream is open
        until(lambda: service.run("hello#1")["state"] == "ended", 90)
        assert answer.read()
    out, _ = push.communicate(timeout=60)
    assert push.returncode == 0, out
    assert "live" in out
    assert service.page() == "version 1\n"


def test_a_command_in_a_container_and_a_webhook_pass(service: Service, port: int) -> None:
    environ = {
        **service.environ,
        "PUSHLIVE_URL": f"https://{HOST}:{port}",
        "PUSHLIVE_TOKEN": service.token,
        "SSL_CERT_FILE": str(service.data / "certificates" / f"{HOST}.crt"),
    }
    done = subprocess.run(
        [sys.executable, "-c", NAMED, "exec", "hello", "live", "--", "sh", "-c", "cat; exit 3"], env=environ,
        input="through\n", text=True, capture_output=True, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (3, "through\n"), done
    body = b'{"zen": "Keep it logically awesome."}'
    signature = "sha256=" + hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    more = {"Content_Type": "application/json", "X_GitHub_Event": "ping", "X_GitHub_Delivery": "1"}
    assert ask(port, "POST", "/hooks/github", body, X_Hub_Signature_256=signature, **more)[0] == 200
    assert (
        ask(port, "POST", "/hooks/github", body, X_Hub_Signature_256=signature[:-1] + "x", **more)[0] == 401
    )


def test_no_request_is_lost_while_the_service_is_started_again(service: Service, port: int) -> None:
    found, stop = list[int | str](), threading.Event()

    def load() -> None:
        while not stop.is_set():
            try:
                status, _, text = ask(port, "GET", "/api/status", None, **bearer(service))
                found.append(status if status == 200 else f"{status} {text!r}")
            except (OSError, http.client.HTTPException) as error:
                found.append(repr(error))

    threads = [threading.Thread(target=load) for _ in range(3)]
    for one in threads:
        one.start()
    until(lambda: len(found) > 10, 20)
    service.end()
    service.up()
    count = len(found)
    until(lambda: len(found) > count + 10, 20)
    stop.set()
    for one in threads:
        one.join(30)
    assert {one for one in found if one != 200} == set()


def test_a_page_says_that_it_is_down_and_the_direct_listener_needs_no_proxy(
    service: Service, port: int, docker_client: docker.DockerClient
) -> None:
    service.end()
    status, headers, page = ask(port, "GET", "/")
    assert status == 503
    assert headers["Retry-After"] == "5"
    assert re.match(rb"503: Pushlive is not running", page)
    service.up()
    assert ask(port, "GET", "/healthz")[0] == 200
    proxy = docker_client.containers.get(f"{service.instance}-proxy")
    proxy.pause()
    try:
        assert service.api("GET", "/healthz")[0] == 200
        assert service.api("GET", "/api/status")[0] == 200
    finally:
        proxy.unpause()
    assert os.stat(service.data / "proxy" / "web.sock").st_mode & 0o077 == 0
