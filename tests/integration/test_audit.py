"""The audit log of a real service: command line, git, webhook and page, and a store that was altered."""

from __future__ import annotations

import hashlib
import hmac
import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

import docker
from pipeline.runtime.embedded_store import url
from pipeline.store import Store
from tests.support.developer import web
from tests.support.service import SECRET, Service, running
from tests.support.waiting import until

REMOTE = "https://code.invalid/shop.git"
CONFIG = f"""
pipelines:
  hello:
    service: {{memory: 128MiB, stop: 1s}}
    environments: {{live: {{keep_warm: 1m}}}}
  shop:
    source: {{url: "{REMOTE}"}}
    environments: {{live: }}
"""


@pytest.fixture(scope="module")
def service(docker_client: docker.DockerClient, base_images: None) -> Iterator[Service]:
    with running(docker_client, CONFIG) as one:
        yield one


def told(service: Service, *words: str) -> list[dict[str, Any]]:
    """Oldest first."""
    answer = json.loads(service.pushlive("audit", *words, "--json").out)
    found: list[dict[str, Any]] = answer["entries"]
    return found[::-1]


def deliver(service: Service) -> None:
    body = json.dumps(
        {
            "ref": "refs/heads/main", "before": "0" * 40, "after": "a" * 40, "deleted": False, "forced": False,
            "repository": {"clone_url": REMOTE}, "pusher": {"name": "eve\x1b[31m"}, "head_commit": {"message": "x"},
        }
    ).encode()  # fmt: skip
    digits = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    headers = {
        "X-GitHub-Event": "push", "X-GitHub-Delivery": "d1", "X-Hub-Signature-256": f"sha256={digits}",
        "Content-Type": "application/json",
    }  # fmt: skip
    assert service.http("POST", "/hooks/github", body, headers)[0] == 202


def log_in(service: Service, token: str) -> None:
    data = urllib.parse.urlencode({"token": token}).encode()
    try:
        urllib.request.urlopen(f"http://{service.listen}/login", data, timeout=20).close()
    except urllib.error.HTTPError as error:
        error.close()


def test_every_interface_is_recorded_in_the_log(service: Service) -> None:
    service.push(web("version 1"), "One")
    service.push(web("version 2"), "Two")
    service.pushlive("revert", "hello", "--reason", "slow today")
    service.pushlive("resume", "hello")
    ann = service.pushlive("token", "create", "ann", "--expires", "90d").out.strip()
    service.pushlive("hold", "hello", "--reason", f"my token is {ann}", PUSHLIVE_TOKEN=ann)
    service.pushlive("gc")
    service.api("POST", "/api/pipelines/hello/resume", {"held_by": "ann"})
    deliver(service)
    log_in(service, ann)
    log_in(service, "wrong")
    service.pushlive("token", "revoke", "ann")
    found = [
        (e["act"], e["who"], e["role"], e["way"], e["address"], e["run"], e["why"]) for e in told(service)
    ]
    here = "127.0.0.1"
    assert [one for one in found if one[0] not in ("configuration", "cancel")] == [
        ("token create", "the service", "", "", "", "", ""),
        ("push", "first", "maintainer", "git", here, "hello#1", ""),
        ("push", "first", "maintainer", "git", here, "hello#2", ""),
        ("revert", "first", "maintainer", "cli", here, "hello#3", "slow today"),
        ("resume", "first", "maintainer", "cli", here, "", ""),
        ("token create", "first", "maintainer", "cli", here, "", ""),
        ("hold", "ann", "developer", "cli", here, "", "my token is •••"),
        ("gc", "first", "maintainer", "cli", here, "", ""),
        ("gc ended", "first", "maintainer", "cli", here, "", ""),
        ("resume", "first", "maintainer", "api", here, "", ""),
        ("push", "eve", "", "webhook:github", here, "shop#1", ""),
        ("log-in", "ann", "developer", "page", here, "", ""),
        ("log-in failed", "", "", "page", here, "", ""),
        ("token revoke", "first", "maintainer", "cli", here, "", ""),
    ]
    assert {entry["run"] for entry in told(service, "shop")} == {"shop#1"}
    shown = service.pushlive("audit", "hello").out
    assert "slow today" in shown
    assert "ann (developer)" in shown


def test_a_changed_file_is_an_entry(service: Service) -> None:
    service.config.write_text(CONFIG.replace("stop: 1s", "stop: 2s"))
    until(lambda: [e["act"] for e in told(service)].count("configuration") == 2, 15)
    before, after = [e["detail"] for e in told(service) if e["act"] == "configuration"]
    assert before.split(" → ")[1] == after.split(" → ")[0]


def test_only_a_maintainer_may_read_the_audit_log(service: Service) -> None:
    builder = service.pushlive("token", "create", "builder").out.strip()
    service.pushlive("audit", code=6, PUSHLIVE_TOKEN=builder)
    service.pushlive("audit", "--verify", code=6, PUSHLIVE_TOKEN=builder)


def test_the_last_maintainers_token_stays(service: Service) -> None:
    assert "last maintainer" in service.pushlive("token", "revoke", "first", code=3).err
    listed = service.pushlive("token", "list").out
    assert "never" in listed.splitlines()[1]
    assert "in 36" in listed  # days: a year, unless it is said otherwise


def test_an_altered_entry_is_found(service: Service) -> None:
    whole = service.pushlive("audit", "--verify")
    number, noted = whole.out.splitlines()[-1].split()[1:]
    assert service.pushlive("audit", "--verify", "--head", noted).out == whole.out
    assert json.loads((service.data / "audit.head").read_text())["number"] == int(number)
    store = Store(url(service.data), service.instance)
    key = store.key("audit")
    lines = store.client.lrange(key, 0, -1)
    three = store.client.lindex(key, 2)
    store.client.lset(key, 2, three.replace('"who":"first"', '"who":"other"'))
    said = service.pushlive("audit", "--verify", code=1).out
    assert "✗ line 3 of the log was changed" in said
    store.client.lset(key, 2, three)
    assert service.pushlive("audit", "--verify").code == 0
    store.client.lrem(key, 1, lines[4])
    assert "✗ entry 5 is missing" in service.pushlive("audit", "--verify", code=1).out
    store.client.delete(key)
    store.client.rpush(key, *lines[:-2])
    said = service.pushlive("audit", "--verify", "--head", noted, code=1).out
    assert f"but there was an entry {number}: the end was cut off" in said
    assert f"no entry has the hash {noted} that you noted" in said
    until(lambda: f"remembers entry {number}" in service.output, 15)  # the keeper says so as well
