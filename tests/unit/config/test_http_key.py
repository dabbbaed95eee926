"""`http`, as it is written."""

from __future__ import annotations

import pytest

from pipeline.config.http.keys import Http
from pipeline.config.lint import warnings
from pipeline.config.loading import load, problems

TEXT = "pipelines: {hello: {registry: r.example/hello, service: {%s}, environments: {dev: {%s}, live: {}}}}"


def test_an_environment_changes_the_keys_that_it_writes_and_no_others() -> None:
    hello = load(TEXT % ("http: {sticky: true}", "http: {connections: keep}")).pipelines["hello"]
    assert hello.render("dev").service.http == Http(sticky=True, connections="keep")
    assert hello.render("live").service.http == Http(sticky=True)
    off = load(TEXT % ("http: {sticky: true}", "http: {sticky: false}")).pipelines["hello"]
    assert off.render("dev").service.http == Http()


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("http: {connections: drop}", "write move or keep"),
        ("http: {sticky: maybe}", "true"),
        ("http: {body: many}", "is not a size"),
        ("http: {body: 0MiB}", "too small"),
        ("http: {stick: true}", "sticky"),
        ("web: false, http: {sticky: true}", "there are no visitors"),
    ],
)
def test_what_it_cannot_be_is_refused(written: str, said: str) -> None:
    found = problems(TEXT % ("", written))
    assert any(said in one.message for one in found), found


def test_on_a_cluster_the_annotation_that_does_it_is_named() -> None:
    config = load(TEXT % ("http: {sticky: true}", "engine: {kubernetes: prod}"))
    said = [one for one in warnings(config) if "dev.http.sticky" in one]
    assert any('nginx.ingress.kubernetes.io/affinity: "cookie"' in one for one in said)
    assert not any("live.http.sticky" in one for one in warnings(config))


def test_on_a_cluster_the_annotation_for_bodies_is_named() -> None:
    config = load(TEXT % ("http: {body: 1MiB}", "engine: {kubernetes: prod}"))
    assert config.pipelines["hello"].render("live").service.http.body == 2**20
    assert any('proxy-body-size: "1048576"' in one for one in warnings(config))


def test_on_a_cluster_no_path_is_stripped() -> None:
    config = load(TEXT % ("http: {strip_path: true}", "engine: {kubernetes: prod}"))
    (said,) = [one for one in warnings(config) if "dev.http.strip_path" in one]
    assert "passes paths on whole" in said


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("basic: {'a:b': DEV}", "has a colon"),
        ("basic: {'': DEV}", "is not a user's name"),
        ('basic: {"a\\nb": DEV}', "is not a user's name"),
        ("basic: {a: ''}", "is empty"),
        ("basic: {a: 'my password'}", "is not a valid secret name"),
        ("basic: {a: PUSHLIVE_A}", "is not a valid secret name"),
        ("basic: [a]", "write"),
        ("allow: [10.0.0.1/8]", "write 10.0.0.0/8"),
        ("allow: [example.com]", "is not an address or a network"),
        ("allow: ['fe80::1%eth0']", "has a zone"),
        ("allow: ['::ffff:10.0.0.0/104']", "write 10.0.0.0/8"),
        ("allow: 10.0.0.0/8", "is not a list"),
    ],
)
def test_who_is_let_in_is_written_so_that_it_can_mean_one_thing(written: str, said: str) -> None:
    found = problems(TEXT % ("", f"http: {{{written}}}"))
    assert any(said in one.message for one in found), found
    assert not any("my password" in one.message for one in found)


def test_addresses_are_networks_of_one_address() -> None:
    config = load(TEXT % ("http: {allow: [203.0.113.7, '2001:DB8:0::/32', ' ::1 ']}", ""))
    http = config.pipelines["hello"].render("dev").service.http
    assert http.allow == ("203.0.113.7/32", "2001:db8::/32", "::1/128")


def test_an_environment_may_let_in_everyone() -> None:
    text = TEXT % ("http: {basic: {a: DEV}, allow: [10.0.0.0/8]}", "http: {basic: {}, allow: []}")
    hello = load(text).pipelines["hello"]
    assert hello.render("dev").service.http == Http()
    assert hello.render("live").service.all_secrets == ("DEV",)
    assert hello.render("live").service.proxys_secrets == {"DEV"}


def test_on_a_cluster_it_is_said_that_everyone_is_let_in() -> None:
    config = load(TEXT % ("http: {basic: {a: DEV}, allow: [10.0.0.0/8]}", "engine: {kubernetes: prod}"))
    said = "\n".join(warnings(config))
    for text in (
        "dev.http.basic",
        "dev.http.allow",
        "auth-type",
        "auth-secret",
        'whitelist-source-range: "10.0.0.0/8"',
    ):
        assert text in said
    assert "live.http" not in said
