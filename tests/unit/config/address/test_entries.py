from __future__ import annotations

import pytest

from pipeline.config.address import entries
from pipeline.config.engines import DOCKER
from pipeline.config.https.policy import HostPolicy, names, policies
from pipeline.config.loading import load, problems

TWO = (
    "pipelines: {web: {environments: {live: {%s}}}, api: {environments: {live: {%s}}},"
    " other: {environments: {live: {}}}}"
)


@pytest.mark.parametrize(
    "entry",
    [
        "shop.example",
        "shop.example/api",
        "shop.example/a/B/c.d/_~-",
        "*.shop.example",
        "*",
        "*/x",
        "a/.well-known",
    ],
)
def test_an_entry_is_a_host_and_perhaps_a_path(entry: str) -> None:
    one = load(TWO % (f'hosts: ["{entry}"]', "")).pipelines["web"].render("live")
    assert one.hosts == (entry,)
    assert entries.host_of(entry) + entries.path_of(entry) == entry


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("shop.example/", "shop.example.com/api"),
        ("shop.example//a", "*.example.com"),
        ("shop.example/a%2fb", "without scheme and port"),
        ("shop.example/a b", "without scheme and port"),
        ("shop.example:80/a", "without scheme and port"),
        ("https://shop.example", "without scheme and port"),
        ("a.*.example", "without scheme and port"),
        ("*shop.example", "without scheme and port"),
        ("*.*.example", "without scheme and port"),
        ("Shop.example", "lower case"),
        ("/api", "without scheme and port"),
        ("shop.example/a/../b", "`..` as a part"),
        ("shop.example/./b", "`..` as a part"),
        ("shop.example/a/b/c/d/e", "more than 4 parts"),
        ("shop.example/" + "a" * 100, "100 characters"),
    ],
)
def test_what_is_no_entry_is_refused(entry: str, said: str) -> None:
    assert said in " ".join(one.message for one in problems(TWO % (f'hosts: ["{entry}"]', "")))


def test_an_entry_has_one_owner() -> None:
    assert not problems(TWO % ("host: shop.example", "host: shop.example/api"))
    for entry in ("shop.example/api", "*.shop.example", "*"):
        (one,) = problems(TWO % (f'hosts: ["{entry}"]', f'hosts: ["{entry}"]'))
        assert f"{entry!r} already belongs to web/live" in one.message


def test_nothing_is_below_a_host_that_only_leads_on() -> None:
    (one,) = problems(
        TWO % ("host: shop.example, redirect_hosts: [www.shop.example]", "host: www.shop.example/api")
    )
    assert "www.shop.example only leads on, by `redirect_hosts` of web/live" in one.message


def test_of_a_shared_host_the_one_that_has_all_of_it_decides_about_https() -> None:
    texts = ("host: s.example/api, https: redirect", "host: s.example, https: both")
    for order in (texts, texts[::-1]):
        assert policies(load(TWO % order), DOCKER) == {"s.example": HostPolicy("both")}


def test_only_names_need_a_certificate_each() -> None:
    config = load(TWO % ('hosts: ["*.s.example", s.example/a, s.example/b, "*"]', ""))
    assert names(config.pipelines["web"], "live") == ("s.example",)


@pytest.mark.parametrize(
    ("wide", "narrow", "does"),
    [
        ("a.x", "a.x/p", True),
        ("a.x/p", "a.x/p/q", True),
        ("a.x/p", "a.x/pq", False),
        ("a.x/p", "a.x", False),
        ("a.x", "a.x", False),
        ("a.x", "b.x/p", False),
        ("*.x", "a.x", True),
        ("*.x", "b.a.x", False),
        ("*.x/p", "a.x", False),
        ("*.x/p", "a.x/p", True),
        ("*", "a.x", True),
        ("*", "*.x/p", True),
        ("*.x", "*", False),
        ("*.x", "*.y", False),
        ("a.x", "*.x", False),
    ],
)
def test_what_an_entry_would_get_without_another_one(wide: str, narrow: str, *, does: bool) -> None:
    assert entries.covers(wide, narrow) is does


def test_only_what_can_be_asked_for_becomes_a_url_or_a_host_header() -> None:
    hosts = ("*", "*.s.example", "s.example/api", "t.example", "s.example")
    assert entries.plain(hosts) == ("s.example/api", "t.example", "s.example")
    assert entries.named(hosts) == ("s.example", "t.example")
    assert entries.hosts_in(hosts) == ("*", "*.s.example", "s.example", "t.example")
