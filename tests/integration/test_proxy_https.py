"""What a real HAProxy does over HTTPS and IPv6: certificates of both kinds, redirects, HSTS, HTTP/2."""

from __future__ import annotations

import http.client
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

import docker
from pipeline.adapters.haproxy.proxy import Proxy
from pipeline.config.https.keys import Hsts
from pipeline.config.https.policy import HostPolicy
from pipeline.config.settings import Settings
from pipeline.ports.clock import SystemClock
from tests.support.certificates import Authority, asked, port
from tests.support.installation import own_settings
from tests.support.ports import free_ports

Installation = tuple[Proxy, Settings, Authority]


@pytest.fixture(scope="module")
def secure(
    settings: Settings, docker_client: docker.DockerClient, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Installation]:
    first = free_ports(2)
    own = own_settings(
        tmp_path_factory.mktemp("https"),
        f"{settings.instance}-h",
        environments=2,
        subnets=settings.subnets,
        proxy_http=f"*:{first}",
        proxy_https=f"*:{first + 1}",
    )
    proxy = Proxy(lambda: docker_client, own, SystemClock())
    proxy.ensure()
    for name in ("certificates", "tls"):
        (own.data / name).mkdir()
    proxy.add_environment(0, "shop-live", ("shop.example", "old.example", "plain.example"))
    yield proxy, own, Authority()
    proxy.stop()


def test_hosts_are_led_to_https_once_they_have_a_certificate(secure: Installation) -> None:
    proxy, settings, authority = secure
    policies = {
        "shop.example": HostPolicy(hsts=Hsts(max_age=15552000.0, subdomains=True)),
        "www.shop.example": HostPolicy(to="shop.example"),
        "old.example": HostPolicy(),
        "plain.example": HostPolicy("redirect"),
    }
    proxy.secure(policies)
    assert asked(settings, "shop.example")[0] == 503  # no release yet, and no certificate: as it comes
    assert asked(settings, "www.shop.example", "/a?b=c") == (308, "http://shop.example/a?b=c", "")

    write(settings.data / "tls" / "shop.pem", authority.issue("shop.example", "www.shop.example"))
    write(settings.data / "certificates" / "old.pem", authority.issue("old.example"))
    assert proxy.secure(policies) == (["old.pem", "shop.pem"], [])
    assert asked(settings, "shop.example", "/a//b?q=1&r=%20") == (
        308,
        "https://shop.example/a//b?q=1&r=%20",
        "",
    )
    named = f"shop.example:{port(settings.proxy_http)}"
    there = f"https://shop.example:{port(settings.proxy_https)}/"
    assert asked(settings, named)[:2] == (308, there)
    assert asked(settings, "SHOP.example.")[:2] == (308, "https://shop.example/")
    assert asked(settings, "www.shop.example", "/x")[:2] == (308, "https://shop.example/x")
    # one's own certificate alone changes nothing, and a host without one is served as it comes
    assert asked(settings, "old.example")[:2] == (503, "")
    assert asked(settings, "plain.example")[:2] == (503, "")
    # neither checks nor the way to a certificate
    assert asked(settings, "shop.example", **{"X-Pushlive-Probe": proxy.token})[0] == 503
    assert asked(settings, "shop.example", "/.well-known/acme-challenge/x")[0] == 503
    assert asked(settings, "shop.example", "/.well-known/acme-challengex")[0] == 308

    hsts = "max-age=15552000; includeSubDomains"
    assert asked(settings, "shop.example", authority=authority) == (503, "", hsts)
    assert asked(settings, "www.shop.example", "/x?y", authority) == (308, "https://shop.example/x?y", "")
    assert asked(settings, "old.example", authority=authority) == (503, "", "")


def test_what_a_wildcard_covers_is_led_to_https(secure: Installation) -> None:
    proxy, settings, authority = secure
    proxy.add_environment(1, "tenants-live", ("*.wild.example", "named.wild.example/app"))
    policy = HostPolicy("redirect", Hsts(max_age=60.0))
    write(settings.data / "certificates" / "wild.pem", authority.issue("*.wild.example"))
    proxy.secure({"*.wild.example": policy, "named.wild.example": HostPolicy("both")})
    assert asked(settings, "a.wild.example", "/x")[:2] == (308, "https://a.wild.example/x")
    assert asked(settings, "a.wild.example", authority=authority) == (503, "", "max-age=60")
    assert asked(settings, "named.wild.example", "/app")[:2] == (503, "")
    assert asked(settings, "named.wild.example", "/app", authority=authority) == (503, "", "")
    assert asked(settings, "b.a.wild.example", "/x")[:2] == (404, "")


def test_one_s_own_certificate_is_shown_in_place_of_the_service_s(secure: Installation) -> None:
    proxy, settings, authority = secure
    mine, gotten = authority.issue("mine.example"), authority.issue("mine.example")
    write(settings.data / "tls" / "mine.pem", gotten)
    proxy.secure({})
    assert shown(settings, authority, "mine.example") == der(gotten)
    write(settings.data / "certificates" / "mine.pem", mine)
    proxy.secure({})
    assert shown(settings, authority, "mine.example") == der(mine)
    assert proxy.secure({}) == ([], [])
    write(settings.data / "certificates" / "mine.pem", authority.issue("mine.example", days=-1))
    proxy.secure({})
    (settings.data / "certificates" / "mine.pem").unlink()
    proxy.secure({})
    assert shown(settings, authority, "mine.example") == der(gotten)


def test_all_comes_back_after_a_restart(secure: Installation, docker_client: docker.DockerClient) -> None:
    proxy, settings, authority = secure
    write(settings.data / "tls" / "again.pem", authority.issue("again.example"))
    proxy.secure({"again.example": HostPolicy(hsts=Hsts(max_age=60.0))})
    docker_client.api.restart(f"{settings.instance}-proxy", timeout=1)
    proxy.ensure()
    assert asked(settings, "again.example", "/q")[:2] == (308, "https://again.example/q")
    assert asked(settings, "again.example", authority=authority) == (404, "", "max-age=60")
    assert proxy.secure({"again.example": HostPolicy("both")}) == ([], [])
    assert asked(settings, "again.example")[0] == 404


def test_ipv6_and_http2(secure: Installation) -> None:
    proxy, settings, authority = secure
    write(settings.data / "tls" / "six.pem", authority.issue("six.example"))
    proxy.secure({})
    context = authority.context()
    context.set_alpn_protocols(["h2", "http/1.1"])
    with (
        socket.create_connection(("::1", port(settings.proxy_https)), timeout=5) as plain,
        context.wrap_socket(plain, server_hostname="six.example") as secured,
    ):
        assert secured.selected_alpn_protocol() == "h2"
    connection = http.client.HTTPConnection("::1", port(settings.proxy_http), timeout=5)
    connection.request("GET", "/", headers={"Host": "nowhere.example"})
    assert connection.getresponse().status == 404
    connection.close()


def write(path: Path, text: str) -> None:
    path.write_text(text)


def der(pem: str) -> bytes:
    return ssl.PEM_cert_to_DER_cert(pem[: pem.index("-----END CERTIFICATE-----") + 26])


def shown(settings: Settings, authority: Authority, host: str) -> bytes | None:
    with (
        socket.create_connection(("127.0.0.1", port(settings.proxy_https)), timeout=5) as plain,
        authority.context().wrap_socket(plain, server_hostname=host) as secured,
    ):
        return secured.getpeercert(binary_form=True)
