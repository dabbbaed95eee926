"""Each kind of smoke check, and what is kept of its result."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import docker
from tests.support.developer import web
from tests.support.service import Service, running

CONFIG = """
pipelines:
  hello:
    service: {{memory: 128MiB, stop: 1s, keep_warm: 0s}}
    smoke: [{checks}]
    environments: {{live: }}
"""
GOOD = """
      {get: /, contains: version, within: 4s},
      {get: /nothing, status: 404},
      {get: /cgi-bin/status, headers: {X-Mark: "yes"}, json: {db.state: ok, nodes.1.id: 7, up: true}},
      {get: /cgi-bin/moved, status: 302},
      {tcp: 8080},
      {run: [sh, -c, "wget -q -O - $PUSHLIVE_URL/ && echo $PUSHLIVE_ENVIRONMENT $PUSHLIVE_RELEASE"]}
"""
CGI = {
    "www/cgi-bin/status": """#!/bin/sh
printf 'Content-Type: application/json\\r\\nX-Mark: yes\\r\\n\\r\\n'
echo '{"db": {"state": "ok"}, "nodes": [{"id": 6}, {"id": 7}], "up": true}'
""",
    "www/cgi-bin/moved": """#!/bin/sh
printf 'Status: 302 Found\\r\\nLocation: http://elsewhere.example.com/\\r\\n\\r\\n'
""",
    "www/cgi-bin/slow": "#!/bin/sh\nsleep 1\nprintf 'Content-Type: text/plain\\r\\n\\r\\nslow'\n",
}


@pytest.fixture(scope="module")
def service(docker_client: docker.DockerClient, base_images: None) -> Iterator[Service]:
    with running(docker_client, CONFIG.format(checks=GOOD)) as one:
        one.push({**web(), **CGI}, "The first")
        yield one


def deploy(service: Service, checks: str) -> dict[str, Any]:
    """The same image with other checks; the run."""
    (service.folder / "other.yaml").write_text(CONFIG.format(checks=checks))
    service.pushlive("deploy", "hello", "--config", "other.yaml", code=None)
    return service.run()


def test_each_kind_of_check_passes_and_its_result_is_kept(service: Service) -> None:
    checks = service.run("hello#1")["checks"]["live"]
    assert [check["asked"] for check in checks[1:7]] == [
        "GET /",
        "GET /nothing",
        "GET /cgi-bin/status",
        "GET /cgi-bin/moved",
        "TCP 8080",
        "run sh -c 'wget -q -O - $PUSHLIVE_URL/ && echo $PUSHLIVE_ENVIRONMENT $PUSHLIVE_RELEASE'",
    ]
    assert all(check["ok"] and check["seconds"] > 0 and check["attempts"] == 1 for check in checks[1:7])
    answers = [check["answer"] for check in checks]
    assert answers[1].startswith("200 in ")
    assert answers[2].startswith("404 in ")
    assert answers[5].startswith("connected in ")
    assert answers[6] == "exit 0: live r1"
    assert len(checks) == 1 + 6 + 3  # who answers, the checks, and after the switch the public route
    shown = service.pushlive("show", "hello#1").out
    assert "GET /cgi-bin/status" in shown
    assert "exit 0: live r1" in shown


@pytest.mark.parametrize(
    ("check", "answer"),
    [
        ("{get: /nothing, retry: 0}", "status 404, expected 200"),
        ("{get: /cgi-bin/moved, retry: 0}", "status 302 (to http://elsewhere.example.com/), expected 200"),
        ("{get: /cgi-bin/status, headers: {X-Mark: no-no}, retry: 0}", "'yes', expected 'no-no'"),
        ("{get: /, contains: something else, retry: 0}", "body begins 'version 1'"),
        (
            "{get: /cgi-bin/status, json: {db.state: down}, retry: 0}",
            "JSON db.state is 'ok', expected 'down'",
        ),
        ("{get: /, json: {db.state: down}, retry: 0}", "the body is not JSON"),
        ("{get: /cgi-bin/slow, within: 200ms, retry: 0}", "0.2"),
        ("{tcp: 9, retry: 0}", "refused"),
        ('{run: [sh, -c, "echo the last word; exit 4"]}', "exit 4: the last word"),
        ("{run: [no-such-command]}", "no-such-command"),
    ],
)
def test_each_kind_of_check_fails_with_the_answer(service: Service, check: str, answer: str) -> None:
    before = service.environments()["live"]
    run = deploy(service, f"{{get: /}}, {check}, {{get: /never-asked}}")
    assert run["outcome"] == "failed"
    assert answer in run["failure"]["message"]
    assert [check["ok"] for check in run["checks"]["live"]] == [True, True, False]
    assert answer in run["checks"]["live"][-1]["answer"]
    after = service.environments()["live"]
    assert (after["release"], after["slot"]) == (before["release"], before["slot"])


def test_a_command_that_takes_too_long_is_ended(service: Service) -> None:
    run = deploy(service, '{run: [sleep, "60"], within: 300ms}')
    assert run["outcome"] == "failed"
    (check,) = run["checks"]["live"][1:]
    assert check["answer"] == "did not end within 0.30s and was stopped"
    assert check["seconds"] < 10
    mine = ["pushlive.command", f"pushlive.instance={service.instance}"]
    assert not service.engine.containers(all=True, filters={"label": mine})


def test_a_failing_check_is_repeated_within_its_time(service: Service) -> None:
    run = deploy(service, "{get: /late, retry: 5s}")
    assert run["outcome"] == "failed"
    assert run["checks"]["live"][-1]["attempts"] > 5
    late = "(sleep 1; echo now > /www/late) & httpd -f -p 8080 -h /www"
    service.config.write_text(CONFIG.format(checks="{get: /late, retry: 20s}"))
    service.push(web(command=f"sh -c '{late}'"), "Late")
    assert service.run()["outcome"] == "live"
    found = next(check for check in service.run()["checks"]["live"] if check["asked"] == "GET /late")
    assert found["ok"]
    assert found["attempts"] > 1
