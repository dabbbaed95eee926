"""The API of docs/api.md: who may call what, what comes back, what is refused."""

from __future__ import annotations

import json
from urllib.parse import quote

import pytest

from pipeline.lib.secret import Secret
from tests.support.fake_service import FakeService
from webhooks.security import ongoing

CALLS = [
    ("GET", "/api/status", "viewer"),
    ("GET", "/api/runs", "viewer"),
    ("GET", "/api/runs/hello/42", "viewer"),
    ("GET", "/api/runs/hello/latest/events", "viewer"),
    ("GET", "/api/runs/hello/42/log", "viewer"),
    ("GET", "/api/pipelines/hello/output", "viewer"),
    ("GET", "/api/doctor", "viewer"),
    ("POST", "/api/doctor", "maintainer"),
    ("POST", "/api/pipelines/hello/deploy", "developer"),
    ("POST", "/api/pipelines/hello/revert", "developer"),
    ("POST", "/api/pipelines/hello/promote", "developer"),
    ("POST", "/api/pipelines/hello/hold", "developer"),
    ("POST", "/api/pipelines/hello/resume", "developer"),
    ("POST", "/api/runs/hello/42/cancel", "developer"),
    ("POST", "/api/runs/hello/42/retry", "developer"),
    ("GET", "/api/pipelines/hello/secrets", "viewer"),
    ("GET", "/api/pipelines/hello/secrets/DATABASE_URL", "viewer"),
    ("DELETE", "/api/pipelines/hello/secrets/DATABASE_URL", "maintainer"),
    ("POST", "/api/gc", "maintainer"),
    ("POST", "/api/adopt", "maintainer"),
    ("GET", "/api/audit", "maintainer"),
    ("GET", "/api/audit/verify", "maintainer"),
    ("GET", "/api/tokens", "maintainer"),
    ("DELETE", "/api/tokens/viewer", "maintainer"),
]
ROLES = ("viewer", "developer", "maintainer")


def call(client, method, path, role="maintainer", body=None, **headers):
    given = {"Authorization": f"Bearer {role}-token"} if role else {}
    data = None if body is None else json.dumps(body)
    return client.open(path, method=method, data=data, headers=given | headers)


@pytest.fixture
def run(service: FakeService):
    return service.deploy("hello", "somebody")


@pytest.mark.parametrize(("method", "path", "least"), CALLS)
def test_fault_48_each_call_needs_its_role(client, run, method, path, least):
    for role in ROLES:
        enough = ROLES.index(role) >= ROLES.index(least)
        status = call(client, method, path, role).status_code
        assert (status in (200, 202)) if enough else (status == 403), (role, status)


@pytest.mark.parametrize(("method", "path", "least"), CALLS)
@pytest.mark.parametrize(
    "authorization", [None, "", "Bearer", "Bearer wrong", "Basic dmlld2VyOnZpZXdlci10b2tlbg==", "Bearer \xe4"]
)
def test_fault_48_a_missing_or_wrong_token_is_401(client, run, method, path, least, authorization):
    headers = {} if authorization is None else {"Authorization": authorization}
    answer = client.open(path, method=method, headers=headers)
    assert answer.status_code == 401
    assert answer.json["error"]


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "evil.example:7070", ""])
def test_fault_48_a_foreign_host_is_refused_with_the_setting(client, service, host):
    answer = call(client, "GET", "/api/status", Host=host)
    assert answer.status_code == 421
    assert "PUSHLIVE_HOSTS" in answer.json["advice"]


@pytest.mark.parametrize(
    "host",
    [
        "localhost:7070",
        "127.0.0.1:7070",
        "[::1]:7070",
        "10.0.0.7",
        "deploy.example.com",
        "DEPLOY.example.com.",
    ],
)
def test_configured_hosts_are_accepted(client, host):
    assert call(client, "GET", "/api/status", Host=host).status_code == 200


def test_each_call_reaches_the_service(client, service, run):
    service.acts.clear()
    body = {"environment": "live", "to": 16, "reason": "slow"}
    assert call(client, "POST", "/api/pipelines/hello/revert", body=body).json == {"run": "hello#43"}
    call(
        client,
        "POST",
        "/api/pipelines/hello/deploy",
        body={"commit": "a" * 40, "rebuild": True, "release": None},
    )
    call(client, "POST", "/api/pipelines/hello/promote", body={"run": 42, "release": 17})
    call(client, "POST", "/api/pipelines/hello/hold", body={"reason": "exam week"})
    call(client, "POST", "/api/pipelines/hello/resume")
    said = {"environment": "live", "message": "back soon", "for": "2h"}
    call(client, "POST", "/api/pipelines/hello/maintenance/on", body=said)
    call(client, "POST", "/api/pipelines/hello/maintenance/off", body={"environment": "live"})
    call(client, "POST", "/api/pipelines/hello/unquarantine", body={"release": 17})
    call(client, "POST", "/api/freeze", body={"environment": "live", "reason": "exams", "for": "2h"})
    call(client, "POST", "/api/thaw", body={"pipeline": "hello", "reason": "over"})
    call(client, "POST", "/api/runs/hello/42/cancel")
    assert service.acts == [
        ("revert", "hello", "maintainer", "live", 16, "slow"),
        ("deploy", "hello", "maintainer", "a" * 40, None, "", True),
        ("promote", "hello", "maintainer", 42, "", 17),
        ("hold", "hello", "maintainer", "", "exam week"),
        ("resume", "hello", "maintainer", ""),
        ("maintenance on", "hello", "maintainer", "live", "back soon", "", "2h", "UTC"),
        ("maintenance off", "hello", "maintainer", "live"),
        ("unquarantine", "hello", "maintainer", 17, ""),
        ("freeze", "hello", "maintainer", "live", "exams", "", "2h", "UTC"),
        ("thaw", "hello", "maintainer", "", "over"),
        ("cancel", "hello", 42, "maintainer"),
    ]


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        ("revert", {"to": "16"}, "'to' must be int"),
        ("revert", {"to": True}, "'to' must be int"),
        ("deploy", {"rebuild": 1}, "'rebuild' must be bool"),
        ("deploy", {"pipeline": "x"}, "unknown field 'pipeline'"),
        ("unquarantine", {}, "'release' is missing"),
        ("hold", [], "not a JSON object"),
    ],
)
def test_invalid_input_is_refused_before_anything_is_done(client, service, path, body, said):
    answer = call(client, "POST", f"/api/pipelines/hello/{path}", body=body)
    assert answer.status_code == 400
    assert said in answer.json["error"]
    assert service.acts == []


def test_evidence_is_a_whole_archive_of_a_release_or_of_a_run(client, service, run):
    answer = call(client, "GET", f"/api/evidence/hello/{run.number}", "viewer")
    assert (answer.status_code, answer.content_length, answer.data) == (200, 10, b"xxxxyyyyyy")
    assert service.acts[-1] == ("evidence", "hello", "viewer", run.number, None, "")
    call(client, "GET", "/api/evidence/hello/r17?env=live", "viewer")
    assert service.acts[-1] == ("evidence", "hello", "viewer", None, 17, "live")
    named = call(client, "GET", "/api/evidence/hello/r17?env=live", "viewer").headers["Content-Disposition"]
    assert named == 'attachment; filename="hello-r17-live.tar.gz"'
    assert call(client, "GET", "/api/evidence/hello?limit=1", "viewer").json["acts"] == [{"act": "hold"}]
    assert call(client, "GET", "/api/evidence/hello?limit=0", "viewer").status_code == 400
    assert call(client, "GET", "/api/evidence", "maintainer").json["records"] == []
    assert call(client, "GET", "/api/evidence/hello/42?env=live", "viewer").status_code == 400
    assert call(client, "GET", "/api/evidence/hello/r1x", "viewer").status_code == 404
    assert call(client, "GET", f"/api/runs/hello/{run.number}/evidence", "viewer").json == {"id": run.id}


def test_invalid_json_and_large_bodies_are_refused(client):
    headers = {"Authorization": "Bearer maintainer-token"}
    for data, status in ((b"{", 400), (b"[" * 100_000, 400), (b" " * (1 << 20) + b" ", 413)):
        assert client.post("/api/pipelines/hello/hold", data=data, headers=headers).status_code == status


def test_each_kind_of_error_has_its_status(client, service, run):
    assert call(client, "GET", "/api/runs/hello/7").status_code == 404
    assert call(client, "GET", "/api/runs/hello/x").status_code == 404
    assert call(client, "GET", "/api/runs/hello/7/events").status_code == 404
    assert call(client, "POST", "/api/pipelines/nobody/hold").status_code == 404
    assert call(client, "GET", "/api/runs?limit=0").status_code == 400
    for values in ({}, {"replicas": 3}, [], None):
        assert call(client, "POST", "/api/pipelines/hello/set", body={"values": values}).status_code == 400
    assert call(client, "GET", "/api/nothing").json["error"] == "not found"
    assert call(client, "DELETE", "/api/status").status_code == 405
    list(service.follow("hello", 42))
    assert call(client, "POST", "/api/runs/hello/42/cancel").status_code == 409
    service.down = True
    answer = call(client, "GET", "/api/status")
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    assert client.get("/healthz").status_code == 503


@pytest.mark.parametrize("text", ["0", "1001", "1e9", "abc", "-1", "", "1_0", "٣", "10000000000"])
@pytest.mark.parametrize("path", ["/api/runs", "/api/audit"])
def test_a_limit_that_is_no_number_in_range_is_refused_by_name(client, path, text):
    answer = call(client, "GET", f"{path}?limit={text}")
    assert answer.status_code == 400
    assert answer.json["error"] == f"limit={text[:20]} is not a number between 1 and 1000"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "-",
        "1-",
        "-1",
        "1-2-3",
        "9" * 20,
        "18446744073709551616",
        "1-18446744073709551616",
    ],
)
def test_an_id_that_no_event_can_have_is_refused_and_not_blamed_on_the_store(client, run, text):
    answer = call(client, "GET", f"/api/runs/hello/42/events?after={text}")
    assert answer.status_code == 400
    assert answer.json["error"] == f"after={text!r} is not an event id"
    assert call(client, "GET", f"/api/runs/hello/42/events?after={(1 << 64) - 1}").status_code == 200


@pytest.mark.parametrize("act", ["revert", "hold"])
def test_a_long_reason_is_refused_and_nothing_is_done(client, service, act):
    before = list(service.acts)
    answer = call(client, "POST", f"/api/pipelines/hello/{act}", body={"reason": "x" * 201})
    assert (answer.status_code, service.acts) == (400, before)
    assert answer.json["error"] == "the reason has 201 characters, and at most 200 are allowed"
    answer = call(client, "POST", f"/api/pipelines/hello/{act}", body={"reason": "x" * 200})
    assert answer.status_code in (200, 202)


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({"commit": "", "rebuild": True}, "'commit' is empty"),
        ({"config": ""}, "'config' is empty"),
        ({"commit": "3f2a9c1", "release": 1}, "'commit' and 'release' cannot be combined"),
        ({"commit": "3f2a9c1", "config": "pipelines: {}"}, "'commit' and 'config' cannot be combined"),
        ({"rebuild": True, "release": 1}, "'rebuild' and 'release' cannot be combined"),
        ({"rebuild": True, "config": "pipelines: {}"}, "'rebuild' and 'config' cannot be combined"),
    ],
)
def test_a_deploy_never_ignores_what_was_asked(client, service, body, error):
    before = list(service.acts)
    answer = call(client, "POST", "/api/pipelines/hello/deploy", body=body)
    assert (answer.status_code, answer.json["error"], service.acts) == (400, error, before)


def test_events_after_an_id_end_with_the_runs_state(client, run):
    answer = call(client, "GET", "/api/runs/hello/42/events?after=3")
    *events, end = [json.loads(line) for line in answer.text.splitlines() if line]
    assert [event["id"] for event in events] == ["4", "5", "6"]
    assert events[0]["event"]["kind"] == "note"
    assert events[0]["lines"] == ["qa      qa is done"]
    assert end == {"end": {"state": "ended", "outcome": "live", "gate": ""}}


def test_the_log_of_one_stage_is_plain_text(client, run):
    answer = call(client, "GET", "/api/runs/hello/latest/log?stage=build")
    assert answer.mimetype == "text/plain"
    assert answer.text.splitlines()[-1] == "stage build"


def test_output_has_the_applications_last_lines(client):
    answer = call(client, "GET", "/api/pipelines/hello/output?environment=qa&lines=5")
    assert answer.text.splitlines() == ["── qa r1 (blue, serving)", "the last 5 lines of hello"]
    for wrong in ("0", "-1", "many", "99999"):
        assert call(client, "GET", f"/api/pipelines/hello/output?lines={wrong}").status_code == 400


def test_tokens_are_made_with_a_role_and_an_expiry_and_revoked(client, service):
    made = call(client, "POST", "/api/tokens", body={"name": "ci", "role": "developer"})
    assert (made.status_code, made.json["token"]) == (201, "fresh")
    assert made.json["lasts"] == 365 * 86400  # the default
    for given, lasts in (("90d", 90 * 86400), ("12h", 12 * 3600), ("never", 0)):
        made = call(client, "POST", "/api/tokens", body={"name": "ci", "role": "viewer", "expires": given})
        assert made.json["lasts"] == lasts
    for wrong in ("", "90", "0s", "-1d", "9999d", "soon"):
        body = {"name": "ci", "role": "viewer", "expires": wrong}
        assert call(client, "POST", "/api/tokens", body=body).status_code == 400
    assert call(client, "POST", "/api/tokens", body={"name": "x", "role": "king"}).status_code == 400
    call(client, "DELETE", "/api/tokens/ci")
    assert service.token("fresh") is None


def test_gc_is_told_what_it_may_remove_although_it_serves(client):
    everything = call(client, "POST", "/api/gc")
    assert everything.json == {"messages": ["nothing to remove"], "left": [], "serving": []}
    some = call(client, "POST", "/api/gc", body={"serving": []})
    assert some.json["serving"] == ["hello/old"]
    assert some.json["left"] == ["hello/old still serves"]
    named = call(client, "POST", "/api/gc", body={"serving": ["hello/old"]})
    assert named.json["left"] == []
    for wrong in ("hello/old", [1], [["hello/old"]]):
        assert call(client, "POST", "/api/gc", body={"serving": wrong}).status_code == 400


@pytest.mark.parametrize("name", ["x/y", "/x", "x/", "a//b", "a b", "..", "a/../b", "a%2Fb", "grüße"])
def test_a_token_is_revoked_whatever_its_name(client, service, name):
    assert call(client, "POST", "/api/tokens", body={"name": name, "role": "viewer"}).status_code == 201
    said = call(client, "DELETE", f"/api/tokens/{quote(name, safe='')}")
    assert (said.status_code, said.json["messages"]) == (200, [f"token {name!r} is revoked"])
    assert service.token("fresh") is None


def test_secrets_go_in_and_never_come_out(client, service):
    path = "/api/pipelines/hello/secrets/DATABASE_URL"
    made = call(client, "PUT", path, body={"value": "hunter22", "environment": "live"})
    assert made.status_code == 201
    assert "hunter22" not in made.text
    assert service.acts[-1] == (
        "set_secret",
        "hello",
        "maintainer",
        "DATABASE_URL",
        Secret("hunter22"),
        "live",
    )
    assert call(client, "PUT", path, role="developer", body={"value": "hunter22"}).status_code == 403
    assert call(client, "PUT", path, role="", body={"value": "hunter22"}).status_code == 401
    wrong = call(client, "PUT", path, body={"value": ["hunter22"]})
    assert (wrong.status_code, "hunter22" in wrong.text) == (400, False)
    assert call(client, "DELETE", path + "?environment=live&version=3").status_code == 200
    assert service.acts[-1] == ("remove_secret", "hello", "maintainer", "DATABASE_URL", "live", 3)
    before = list(service.acts)
    for odd in ("?version=-1", "?version=", "?version=1e9", "?verison=3", "?environment=live&versions=3"):
        assert call(client, "DELETE", path + odd).status_code == 400, odd
    assert service.acts == before


def test_the_audit_log_is_listed_and_verified(client):
    (entry,) = call(client, "GET", "/api/audit?pipeline=shop&limit=3").json["entries"]
    assert (entry["act"], entry["pipeline"]) == ("hold", "shop")
    assert call(client, "GET", "/api/audit?limit=0").status_code == 400
    assert call(client, "GET", "/api/audit/verify").json == {
        "ok": True, "entries": 1, "number": 1, "hash": "ab" * 32, "problems": [],
    }  # fmt: skip
    assert call(client, "GET", "/api/audit/verify?head=cd").json["problems"] == ["cd is not there"]


def test_commands_carry_the_caller_and_the_address(client, service, run):
    call(client, "POST", "/api/pipelines/hello/hold", "developer")
    call(client, "POST", "/api/pipelines/hello/hold", **{"User-Agent": "pushlive"})
    api, cli = service.actors
    assert (api.name, api.role, api.address, api.way) == ("developer", "developer", "127.0.0.1", "api")
    assert (cli.name, cli.way) == ("maintainer", "cli")


def test_an_expired_token_is_refused_with_the_reason(client, service):
    service.expire("developer-token")
    answer = call(client, "GET", "/api/status", "developer")
    assert answer.status_code == 401
    assert "expired on" in answer.json["error"]
    assert "WWW-Authenticate" in answer.headers


@pytest.mark.parametrize("end", ["revoke", "expire"])
def test_fault_48_an_open_stream_ends_with_its_token(client, service, monkeypatch, end):
    monkeypatch.setattr(ongoing, "CHECK_SECONDS", 0.0)
    service.deploy("hello", "ada")
    headers = {"Authorization": "Bearer developer-token"}
    with client.get("/api/runs/hello/42/events", headers=headers, buffered=False) as answer:
        lines = answer.iter_encoded()
        next(lines)
        assert b"event" in next(lines)
        service.revoke_token("developer") if end == "revoke" else service.expire("developer-token")
        assert b"has ended" in b"".join(lines)
