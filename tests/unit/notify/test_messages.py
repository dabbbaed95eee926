"""Receivers in pipelines.yaml: refused with their line where they are wrong, and their addresses never shown."""

from __future__ import annotations

import pytest

from pipeline.config.diff import plan
from pipeline.config.loading import load
from pipeline.errors import ConfigError
from pipeline.lib.text import without_path
from pipeline.notify.delivery import without_mentions

REST = "\npipelines: {hello: {environments: {live: }}}"
SECRET = "https://hooks.example.com/services/T0/s3cr3t"


def only(notify: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(f"notify: {notify}{REST}")
    assert "s3cr3t" not in str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    "url",
    [SECRET, "https://h.example:8443/a?b=c", "https://10.0.0.7/x", "http://localhost:9000", "http://127.0.0.1:1/x",
     "http://[::1]:9000/x", "https://h.example"],
)  # fmt: skip
def test_valid_receiver_urls_are_accepted(url: str) -> None:
    config = load(f'notify: [{{url: "{url}"}}]{REST}')
    [one] = config.notify_of("hello")
    assert (one.url, one.when) == (
        url,
        (
            "failed",
            "waiting",
            "opened",
            "reverted",
            "held",
            "serious",
            "down",
            "degraded",
            "up",
            "cron",
            "backup",
            "bake",
            "worse",
            "restarted",
            "slowing",
            "cost",
            "filling",
            "configuration",
        ),
    )
    assert "s3cr3t" not in repr(config)


@pytest.mark.parametrize(
    "url",
    ["ftp://h.example/s3cr3t", "hooks.example.com/s3cr3t", "https://", "https:///s3cr3t", "https://a:s3cr3t@h.example/",
     "https://h.example/s3cr3t x", "https://h.example/#s3cr3t", "https://h.example:0/s3cr3t", "https://h.example:99999/",
     "https://h.example/s3cr3t\\\\x", "https://h.example/s3cr3t\\r\\nHost: x", "https://h.example/" + 2000 * "s3cr3t",
     "https://-h.example/s3cr3t", "//h.example/s3cr3t", "https://h.example?s3cr3t"],
)  # fmt: skip
def test_invalid_receiver_urls_are_refused_and_not_quoted(url: str) -> None:
    assert "pipelines.yaml:1: notify[0].url: is not a URL" in only(f'[{{url: "{url}"}}]')


@pytest.mark.parametrize("host", ["h.example", "10.0.0.7", "localhost.example", "127.0.0.1.example", "[::2]"])
def test_http_is_accepted_only_for_this_machine(host: str) -> None:
    assert "write https://" in only(f'[{{url: "http://{host}/s3cr3t"}}]')


@pytest.mark.parametrize(
    ("notify", "says"),
    [
        (SECRET, "'https://hooks.example.com/…' is not a list: write [{url, when}]"),
        (
            f"[{SECRET}]",
            "notify[0]: 'https://hooks.example.com/…' is not a mapping; allowed here: url",
        ),
        (
            f"[{{url: [{SECRET}]}}]",
            "notify[0].url: a list is not a single value; write a URL such as",
        ),
        ("[{when: [live]}]", "notify[0]: `url` is missing"),
        (
            f"[{{url: {SECRET}, when: [lost]}}]",
            "notify[0].when[0]: 'lost' is not allowed; write live or failed",
        ),
        (f"[{{url: {SECRET}, when: []}}]", "notify[0].when: must not be empty"),
        (f"[{{url: {SECRET}, on: [live]}}]", "notify[0].on: unknown key"),
        (f"[{', '.join(21 * [f'{{url: {SECRET}}}'])}]", "notify:"),
    ],
)
def test_a_problem_is_explained_without_the_receivers_url(notify: str, says: str) -> None:
    assert says in only(notify)


def test_a_plan_lists_receivers_without_their_path() -> None:
    old, new = load(REST), load(f"notify: [{{url: {SECRET}, when: [live]}}]{REST}")
    assert plan(old, new) == {"hello": {"notify": ("+ https://hooks.example.com/…: live",)}}
    assert plan(new, old) == {"hello": {"notify": ("− https://hooks.example.com/…: live",)}}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (SECRET, "https://hooks.example.com/…"),
        (f"GET {SECRET}?a=b: '{SECRET}'", "GET https://hooks.example.com/… 'https://hooks.example.com/…'"),
        ("https://u:s3cr3t@h.example:8443/x", "https://h.example:8443/…"),
        ("https://h.example", "https://h.example"),
        ("nothing to hide: /a/b", "nothing to hide: /a/b"),
    ],
)
def test_urls_are_shown_without_their_path(text: str, shown: str) -> None:
    assert without_path(text) == shown


def test_a_message_mentions_no_one() -> None:
    assert (
        without_mentions("<!channel> @all <@U123|x> &")
        == "&lt;!channel&gt; @\u200ball &lt;@\u200bU123|x&gt; &amp;"
    )
