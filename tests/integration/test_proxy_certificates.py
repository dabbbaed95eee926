"""TLS certificates are loaded and unloaded while the proxy runs."""

from __future__ import annotations

import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import docker
from pipeline.adapters.haproxy.proxy import Proxy
from pipeline.config.settings import Settings
from pipeline.ports.clock import SystemClock
from tests.support.installation import own_settings
from tests.support.ports import free_ports


@pytest.fixture(scope="module")
def secure(
    settings: Settings, docker_client: docker.DockerClient, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Proxy, Settings]]:
    own = own_settings(
        tmp_path_factory.mktemp("tls"),
        f"{settings.instance}-tls",
        subnets=settings.subnets,
        proxy_https=f"127.0.0.1:{free_ports(1)}",
    )
    proxy = Proxy(lambda: docker_client, own, SystemClock())
    proxy.ensure()
    (own.data / "certificates").mkdir()
    yield proxy, own
    proxy.stop()


def make(folder: Path, host: str) -> None:
    key, certificate = folder / f"{host}.key", folder / f"{host}.crt"
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
    ]
    command += ["-days", "2", "-subj", f"/CN={host}", "-addext", f"subjectAltName=DNS:{host}"]
    subprocess.run([*command, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    (folder / f"{host}.pem").write_text(certificate.read_text() + "\n" + key.read_text())


def shown(settings: Settings, host: str) -> bytes | None:
    """The certificate with which the proxy answers for that host."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    address, _, port = settings.proxy_https.rpartition(":")
    try:
        with (
            socket.create_connection((address, int(port)), timeout=5) as plain,
            context.wrap_socket(plain, server_hostname=host) as secured,
        ):
            return secured.getpeercert(binary_form=True)
    except (ssl.SSLError, ConnectionError):
        return None


def test_certificates_are_loaded_changed_and_unloaded(secure: tuple[Proxy, Settings]) -> None:
    proxy, settings = secure
    folder = settings.data / "certificates"
    assert shown(settings, "one.example.com") is None
    assert proxy.refresh_certificates() == ([], [])

    make(folder, "one.example.com")
    assert proxy.refresh_certificates() == (["one.example.com.pem"], [])
    first = shown(settings, "one.example.com")
    assert first
    assert shown(settings, "two.example.com") is None
    assert proxy.refresh_certificates() == ([], [])
    # checks come over what people use
    hosts = ("one.example.com", "two.example.com", "hello-live.localhost")
    assert [proxy.schemes.of(host) for host in hosts] == ["https", "http", "http"]

    make(folder, "one.example.com")
    make(folder, "two.example.com")
    assert proxy.refresh_certificates() == (["one.example.com.pem", "two.example.com.pem"], [])
    second = shown(settings, "one.example.com")
    assert second
    assert second != first
    assert shown(settings, "two.example.com") not in (None, second)

    (folder / "one.example.com.pem").unlink()
    assert proxy.refresh_certificates() == (["one.example.com.pem"], [])
    assert shown(settings, "one.example.com") is None
    assert shown(settings, "two.example.com")


def test_an_unusable_certificate_is_named_and_unloads_nothing(
    secure: tuple[Proxy, Settings],
) -> None:
    proxy, settings = secure
    folder = settings.data / "certificates"
    make(folder, "good.example.com")
    make(folder, "other.example.com")
    proxy.refresh_certificates()
    good = shown(settings, "good.example.com")
    foreign = (folder / "other.example.com.key").read_text()
    (folder / "good.example.com.pem").write_text((folder / "good.example.com.crt").read_text())
    (folder / "bad.example.com.pem").write_text((folder / "good.example.com.crt").read_text() + foreign)
    changed, problems = proxy.refresh_certificates()
    assert changed == []
    assert len(problems) == 2
    assert "bad.example.com.pem" in problems[0]
    assert "good.example.com.pem" in problems[1]
    assert shown(settings, "good.example.com") == good
    for name in ("good.example.com.pem", "bad.example.com.pem"):
        (folder / name).unlink()
    proxy.refresh_certificates()


def test_certificates_are_loaded_after_a_restart(
    secure: tuple[Proxy, Settings], docker_client: docker.DockerClient
) -> None:
    proxy, settings = secure
    make(settings.data / "certificates", "three.example.com")
    (settings.data / "certificates" / "unusable.pem").write_text("nothing")
    proxy.refresh_certificates()
    docker_client.api.restart(f"{settings.instance}-proxy", timeout=1)
    proxy.ensure()
    assert shown(settings, "three.example.com")
