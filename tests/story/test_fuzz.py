"""Anything at all, with a right signature or token: never an error of ours, and nothing kept unless it is said."""

from __future__ import annotations

import hashlib
import hmac
import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.lib.secret import Secret
from pipeline.store import snapshot
from tests.story.conftest import World
from webhooks.app import create_app

CONFIG = """\
pipelines:
  hello: {service: {health: /healthz}, environments: {dev: , live: }}
  shop:
    source: {url: "https://code.example/shop.git", branch: release}
    service: {health: /healthz}
    environments: {live: }
"""
SECRETS = {"github": "one", "gitea": "two"}
bounded = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))


class Target:
    """The real desk on a real store behind the web side, and what the store holds."""

    def __init__(self, world: World, data: Path) -> None:
        self.world = world
        given = {f"{name}_secret": Secret(text) for name, text in SECRETS.items()}
        changed = world.settings.model_copy(update={"data": data, **given})
        self.client: FlaskClient = create_app(world.commands, changed, lambda name: data / name).test_client()
        world.push("first")
        self.token = world.commands.create_token("fuzz", "maintainer", "ann")
        self.call("GET", "/api/status", b"")  # notes that the token is used, which is done once an hour

    def kept(self) -> dict[str, Any]:
        """All that the store holds, but for counts of refusals and what passes by itself."""
        lines = map(json.loads, snapshot.dump(self.world.store))
        found = {line["key"]: line["value"] for line in lines}
        passing = ("counts", "fact:config-error", "beats", "last-beat")
        return {
            k: v for k, v in found.items() if k not in passing and not k.startswith(("refused", "events:"))
        }

    def deliver(self, provider: str, body: bytes, **headers: str) -> Any:
        digits = hmac.new(SECRETS[provider].encode(), body, hashlib.sha256).hexdigest()
        names = {
            "github": {
                "X-Hub-Signature-256": f"sha256={digits}",
                "X-GitHub-Event": "push",
                "X-GitHub-Delivery": "d",
            },
            "gitea": {"X-Gitea-Signature": digits, "X-Gitea-Event": "push", "X-Gitea-Delivery": "d"},
        }[provider]
        given = {"Content-Type": "application/json", **names, **headers}
        return self.client.post(f"/hooks/{provider}", data=body, headers=given)

    def call(self, method: str, path: str, body: bytes) -> Any:
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        return self.client.open(path, method=method, data=body, headers=headers)


@pytest.fixture(scope="module")
def target(shared_store: str, tmp_path_factory: pytest.TempPathFactory) -> Target:
    folder = tmp_path_factory.mktemp("fuzz")
    return Target(World(shared_store, folder, CONFIG), folder)


def checked(target: Target, before: dict[str, Any], answer: Any) -> None:
    assert answer.status_code < 500, answer.data
    if not 200 <= answer.status_code < 300:
        assert target.kept() == before
    assert "\n" not in "".join(value for _, value in answer.headers)


any_text = st.text(st.characters(exclude_categories=()), max_size=40)  # also lone surrogates
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=40) | any_text
values = st.recursive(
    scalars, lambda v: st.lists(v, max_size=3) | st.dictionaries(st.text(max_size=8), v, max_size=3)
)
HEX = "a" * 40
refs = (
    st.sampled_from(["refs/heads/release", "refs/heads/main", "refs/tags/v1", "--upload-pack=x"]) | st.text()
)
commits = st.sampled_from([HEX, "b" * 40, "0" * 40, "--all", HEX + "\n"]) | st.text()
urls = (
    st.sampled_from(
        [
            "https://code.example/shop.git",
            "ext::sh -c x",
            "file:///etc",
            "git@code.example:shop.git",
            "http://[::1",
            "//",
        ]
    )
    | st.text()
)
deliveries = st.fixed_dictionaries(
    {},
    optional={
        "ref": refs | values, "after": commits | values, "before": commits | values, "deleted": values,
        "forced": st.booleans() | values,
        "pusher": st.dictionaries(st.sampled_from(["name", "login"]), st.text()) | values,
        "repository": st.dictionaries(st.sampled_from(["clone_url", "ssh_url", "html_url"]), urls) | values,
        "head_commit": st.dictionaries(st.sampled_from(["message", "id"]), st.text()) | values,
    },
)  # fmt: skip
likely = st.fixed_dictionaries(
    {
        "ref": st.just("refs/heads/release"), "after": commits, "before": st.just("0" * 40),
        "repository": st.just({"clone_url": "https://code.example/shop.git"}), "pusher": st.just({"name": "a"}),
        "head_commit": st.fixed_dictionaries({"message": st.text()}),
    }
)  # fmt: skip


@pytest.mark.parametrize("provider", SECRETS)
@given(payload=deliveries | likely | values)
@bounded
def test_fault_04_any_signed_json_is_answered_and_nothing_refused_is_stored(target, provider, payload):
    before = target.kept()
    body = json.dumps(payload).encode()
    checked(target, before, target.deliver(provider, body))


@pytest.mark.parametrize("provider", SECRETS)
@given(
    body=st.binary(max_size=300),
    kind=st.sampled_from(["application/json", "application/x-www-form-urlencoded", "x"]),
)
@bounded
def test_fault_04_any_signed_bytes_are_answered(target, provider, body, kind):
    before = target.kept()
    answer = target.deliver(provider, body, **{"Content-Type": kind})
    checked(target, before, answer)
    assert answer.status_code in (200, 400, 404)


header = st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=80)


@given(signature=header, event=header, delivery=header)
@bounded
def test_fault_01_any_wrong_signature_is_refused(target, signature, event, delivery):
    before = target.kept()
    headers = {"X-Hub-Signature-256": signature, "X-GitHub-Event": event, "X-GitHub-Delivery": delivery}
    answer = target.client.post("/hooks/github", data=b"{}", headers=headers)
    assert answer.status_code in (401, 429)  # who fails too often is told to wait
    assert target.kept() == before


NAMES = st.sampled_from(
    ["hello", "shop", "nothing", "--help", "..", "%2e%2e", "hello\n", "a" * 300]
) | st.text(min_size=1, max_size=20)
NUMBERS = st.sampled_from(["1", "latest", "0", "-1", "999999999", "9" * 5000, "1e3", "١", "r1"]) | st.text(
    min_size=1, max_size=8
)
ACTS = st.sampled_from(["deploy", "revert", "promote", "hold", "resume", "unquarantine"])
fields = st.dictionaries(
    st.sampled_from(
        [
            "commit",
            "release",
            "config",
            "rebuild",
            "environment",
            "to",
            "reason",
            "run",
            "name",
            "role",
            "value",
            "x",
        ]
    ),
    scalars
    | st.sampled_from(["live", "dev", HEX, "pipelines: {}", 1, "1", -1, 10**30, "maintainer", "&a [*a]"]),
    max_size=4,
)
bodies = (
    fields.map(lambda f: json.dumps(f).encode())
    | values.map(lambda v: json.dumps(v).encode())
    | st.binary(max_size=60)
)


@given(name=NAMES, act=ACTS, body=bodies)
@bounded
def test_fault_48_any_command_with_any_body_is_answered(target, name, act, body):
    before = target.kept()
    checked(target, before, target.call("POST", f"/api/pipelines/{quote(name, safe='')}/{act}", body))


@given(name=NAMES, number=NUMBERS, act=st.sampled_from(["cancel", "retry"]), body=bodies)
@bounded
def test_fault_48_any_run_name_is_answered(target, name, number, act, body):
    before = target.kept()
    path = f"/api/runs/{quote(name, safe='')}/{quote(number, safe='')}"
    checked(target, before, target.call("POST", f"{path}/{act}", body))
    for part in ("", "/log"):
        answer = target.call("GET", path + part, b"")
        assert answer.status_code < 500, answer.data
        assert b"root:" not in answer.data


@given(
    path=st.sampled_from(
        ["/api/status", "/api/runs", "/api/pipelines/hello/output", "/api/runs/hello/1/log", "/login"]
    ),
    query=st.dictionaries(
        st.sampled_from(["pipeline", "limit", "lines", "environment", "stage", "back", "after"]),
        st.text(max_size=60) | st.sampled_from(["../../etc/passwd", "9" * 5000, "-1", "//evil", "x" * 3000]),
    ),
)
@bounded
def test_fault_48_any_query_is_answered(target, path, query):
    before = target.kept()
    text = "&".join(f"{key}={quote(value, safe='', errors='replace')}" for key, value in query.items())
    answer = target.call("GET", f"{path}?{text}", b"")
    assert answer.status_code < 500, answer.data
    assert target.kept() == before
    assert "\n" not in "".join(value for _, value in answer.headers)


@given(body=bodies | st.text(max_size=300).map(lambda t: json.dumps({"config": t}).encode()))
@bounded
def test_fault_18_planning_any_configuration_is_answered(target, body):
    before = target.kept()
    answer = target.call("POST", "/api/plan", body)
    assert answer.status_code < 500, answer.data
    assert target.kept() == before


@given(body=bodies)
@bounded
def test_fault_48_a_token_is_made_only_from_a_valid_name_and_role(target, body):
    before = target.kept()
    checked(target, before, target.call("POST", "/api/tokens", body))


def test_refusals_are_counted_under_a_limited_number_of_names(target):
    """What a stranger sends names no key: the table of counts stays as short as the code is."""
    for number in range(50):
        target.client.get(f"/api/status?{number}", headers={"Authorization": f"Bearer {number}"})
        target.client.post(f"/hooks/p{number}", data=b"{}")
        target.client.get(f"/git/r{number}/info/refs?service=git-upload-pack")
        target.deliver("github", b"{}", **{"X-GitHub-Event": f"e{number}", "X-GitHub-Delivery": f"d{number}"})
    assert len(target.world.commands.counts()) < 30
