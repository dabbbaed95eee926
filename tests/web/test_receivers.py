"""Webhooks: what is accepted, what is refused, and how it is answered."""

from __future__ import annotations

import hashlib
import hmac
import json
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from pipeline.config.settings import Secret, Settings
from pipeline.domain.tracing.context import TraceContext
from webhooks.receivers import RECEIVERS

A, B, NONE = "a" * 40, "b" * 40, "0" * 40
NEW = "new secret"
URL = "https://code.example/shop.git"


def github(**changes: Any) -> dict[str, Any]:
    return {
        "ref": "refs/heads/release", "before": B, "after": A, "created": False, "deleted": False,
        "forced": False, "repository": {"full_name": "me/shop", "clone_url": URL, "ssh_url": None},
        "pusher": {"name": "ada", "email": "ada@example.com"},
        "head_commit": {"id": A, "message": "Sell\n\nmore"}, "commits": [],
    } | changes  # fmt: skip


def signed(body: bytes, secret: str = NEW, **headers: str) -> dict[str, str]:
    digits = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return {
        "X-GitHub-Event": "push", "X-GitHub-Delivery": "d-1", "Content-Type": "application/json",
        "X-Hub-Signature-256": f"sha256={digits}",
    } | headers  # fmt: skip


def send(client, payload, *, secret=NEW, raw=None, **headers):
    body = json.dumps(payload).encode() if raw is None else raw
    return client.post("/hooks/github", data=body, headers=signed(body, secret, **headers))


def test_a_push_is_answered_once_it_is_stored(client, service):
    answer = send(client, github())
    assert (answer.status_code, answer.json) == (202, {"runs": ["shop#42"], "notes": []})
    (push,) = service.pushes
    assert (push.pipeline, push.repository, push.ref) == ("shop", URL, "refs/heads/release")
    assert (push.commit, push.before, push.delivery) == (A, B, "github:d-1")
    assert (push.pusher, push.message, push.forced) == ("ada", "Sell", False)


def test_pushes_from_gitea_and_forgejo_are_accepted(client, service):
    payload = github(pusher={"login": "ada", "username": "ada"})
    body = json.dumps(payload).encode()
    digits = hmac.new(b"gitea secret", body, hashlib.sha256).hexdigest()
    for kind in ("Gitea", "Forgejo"):
        headers = {f"X-{kind}-Event": "push", f"X-{kind}-Delivery": kind, f"X-{kind}-Signature": digits}
        assert client.post("/hooks/gitea", data=body, headers=headers).status_code == 202
    assert [push.delivery for push in service.pushes] == ["gitea:Gitea", "gitea:Forgejo"]
    bad = client.post("/hooks/gitea", data=body + b" ", headers=headers)
    assert bad.status_code == 401


def test_a_form_encoded_payload_is_accepted(client, service):
    from urllib.parse import urlencode

    body = urlencode({"payload": json.dumps(github())}).encode()
    headers = signed(body) | {"Content-Type": "application/x-www-form-urlencoded"}
    assert client.post("/hooks/github", data=body, headers=headers).status_code == 202


@pytest.mark.parametrize(
    "signature",
    [None, "", "sha256=", "sha256=" + "0" * 64, "sha256=" + "0" * 63, "sha256=ä" + "0" * 63,
     "sha1=" + "0" * 40, "0" * 64, "sha256"],
)  # fmt: skip
def test_fault_01_a_bad_signature_is_refused_and_counted(client, service, signature):
    body = json.dumps(github()).encode()
    headers = signed(body)
    del headers["X-Hub-Signature-256"]
    if signature is not None:
        headers["X-Hub-Signature-256"] = signature
    answer = client.post("/hooks/github", data=body, headers=headers)
    assert answer.status_code == 401
    assert "signature" in answer.json["error"]
    assert service.pushes == []
    assert service.traces == {"github: signature": 1}


def test_fault_01_a_sha1_signature_alone_is_refused(client, service):
    body = json.dumps(github()).encode()
    headers = signed(body)
    del headers["X-Hub-Signature-256"]
    headers["X-Hub-Signature"] = "sha1=" + hmac.new(b"new secret", body, hashlib.sha1).hexdigest()
    assert client.post("/hooks/github", data=body, headers=headers).status_code == 401
    assert service.pushes == []


def test_fault_01_without_a_secret_every_request_is_refused(make_app, service, caplog):
    client = make_app(github_secret=Secret(""), github_secret_old=Secret("")).test_client()
    assert send(client, github(), secret="").status_code == 403
    assert "PUSHLIVE_GITHUB_SECRET" in caplog.text
    assert service.traces == {"github: no secret": 1}


class Endless:
    """A body that never ends; counts the bytes that were read."""

    def __init__(self) -> None:
        self.taken = 0

    def read(self, size: int = -1) -> bytes:
        assert 0 < size <= 1 << 20
        self.taken += size
        return b" " * size


@pytest.mark.parametrize("right", [True, False])
def test_fault_02_a_body_whose_declared_length_is_too_large_is_refused(client, service, right):
    body = b" " * 200_001
    answer = client.post("/hooks/github", data=body, headers=signed(body, "new secret" if right else "wrong"))
    assert answer.status_code == 413
    assert answer.headers["Connection"] == "close"
    assert service.traces == {"github: too large": 1}


def test_fault_02_a_body_too_large_in_chunks_is_refused_in_bounded_memory(client, service):
    endless = Endless()
    tracemalloc.start()
    answer = client.post(
        "/hooks/github", environ_overrides={"wsgi.input": endless, "wsgi.input_terminated": True}
    )
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert answer.status_code == 413
    assert endless.taken <= 200_000 + 64 * 1024
    assert peak < 2_000_000


DEEP = b"[" * 10_000 + b"]" * 10_000


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"", "not JSON"), (b"{", "not JSON"), (b"\xff\xfe\x00", "not JSON"), (b"[]", "not a JSON object"),
        (b'{"ref": %s}' % DEEP, ""), (b"9" * 5000, "not JSON"),
    ],
)  # fmt: skip
def test_fault_04_unexpected_json_is_refused_with_a_reason(client, service, raw, said):
    answer = send(client, None, raw=raw)
    assert answer.status_code == 400
    assert said in answer.json["error"]
    assert service.pushes == []
    assert service.traces == {"github: malformed": 1}


def test_fault_04_json_nested_too_deeply_is_refused(client):
    raw = b'{"a":' * 100_000 + b"1" + b"}" * 100_000
    # The body limit of these tests lets it through; the parser must not.
    answer = send(client, None, raw=raw[:199_000])
    assert answer.status_code == 400


@pytest.mark.parametrize(
    "changes",
    [
        {"ref": None}, {"ref": 7}, {"ref": ["refs/heads/release"]}, {"after": "--upload-pack=x"},
        {"after": 1},
        {"before": A + "\n"}, {"repository": "shop"}, {"repository": {"clone_url": {}}}, {"deleted": "no"},
        {"pusher": []}, {"head_commit": {"message": 3}}, {"head_commit": [1]},
    ],
)  # fmt: skip
def test_fault_04_a_field_of_the_wrong_type_is_named(client, service, changes):
    answer = send(client, github(**changes))
    assert answer.status_code == 400
    assert "`" in answer.json["error"]
    assert service.pushes == []


def test_fault_04_a_delivery_without_an_id_is_refused(client):
    assert send(client, github(), **{"X-GitHub-Delivery": ""}).status_code == 400


def test_fault_04_lone_surrogates_are_stored_as_valid_text(client, service):
    answer = send(client, github(head_commit={"message": "\ud800 hi"}, pusher={"name": "\udfff"}))
    assert answer.status_code == 202
    assert service.pushes[0].message.encode()


def test_fault_05_the_same_delivery_many_times_at_once_makes_one_run(make_app, service):
    app = make_app()
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: send(app.test_client(), github()), range(100)))
    assert {answer.status_code for answer in answers} == {202}
    assert {tuple(answer.json["runs"]) for answer in answers} == {("shop#42",)}
    assert len(service.pushes) == 1


def test_fault_06_notes_of_a_coalesced_push_are_passed_on(client):
    send(client, github())
    assert send(client, github()).json["notes"] == ["this delivery is shop#42 already"]


def test_fault_07_an_unknown_repository_is_not_found(client, service):
    answer = send(client, github(repository={"clone_url": "https://elsewhere/x.git"}))
    assert (answer.status_code, answer.json) == (404, {"error": "unknown repository", "advice": ""})
    assert service.traces == {"github: unknown repository": 1}
    assert send(client, github(repository=None)).status_code == 404


@pytest.mark.parametrize(
    ("changes", "headers", "said"),
    [
        ({"deleted": True, "after": NONE}, {}, "deleted"),
        ({"after": NONE}, {}, "deleted"),
        ({"ref": "refs/tags/v1"}, {}, "tag"),
        ({"ref": "refs/tags/v1", "deleted": True, "after": NONE}, {}, "tag"),
        ({"ref": "refs/heads/other"}, {}, "release"),
        ({"ref": "refs/heads/--upload-pack=x"}, {}, "release"),
        ({"ref": "refs/heads/release\n"}, {}, "release"),
        ({}, {"X-GitHub-Event": "ping"}, "pong"),
        ({}, {"X-GitHub-Event": "issues"}, "issues"),
        ({}, {"X-GitHub-Event": ""}, "missing"),
    ],
)
def test_fault_07_an_irrelevant_event_is_ignored_with_a_reason(client, service, changes, headers, said):
    answer = send(client, github(**changes), **headers)
    assert answer.status_code == 200
    assert said in answer.json["ignored"]
    assert service.pushes == []


def test_fault_07_an_unknown_provider_is_not_found(client):
    assert client.post("/hooks/nobody", data=b"{}").status_code == 404


def test_fault_08_a_forced_push_is_a_push(client, service):
    assert send(client, github(forced=True)).status_code == 202
    assert service.pushes[0].forced is True


def test_fault_10_a_store_that_is_down_is_503_with_retry_after(client, service):
    service.down = True
    answer = send(client, github())
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) > 0
    assert answer.json == {"error": "the push was not stored", "advice": "Deliver it again."}
    assert service.pushes == []


def test_fault_12_the_old_and_the_new_secret_are_accepted(client, service):
    assert send(client, github(), secret="old secret").status_code == 202
    assert send(client, github(), secret="new secret", **{"X-GitHub-Delivery": "d-2"}).status_code == 202
    assert send(client, github(), secret="older secret").status_code == 401
    assert len(service.pushes) == 2


def test_a_push_starts_every_pipeline_of_its_repository_and_branch(client, service):
    service.pipelines["shop-api"] = (URL, "release")
    service.pipelines["shop-next"] = (URL, "next")
    assert send(client, github()).json["runs"] == ["shop#42", "shop-api#43"]


@pytest.mark.parametrize("provider", RECEIVERS)
def test_every_provider_has_its_two_secrets_in_the_settings(provider):
    assert {f"{provider}_secret", f"{provider}_secret_old"} <= vars(Settings()).keys()


@pytest.mark.parametrize("provider", RECEIVERS)
def test_no_provider_accepts_a_request_without_a_signature(provider):
    assert not RECEIVERS[provider].verify({}, b"{}", (Secret("one"), Secret("")))


def test_a_signed_request_names_its_trace(client, service):
    traced = {"traceparent": f"00-{'a' * 32}-{'b' * 16}-01", "tracestate": "ci=1"}
    assert send(client, github(), secret="wrong", **traced).status_code == 401
    assert service.actors == []
    assert send(client, github(), **traced).status_code == 202
    assert (
        send(client, github(after=B), **{"X-GitHub-Delivery": "d-2", "traceparent": "junk"}).status_code
        == 202
    )
    assert [by.trace for by in service.actors] == [
        TraceContext("a" * 32, "b" * 16, "01", "ci=1"),
        TraceContext(),
    ]


def pull_request(action: str = "opened", fork: bool = False, **changes: Any) -> dict[str, Any]:
    theirs = {"full_name": "eve/shop", "clone_url": "https://code.example/eve/shop.git"}
    own = {"full_name": "me/shop", "clone_url": URL}
    head = {"ref": "feature/login", "sha": A, "repo": theirs if fork else own}
    return {
        "action": action, "number": 7, "repository": own, "sender": {"login": "eve"},
        "pull_request": {"title": "Log in", "merged": False, "head": head, "base": {"ref": "release", "repo": own}},
    } | changes  # fmt: skip


@pytest.mark.parametrize("action", ["opened", "reopened", "synchronize", "synchronized"])
def test_a_pull_request_is_passed_on_with_where_it_comes_from(client, service, action):
    service.previewed = True
    event = {"X-GitHub-Event": "pull_request"}
    answer = send(client, pull_request(action, fork=True), **event)
    assert (answer.status_code, answer.json) == (202, {"runs": ["shop--pr-7#1"], "notes": ["a note"]})
    send(client, pull_request(action), **event)
    send(client, pull_request("closed", fork=True), **event)
    (pipelines, theirs), (_, own), (_, closed) = service.requests
    assert pipelines == ("shop",)
    assert (theirs.url, theirs.number, theirs.branch) == (
        "https://code.example/eve/shop.git",
        7,
        "feature/login",
    )
    assert (theirs.commit, theirs.base, theirs.closed) == (A, "release", "")
    assert (own.url, closed.closed) == ("", "closed")


@pytest.mark.parametrize(
    "wrong",
    [
        {"number": "7"},
        {"number": -1},
        {"action": None},
        {"pull_request": []},
        {"pull_request": {"head": {"ref": "x", "sha": "main", "repo": {"full_name": "me/shop"}}}},
    ],
)
def test_a_pull_request_that_is_not_as_documented_is_refused(client, service, wrong):
    answer = send(client, pull_request(**wrong), **{"X-GitHub-Event": "pull_request"})
    assert answer.status_code == 400, answer.json
    assert service.requests == []


@pytest.mark.parametrize("url", ["", "https://evil.example/shop.git", "file:///etc", "ssh://code.example/x"])
def test_nothing_is_fetched_from_another_server_because_a_pull_request_says_so(client, service, url):
    payload = pull_request(fork=True)
    payload["pull_request"]["head"]["repo"]["clone_url"] = url
    answer = send(client, payload, **{"X-GitHub-Event": "pull_request"})
    assert "ignored" in answer.json
    assert service.requests == []


def test_a_push_to_a_branch_with_a_preview_is_taken_and_its_deletion_removes_it(client, service):
    service.previewed = True
    answer = send(client, github(ref="refs/heads/feature/x"))
    assert answer.json["runs"] == ["shop#42"]
    answer = send(
        client, github(ref="refs/heads/feature/x", after=NONE, deleted=True), **{"X-GitHub-Delivery": "2"}
    )
    assert answer.json == {"runs": [], "notes": ["the preview of feature/x is removed"]}
