"""The one table of routes and who may use them. A route that is not in it fails a test."""

from __future__ import annotations

import itertools
import re
from base64 import b64encode

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.support.fake_service import FakeService
from tests.web.test_pages import csrf, log_in

ROLES = ("viewer", "developer", "maintainer")
OPEN, SIGNED, INTERNAL = "open", "signed", "internal"

# Method and rule of every route, by kind of authentication and lowest role.
OF: dict[tuple[str, str], tuple[str, ...]] = {
    (OPEN, ""): (
        "GET /healthz",
        "GET /static/<path:filename>",
        "GET /login",
        "POST /login",  # test_pages.py: a wrong token is answered 401
    ),
    (SIGNED, ""): ("POST /hooks/<provider>",),
    (INTERNAL, ""): (
        "POST /internal/post-receive",
        "POST /internal/pre-receive",
    ),
    ("api", "viewer"): (
        "GET /api/status",
        "GET /api/runs",
        "GET /api/runs/<pipeline>/<number>",
        "GET /api/runs/<pipeline>/<number>/events",
        "GET /api/runs/<pipeline>/<number>/log",
        "GET /api/runs/<pipeline>/<number>/evidence",
        "GET /api/evidence/key",
        "GET /api/evidence/<pipeline>",
        "GET /api/evidence/<pipeline>/<number>",
        "GET /api/pipelines/<pipeline>/output",
        "GET /api/pipelines/<pipeline>/output/follow",
        "GET /api/pipelines/<pipeline>/access",
        "GET /api/pipelines/<pipeline>/usage",
        "GET /api/pipelines/<pipeline>/cron",
        "GET /api/pipelines/<pipeline>/timings",
        "GET /api/pipelines/<pipeline>/parity",
        "GET /api/cost",
        "GET /api/cost/history",
        "GET /api/cost.csv",
        "GET /api/capacity",
        "GET /api/report",
        "GET /api/report.html",
        "GET /api/pipelines/<pipeline>/secrets",
        "GET /api/pipelines/<pipeline>/secrets/<name>",
        "GET /api/volumes",
        "GET /api/previews",
        "GET /api/doctor",
        "GET /api/accessories",
        "GET /api/backups",
        "GET /metrics",  # or with PUSHLIVE_METRICS_TOKEN: test_metrics.py
        "POST /api/plan",
    ),
    ("api", "developer"): (
        "POST /api/pipelines/<pipeline>/deploy",
        "POST /api/previews",
        "POST /api/previews/<name>/allow",
        "DELETE /api/previews/<name>",
        "POST /api/pipelines/<pipeline>/set",
        "POST /api/cost/suggest",
        "POST /api/pipelines/<pipeline>/revert",
        "POST /api/pipelines/<pipeline>/promote",
        "POST /api/pipelines/<pipeline>/withdraw",
        "POST /api/pipelines/<pipeline>/hold",
        "POST /api/pipelines/<pipeline>/run",  # in the last environment a maintainer's: test_story_tools.py
        "POST /api/pipelines/<pipeline>/exec",
        "POST /api/accessories/<name>/<environment>/exec",
        "POST /api/pipelines/<pipeline>/copy",
        "POST /api/pipelines/<pipeline>/restart",
        "POST /api/pipelines/<pipeline>/sleep",
        "POST /api/pipelines/<pipeline>/wake",
        "GET /api/accessories/<name>/<environment>/output",
        "POST /api/sessions/<session>/input",
        "DELETE /api/sessions/<session>",
        "POST /api/pipelines/<pipeline>/resume",
        "POST /api/pipelines/<pipeline>/maintenance/on",
        "POST /api/pipelines/<pipeline>/maintenance/off",
        "POST /api/runs/<pipeline>/<number>/cancel",
        "POST /api/runs/<pipeline>/<number>/abandon",
        "POST /api/runs/<pipeline>/<number>/retry",
    ),
    ("api", "maintainer"): (
        "POST /api/pipelines/<pipeline>/unquarantine",
        "POST /api/freeze",
        "POST /api/thaw",
        "PUT /api/pipelines/<pipeline>/secrets/<name>",
        "DELETE /api/pipelines/<pipeline>/secrets/<name>",
        "GET /api/volumes/<owner>/<environment>/<name>/files",
        "PUT /api/volumes/<owner>/<environment>/<name>/files",
        "POST /api/volumes/<owner>/<environment>/<name>/move",
        "DELETE /api/volumes/<owner>/<environment>/<name>",
        "POST /api/doctor",
        "POST /api/accessories/<name>/<environment>/<act>",
        "POST /api/accessories/<name>/<environment>/move",
        "POST /api/accessories/<name>/<environment>/upgrade",
        "DELETE /api/accessories/<name>/<environment>",
        "PUT /api/accessories/<name>/<environment>/data",
        "POST /api/backups/<owner>/<environment>/<name>",
        "GET /api/backups/<owner>/<environment>/<name>/<file>",
        "POST /api/gc",
        "POST /api/adopt",
        "GET /api/audit",
        "GET /api/evidence",
        "GET /api/audit/verify",
        "GET /api/tokens",
        "POST /api/tokens",
        "DELETE /api/tokens/<text:name>",
    ),
    ("git", "viewer"): (
        "GET /git/<name>/info/refs",
        "GET /git/<name>/info/lfs/<path:path>",
        "POST /git/<name>/info/lfs/<path:path>",
        "POST /git/<name>/<service>",  # git-receive-pack needs developer, see ``calls``
    ),
    ("page", "viewer"): (
        "GET /",
        "GET /runs",
        "GET /runs/<pipeline>",
        "GET /runs/<pipeline>/<number>",
        "GET /timings/<pipeline>",
        "GET /parity/<pipeline>",
        "GET /capacity",
        "GET /cost",
        "GET /runs/<pipeline>/<number>/events",
        "GET /runs/<pipeline>/<number>/log",
        "GET /evidence/<pipeline>/<number>",
        "GET /runs/<pipeline>/<number>/<act>",
        "GET /environments/<pipeline>/<name>/<act>",
        "GET /environments/<pipeline>/<name>/<change>",
        "GET /environments/<pipeline>/<name>/quarantine/<number>",
        "GET /pipelines/<pipeline>/<change>",
        "GET /previews/<name>/<act>",
        "GET /<change>",
        "POST /logout",
    ),
    ("page", "developer"): (
        "POST /runs/<pipeline>/<number>/<act>",
        "POST /environments/<pipeline>/<name>/<act>",
        "POST /previews/<name>/<act>",
    ),
    ("page", "maintainer"): (
        "POST /environments/<pipeline>/<name>/<change>",
        "POST /environments/<pipeline>/<name>/quarantine/<number>",
        "POST /pipelines/<pipeline>/<change>",
        "POST /<change>",
    ),
}
RULES = {route: rule for rule, listed in OF.items() for route in listed}
VALUES = {
    "pipeline": "hello",
    "number": "42",
    "owner": "hello",
    "provider": "github",
    "filename": "site.css",
    "name": "hello",
    "path": "objects/batch",
    "session": "5e5510",
    "environment": "live",
    "file": "shop-db-live-data-20270115T080000Z.dump",
}
CHOICE = re.compile(r"<any\(([^)]*)\):(\w+)>")


def routes(app: Flask) -> dict[str, str]:
    """``GET /runs/<pipeline>/<number>/<act>`` → its rule as Flask has it."""
    found = {}
    for rule in app.url_map.iter_rules():
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
            found[f"{method} {CHOICE.sub(lambda m: f'<{m[2]}>', rule.rule)}"] = rule.rule
    return found


def paths(rule: str) -> list[str]:
    """The paths of a rule: one for each of its choices."""
    words = [[word.strip(" '") for word in match[1].split(",")] for match in CHOICE.finditer(rule)]
    made = []
    for chosen in itertools.product(*words):
        left = list(chosen)
        path = CHOICE.sub(lambda _: left.pop(0), rule)  # noqa: B023 - used at once
        made.append(re.sub(r"<(?:\w+:)?(\w+)>", lambda match: VALUES[match[1]], path))
    services = ("?service=git-upload-pack", "?service=git-receive-pack")
    return [path + more for path in made for more in (services if path.endswith("info/refs") else ("",))]


def calls(app: Flask, *ways: str) -> list[tuple[str, str, str]]:
    """Method, path and lowest role of every route with one of these kinds of authentication."""
    found = []
    for route, rule in routes(app).items():
        way, least = RULES[route]
        method = route.split()[0]
        for path in paths(rule) if way in ways else ():
            role = "developer" if path.endswith("git-receive-pack") else least
            found += [(one, path, role) for one in ((method, "HEAD") if method == "GET" else (method,))]
    return found


def basic(text: str) -> dict[str, str]:
    return {"Authorization": "Basic " + b64encode(f"me:{text}".encode()).decode()}


def bearer(text: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {text}"}


@pytest.fixture
def app(make_app, service: FakeService) -> Flask:
    service.deploy("hello", "ada")
    service.acts.clear()
    return make_app()


@pytest.fixture
def untouched(service: FakeService):
    """Checks that the requests of a test changed nothing."""
    yield
    assert (service.acts, service.recorded, service.pushes) == ([], [], [])
    assert set(service.texts) == {f"{role}-token" for role in ROLES}


def test_fault_48_every_route_has_a_rule_here(app):
    assert set(routes(app)) == set(RULES)


def test_fault_48_a_new_route_without_a_rule_is_noticed(app):
    app.add_url_rule("/api/fresh", "fresh", lambda: "", methods=["POST"])
    assert set(routes(app)) - set(RULES) == {"POST /api/fresh"}


@pytest.mark.parametrize("headers", [{}, bearer("wrong"), basic("wrong"), {"Authorization": "Bearer"}])
def test_fault_48_without_authentication_nothing_is_answered(app, untouched, headers):
    client, asked = app.test_client(), calls(app, "api", "git")
    for method, path, _ in asked:
        status = client.open(path, method=method, headers=headers).status_code
        assert status in (401, 429), (method, path, status)
        assert status == 401 or "wrong" in str(headers)
    assert len(asked) > 40


def test_fault_48_a_token_elsewhere_in_the_request_is_ignored(app, untouched):
    client = app.test_client()
    for method, path, _ in calls(app, "api"):
        assert client.open(path, method=method, headers=basic("maintainer-token")).status_code == 401
        joined = path + ("&" if "?" in path else "?") + "token=maintainer-token"
        assert client.open(joined, method=method).status_code == 401
    for method, path, _ in calls(app, "git"):
        assert client.open(path, method=method, headers=bearer("maintainer-token")).status_code == 401


def test_fault_48_a_page_asks_for_a_login(app, untouched):
    client, asked = app.test_client(), calls(app, "page")
    for method, path, _ in asked:
        answer = client.open(path, method=method)
        assert answer.status_code == 302, (method, path)
        assert answer.headers["Location"].startswith("/login")
        assert client.open(path, method=method, headers=bearer("maintainer-token")).status_code == 302
    assert len(asked) > 20


@pytest.mark.parametrize("role", ROLES)
def test_fault_48_each_role_may_do_what_the_table_says_and_no_more(app, service, role):
    client = app.test_client()
    for method, path, least in calls(app, "api", "git"):
        headers = basic(f"{role}-token") if path.startswith("/git/") else bearer(f"{role}-token")
        before = len(service.acts), len(service.recorded)
        with client.open(path, method=method, headers=headers, buffered=False) as answer:
            status = answer.status_code
        if ROLES.index(role) >= ROLES.index(least):
            assert status not in (401, 403, 429), (method, path, status)
        else:
            assert status == 403, (method, path, status)
            assert (len(service.acts), len(service.recorded)) == before


@pytest.mark.parametrize("role", ROLES)
def test_fault_48_each_role_may_press_the_buttons_that_the_table_says(app, service, role):
    for method, path, least in calls(app, "page"):
        client: FlaskClient = log_in(app.test_client(), role)
        before = len(service.acts)
        data = {"csrf": csrf(client)} if method == "POST" else None
        status = client.open(path, method=method, data=data).status_code
        if ROLES.index(role) >= ROLES.index(least):
            assert status not in (401, 403, 429), (method, path, status)
        else:
            assert status == 403, (method, path, status)
            assert len(service.acts) == before


def test_fault_48_receivers_need_a_signature_and_the_hook_its_secret(app, untouched):
    client = app.test_client()
    for method, path, _ in calls(app, SIGNED):
        for headers in ({}, bearer("maintainer-token"), {"X-Hub-Signature-256": "sha256=" + "0" * 64}):
            assert client.open(path, method=method, data=b"{}", headers=headers).status_code == 401
    for method, path, _ in calls(app, INTERNAL):
        for headers in ({}, bearer("maintainer-token"), {"X-Pushlive-Internal": "guess"}):
            assert client.open(path, method=method, data=b"hello\nada\n", headers=headers).status_code == 404


def test_fault_48_a_foreign_host_is_refused_everywhere(app, untouched):
    client, asked = app.test_client(), calls(app, "api", "git", "page", OPEN, SIGNED, INTERNAL)
    for method, path, _ in asked:
        headers = {"Host": "evil.example", **bearer("maintainer-token")}
        assert client.open(path, method=method, headers=headers).status_code == 421, (method, path)
    assert client.get("/no/such/page", headers={"Host": "evil.example"}).status_code == 421


def test_fault_48_options_requests_reveal_nothing(app):
    client = app.test_client()
    for _, path, _ in calls(app, "api", "git", "page", SIGNED, INTERNAL):
        answer = client.options(path)
        assert answer.status_code == 405, path
