from __future__ import annotations

import pytest

from pipeline.adapters.haproxy.rules.https import Https, decided
from pipeline.config.diff import beside
from pipeline.config.engines import DOCKER
from pipeline.config.https.keys import Hsts
from pipeline.config.https.policy import HostPolicy, names, policies
from pipeline.config.loading import load, problems


def file(*lines: str) -> str:
    return "pipelines: {shop: {environments: {live: {" + ", ".join(lines) + "}}}}"


def test_each_host_of_an_engine_has_a_policy() -> None:
    config = load(file("host: shop.example", "redirect_hosts: [www.shop.example]", "https: both", "hsts: 1d"))
    hsts = Hsts(max_age=86400.0)
    assert policies(config, DOCKER, own=("deploy.example",)) == {
        "deploy.example": HostPolicy("redirect"),
        "shop.example": HostPolicy("both", hsts),
        "www.shop.example": HostPolicy("both", hsts, "shop.example"),
    }
    assert policies(config, "docker:ssh://u@h") == {}
    assert policies(config, DOCKER, own=("shop.example",))["shop.example"] == HostPolicy("redirect")
    assert names(config.pipelines["shop"], "live") == ("shop.example", "www.shop.example")


def test_what_a_certificate_covers_is_led_to_https() -> None:
    served = {"shop.example": True, "*.shop.example": True, "own.example": False}
    found = decided(
        {
            "shop.example": HostPolicy(hsts=Hsts(max_age=60.0, subdomains=True, preload=True)),
            "a.shop.example": HostPolicy("both"),
            "b.a.shop.example": HostPolicy("redirect"),
            "www.shop.example": HostPolicy(to="shop.example"),
            "hello-live.localhost": HostPolicy("redirect"),
        },
        ("own.example", "none.example"),
        served,
    )
    assert found == Https(
        {
            "own.example": "both",
            "shop.example": "redirect",
            "a.shop.example": "both",
            "www.shop.example": "redirect",
        },
        {"shop.example": "60.subdomains.preload"},
        {"www.shop.example": "shop.example"},
    )


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["redirect_hosts: [www.a.example]"], "there is no host to lead to"),
        (["host: a.example", "redirect_hosts: [a.example]"], "a.example is served here"),
        (["https: always"], "redirect"),
        (["hsts: forever"], "a duration"),
        (["hsts: {max_age: 1d, more: 1}"], "more"),
    ],
)
def test_what_cannot_be_is_refused(lines: list[str], said: str) -> None:
    assert said in "\n".join(one.message + one.path for one in problems(file(*lines)))


def test_a_host_that_leads_on_belongs_to_one_environment() -> None:
    text = (
        "pipelines: {shop: {environments: {dev: {host: www.a.example},"
        " live: {host: a.example, redirect_hosts: [www.a.example]}}}}"
    )
    assert "already belongs to shop/dev" in problems(text)[0].message


def test_an_ingress_decides_on_a_cluster() -> None:
    text = (
        "pipelines: {shop: {registry: {repository: r.example/shop}, environments: {live: {host: a.example,"
        " engine: {kubernetes: prod}, https: redirect, hsts: 1d, redirect_hosts: [www.a.example]}}}}"
    )
    said = [one.message for one in problems(text)]
    assert len(said) == 3
    assert "nginx.ingress.kubernetes.io/ssl-redirect" in "".join(said)


def test_a_plan_says_what_changes() -> None:
    before = load(file("host: a.example")).pipelines["shop"]
    after = load(
        file("host: a.example", "hsts: 180d", "https: redirect", "redirect_hosts: [b.example]")
    ).pipelines["shop"]
    assert beside(before, after, "live") == (
        "https: the default → redirect, at once",
        "hsts: none → 180d, at once",
        "redirect_hosts: + b.example",
    )


@pytest.mark.parametrize(
    ("hsts", "https", "said"),
    [
        (Hsts(max_age=86400.0), None, []),
        (Hsts(max_age=86400.0), "both", ["though `https: both`"]),
        (Hsts(max_age=180 * 86400.0), None, ["begin with 1d"]),
        (Hsts(subdomains=True), None, ["no effect without max_age"]),
        (Hsts(max_age=86400.0, preload=True), None, ["365d or more"]),
    ],
)
def test_a_long_hsts_is_warned_of(hsts: Hsts, https: str | None, said: list[str]) -> None:
    found = [text for _, text in hsts.unwise(https)]  # type: ignore[arg-type]
    assert len(found) == len(said)
    assert all(one in text for one, text in zip(said, found, strict=True))
