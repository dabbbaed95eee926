"""`http.redirects`, as it is written."""

from __future__ import annotations

import json

import pytest

from pipeline.config.http.redirects import LONGEST, MOST, followed, loops
from pipeline.config.lint import warnings
from pipeline.config.loading import load, problems

TEXT = "pipelines: {hello: {service: {http: {redirects: %s}}, environments: {dev: , live: {host: shop.example}}}}"


def said(redirects: dict[str, str]) -> list[str]:
    return [one.message for one in problems(TEXT % json.dumps(redirects))]


@pytest.mark.parametrize(
    ("one", "to"),
    [
        ("/old", "/new"),
        ("/", "/start/"),
        ("/blog/*", "https://blog.example.com/"),
        ("/blog/*", "https://blog.example.com"),
        ("/blog/*", "https://blog.example.com:8443/x/*"),
        ("/a/*", "/*"),
        ("/caf%C3%A9", "/caf%C3%A9/neu"),
        ("/shop", "https://shop.example/new"),
        ("/shop", "http://elsewhere.example/shop"),
    ],
)
def test_what_a_redirect_can_be(one: str, to: str) -> None:
    assert said({one: to}) == []


@pytest.mark.parametrize(
    ("one", "to", "why"),
    [
        ("old", "/new", "is not a path"),
        ("/old*", "/new", "is not a path"),
        ("/*/x", "/new", "is not a path"),
        ("/old?x=1", "/new", "is not a path"),
        ("/old;show info", "/new", "is not a path"),
        ("/old\nhttp-request deny", "/new", "is not a path"),
        ("/%[env(PATH)]", "/new", "is not a path"),
        ("/é", "/new", "is not a path"),
        ("/1/2/3/4/5/6/7/8/*", "/new", "too many parts"),
        ("/" + "x" * LONGEST, "/new", "is longer than"),
        ("/old", "new", "is not where"),
        ("/old", "", "is not where"),
        ("/old", "//evil.example", "is not where"),
        ("/old", "/\\\\evil.example", "is not where"),
        ("/old", "javascript:alert(1)", "is not where"),
        ("/old", "https://shop.example@evil.example/", "is not where"),
        ("/old", "ftp://x.example/", "is not where"),
        ("/old", "/new?x=1", "is not where"),
        ("/old", "/new#x", "is not where"),
        ("/old", "/new\r\nSet-Cookie: a=b", "is not where"),
        ("/old", "/%[env(PATH)]", "is not where"),
        ("/old/*", "https://blog.example*", "is not where"),
        ("/old/*", "/new*", "is not where"),
        ("/old", "/new/*", "there is no rest"),
    ],
)
def test_what_it_cannot_be_is_refused(one: str, to: str, why: str) -> None:
    (found,) = said({one: to})
    assert why in found


def test_there_are_not_too_many() -> None:
    many = {f"/{number}": "/new" for number in range(MOST)}
    assert said(many) == []
    assert "too many" in said({**many, "/one-more": "/new"})[0]


@pytest.mark.parametrize(
    "redirects",
    [
        {"/a": "/a"},
        {"/a": "/b", "/b": "/a"},
        {"/a": "https://shop.example/b", "/b": "/a"},
        {"/a": "http://SHOP.example/a"},
        {"/*": "/new"},
        {"/*": "/new/*"},
        {"/a/*": "/a/b/*"},
        {"/": "https://shop.example"},
    ],
)
def test_one_that_leads_back_is_refused(redirects: dict[str, str]) -> None:
    assert set(said(redirects)) == {"leads back to itself; lead it elsewhere"}


def test_a_way_that_ends_is_none() -> None:
    assert [*loops({"/a/*": "/*", "/b": "/a/x", "/x": "https://elsewhere.example/b"}, ())] == []
    assert [*loops({"/a": "https://shop.example:8443/a"}, ("shop.example",))] == []


def test_the_very_path_comes_first_and_then_the_longest() -> None:
    redirects = {"/a/*": "/x", "/a/b/*": "https://y.example/*", "/a/b/c": "/z"}
    assert followed("/a/b/c", redirects) == ("/a/b/c", "/z")
    assert followed("/a/b//d/e", redirects) == ("/a/b/*", "https://y.example/d/e")
    assert followed("/a/", redirects) == ("/a/*", "/x")
    assert followed("/a", redirects) is None


def test_an_environment_has_its_own_and_a_cluster_none() -> None:
    text = """
pipelines:
  hello:
    registry: r.example/hello
    service: {http: {redirects: {/a: /b}}}
    environments: {dev: {http: {redirects: {}}}, qa: , live: {engine: {kubernetes: prod}}}
"""
    config = load(text)
    hello = config.pipelines["hello"]
    assert [hello.render(one).service.http.redirects for one in ("dev", "qa")] == [{}, {"/a": "/b"}]
    assert any("live.http.redirects" in one and "permanent-redirect" in one for one in warnings(config))
    plain = load("pipelines: {hello: {environments: {live: }}}").pipelines["hello"].render("live")
    assert plain.fingerprint() == hello.render("dev").model_copy(update={"registry": None}).fingerprint()
