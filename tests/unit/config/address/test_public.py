"""The service's own address behind the applications' proxy: which URLs it may have, which names it takes."""

from __future__ import annotations

import pytest

from pipeline.adapters.haproxy.config import Routes, State, maps
from pipeline.adapters.haproxy.remote import remote_settings
from pipeline.config.address.public import own_hosts, taken
from pipeline.config.loading import load as parse
from pipeline.config.settings import Settings, load
from pipeline.errors import ConfigError

HTTPS = {"PUSHLIVE_SERVE_PUBLIC": "true", "PUSHLIVE_PROXY_HTTPS": "0.0.0.0:443"}
OWN = Settings(public_url="https://deploy.example.com", serve_public=True)


@pytest.mark.parametrize(
    "url",
    [
        "https://deploy.example.com",
        "https://deploy.example.com/",
        "https://deploy.example.com:8443",
        "http://deploy.lan",
        "http://pushlive.localhost:7080",
    ],
)
def test_a_url_with_a_name_is_served(url: str) -> None:
    settings = load({**HTTPS, "PUSHLIVE_PUBLIC_URL": url})
    assert own_hosts(settings) == (url.split("/")[2].partition(":")[0],)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("", "needs PUSHLIVE_PUBLIC_URL"),
        ("https://203.0.113.7", "203.0.113.7 is an address"),
        ("https://[2001:db8::1]", "2001:db8::1 is an address"),
        ("https://localhost:8443", "localhost is only this machine's name"),
        ("https://example.com/pushlive", "the service has no path"),
        ("https://ann@example.com", "the service has no path"),
        ("https://example.com?a=b", "the service has no path"),
        ("https://under_score.example.com", "is not a host name"),
        ("https://example.com:99999", "the port is not between"),
        ("https://example.com:0", "is not a host name"),
        ("https://[", "is not a host name"),
    ],
)
def test_another_url_is_refused_with_what_to_write(url: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said.replace("[", r"\[")):
        load({**HTTPS, **({"PUSHLIVE_PUBLIC_URL": url} if url else {})})


def test_https_needs_something_that_ends_it() -> None:
    given = {"PUSHLIVE_SERVE_PUBLIC": "true", "PUSHLIVE_PUBLIC_URL": "https://deploy.example.com"}
    with pytest.raises(ConfigError, match="PUSHLIVE_PROXY_HTTPS=0"):
        load(given)
    assert load({**given, "PUSHLIVE_PROXY_TRUSTED": "10.0.0.1"}).serve_public


def test_a_flag_is_true_or_false() -> None:
    assert not load({"PUSHLIVE_SERVE_PUBLIC": "False"}).serve_public
    with pytest.raises(ConfigError, match="'yes' is neither true nor false"):
        load({"PUSHLIVE_SERVE_PUBLIC": "yes"})


def test_without_it_nothing_is_led_to_the_service() -> None:
    settings = Settings(public_url="https://deploy.example.com", ports="20000-20001")
    assert own_hosts(settings) == ()
    assert "service" not in maps(State("0"), settings)["active.map"]


def test_the_proxy_leads_its_name_to_the_service_before_any_environment() -> None:
    routes = Routes("hello-live", ("deploy.example.com", "hello.example.com"), "blue")
    found = maps(State("0", {0: routes}), OWN)
    assert found["hosts.map"] == {"deploy.example.com": "service", "hello.example.com": "e0"}
    assert found["active.map"]["service"] == "service"
    assert found["names.map"]["service"] == "Pushlive"


def test_a_proxy_on_another_machine_does_not_lead_to_it() -> None:
    assert own_hosts(remote_settings(OWN, "ssh://two")) == ()


def test_an_environment_with_its_name_is_warned_of() -> None:
    config = parse(
        "pipelines: {shop: {service: {port: 8080}, environments: "
        "{qa: {host: qa.example.com}, live: {host: deploy.example.com}}}}"
    )
    [(path, said)] = taken(config, OWN)
    assert path == "pipelines.shop.environments.live.hosts"
    assert "is the address of Pushlive itself" in said
    assert list(taken(config, Settings())) == []
