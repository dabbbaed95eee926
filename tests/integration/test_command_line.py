"""The command line, and a configuration that changes while the service runs."""

from __future__ import annotations

import json
import re
import secrets
import shlex
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

import docker
from pipeline.config.ownership import DEVELOPERS
from tests.support.developer import web
from tests.support.paths import ROOT
from tests.support.service import Service, get, running
from tests.support.waiting import until

CONFIG = """
pipelines:
  hello:
    service: {{memory: 128MiB, stop: 1s, env: {{GREETING: {greeting}}}}}
    environments: {{dev: , live: }}
  slow:
    service: {{memory: 128MiB, stop: 1s}}
    smoke: [{{run: [sleep, "20"]}}]
    environments: {{live: }}
"""
BAD = """\
pipelines:
  hello:
    service: {prt: 8080, memory: lots}
    environments: {build: }
"""


@pytest.fixture(scope="module")
def service(docker_client: docker.DockerClient, base_images: None) -> Iterator[Service]:
    with running(docker_client, CONFIG.format(greeting="hello")) as one:
        one.push(web("version 1"), "One")
        one.push(web(command="exit 9"), "Two, broken")
        yield one


def greeting(service: Service, environment: str = "live") -> str:
    slot = service.environments()[environment]["slot"]
    (one,) = service.containers(environment=environment, slot=slot)
    return next(str(e) for e in one["Config"]["Env"] if e.startswith("GREETING=")).partition("=")[2]


def test_init_writes_a_file_that_check_accepts(service: Service) -> None:
    folder = service.folder / "new-app"
    folder.mkdir()
    (folder / "Dockerfile").write_text("FROM busybox:1.36\nEXPOSE 3000\n")
    file = str(folder / "pipelines.yaml")
    service.pushlive("init", cwd=folder, PUSHLIVE_CONFIG=file)
    text = (folder / "pipelines.yaml").read_text()
    assert "new-app:" in text
    assert "port: 3000" in text
    assert "#" in text
    assert "has no problems" in service.pushlive("check", cwd=folder, PUSHLIVE_CONFIG=file).out
    assert "already exists" in service.pushlive("init", cwd=folder, PUSHLIVE_CONFIG=file, code=3).err


def test_check_reports_every_problem_with_its_line(service: Service) -> None:
    (service.folder / "bad.yaml").write_text(BAD)
    done = service.pushlive("check", "bad.yaml", code=2)
    assert "bad.yaml:3:" in done.err
    assert "bad.yaml:4:" in done.err
    assert "prt" in done.err
    assert "port" in done.err
    problems = json.loads(service.pushlive("check", "bad.yaml", "--json", code=2).out)["problems"]
    assert [problem["line"] for problem in problems] == [3, 3, 4]


def test_plan_lists_the_changes_of_each_environment(service: Service) -> None:
    text = CONFIG.format(greeting="goodbye").replace("live: }", "live: {replicas: 2}}", 1)
    (service.folder / "new.yaml").write_text(text)
    done = service.pushlive("plan", "new.yaml")
    assert "env GREETING: 'hello' → 'goodbye'" in done.out
    data = json.loads(service.pushlive("plan", "new.yaml", "--json").out)
    assert list(data["pipelines"]) == ["hello"]
    assert data["pipelines"]["hello"]["dev"] == ["env GREETING: 'hello' → 'goodbye'"]
    assert "replicas: 1 → 2" in data["pipelines"]["hello"]["live"]
    assert greeting(service) == "hello"  # a plan changes nothing


def developer(service: Service) -> dict[str, str]:
    """The environment of a developer's command line."""
    made = service.ask("POST", "/api/tokens", {"name": f"dev-{secrets.token_hex(4)}", "role": "developer"})
    return {"PUSHLIVE_TOKEN": made["token"]}


def test_the_commands_of_the_guide_about_containers(service: Service, tmp_path: Path) -> None:
    page = (ROOT / "docs" / "guides" / "containers.md").read_text()
    keys = textwrap.indent(re.findall(r"```yaml\n(service:.*?)```", page, re.S)[0], "    ")
    block = page.partition("## Try it\n")[2]
    check, plan = (
        shlex.split(line)[1:] for line in re.findall(r"```sh\n(.*?)```", block, re.S)[0].splitlines()
    )
    file = tmp_path / "pipelines.yaml"
    file.write_text(f"pipelines:\n  hello:\n{keys}    environments: {{dev: , live: }}\n")
    assert "has no problems" in service.pushlive(*check, PUSHLIVE_CONFIG=str(file)).out
    shown = service.pushlive(*plan, PUSHLIVE_CONFIG=str(file)).out
    for key in ("shm", "tmpfs", "working_dir", "user", "labels", "extra_hosts"):
        assert key in shown


def test_the_commands_of_the_guide_about_hosts(service: Service, tmp_path: Path) -> None:
    page = (ROOT / "docs" / "guides" / "hosts.md").read_text()
    check, status = (
        shlex.split(line.replace("shop", "hello"))[1:]
        for line in page.rpartition("```\n")[0].rpartition("```\n")[2].splitlines()
    )
    file = tmp_path / "pipelines.yaml"
    file.write_text(re.findall(r"```yaml\n(pipelines:.*?)```", page, re.S)[0])
    assert "has no problems" in service.pushlive(*check, PUSHLIVE_CONFIG=str(file)).out
    file.write_text(file.read_text().replace('["*"]', "[shop.example.com/api]"))
    refused = service.pushlive(*check, code=2, PUSHLIVE_CONFIG=str(file)).text
    assert "'shop.example.com/api' already belongs to api/live (line 8)" in refused
    assert "hello" in service.pushlive(*status).out


def test_a_developer_cannot_deploy_what_only_a_maintainer_may_change(service: Service) -> None:
    """With the command line of a developer; what each key allows is tested in tests/unit/config."""
    mine, before = developer(service), service.run()["number"]
    changes = {
        "live: }": "live: {secrets: [OTHERS]}}",
        "dev: , live:": "live:",
        "  hello:\n": "  hello:\n    registry: {repository: evil.example/x, username: eve, password: OTHERS}\n",
    }
    for old, new in changes.items():
        (service.folder / "mine.yaml").write_text(CONFIG.format(greeting="mine").replace(old, new, 1))
        refused = service.pushlive("deploy", "hello", "--config", "mine.yaml", code=6, **mine)
        assert "only a maintainer may change pipelines.hello." in refused.err
        assert f"may change {', '.join(DEVELOPERS)}." in refused.err
    assert service.run()["number"] == before


def test_deploy_config_takes_the_same_image_through_all_stages(service: Service) -> None:
    """A developer may change `env`."""
    before = service.show("hello#1")["release"]
    (service.folder / "new.yaml").write_text(CONFIG.format(greeting="goodbye"))
    service.pushlive("deploy", "hello", "--config", "new.yaml", **developer(service))
    after = service.show()["release"]
    assert after["image"] == before["image"]
    assert after["number"] > before["number"]
    assert (greeting(service, "dev"), greeting(service)) == ("goodbye", "goodbye")
    service.pushlive("revert", "hello")
    assert greeting(service) == "hello"
    service.pushlive("resume", "hello")


def test_runs_show_logs_and_follow_agree(service: Service) -> None:
    listed = service.pushlive("runs", "hello").out
    assert "hello#2" in listed
    assert "Two, broken" in listed
    runs = json.loads(service.pushlive("runs", "hello", "--json").out)["runs"]
    assert [run["id"] for run in runs] == [run["id"] for run in service.runs()[::-1]]
    for command, code in (("show", 0), ("follow", 1), ("logs", 0)):
        assert "exited with code 9" in service.pushlive(command, "hello#2", code=code).out
    build = service.pushlive("logs", "hello#2", "--stage", "build").out
    assert "[2/2] COPY" in build
    assert "exited with code 9" not in build
    assert "r1" in service.pushlive("status").out
    lines = service.pushlive("follow", "hello#1", "--json").out.splitlines()
    end = json.loads(lines[-1])["end"]
    assert (end["state"], end["outcome"]) == ("ended", "live")


def test_a_short_id_is_never_the_branch_of_that_name(service: Service) -> None:
    commit = service.run("hello#1")["commit"]
    repository = service.repository("hello")
    assert repository.head != commit
    repository.git("push", "pushlive", f"HEAD:refs/heads/{commit[:7]}")
    service.pushlive("deploy", "hello", "--commit", commit[:7])
    assert service.run()["commit"] == commit
    refused = service.pushlive("deploy", "hello", "--commit", "main", code=4)
    assert "'main' is not a commit id" in refused.err


def test_retry_repeats_the_same_commit(service: Service) -> None:
    newer = service.run()["id"]
    refused = service.pushlive("retry", "hello#2", code=3)
    assert f"{newer} (r" in refused.err
    assert "is newer than hello#2 and serves live." in refused.err
    assert f"pushlive retry 'hello#2' --over '{newer}'" in refused.err
    done = service.pushlive("retry", "hello#2", "--over", newer, code=1)
    run = service.run()
    assert (run["kind"], run["commit"]) == ("deploy", service.run("hello#2")["commit"])
    assert "exited with code 9" in done.out


def test_cancel_ends_a_run_and_the_pusher_is_told(service: Service) -> None:
    clone = service.repository("slow")
    clone.commit(web(), "Slow")
    pushing = clone.started("push", "pushlive", "main")
    until(lambda: "slow" in {run["pipeline"] for run in service.runs("slow")}, 20)
    service.reached("slow#1", "live")
    service.pushlive("cancel", "slow#1")
    assert service.wait("slow#1")["outcome"] == "cancelled"
    out, _ = pushing.communicate(timeout=20)
    assert "slow#1 cancelled" in out
    assert "has already ended: cancelled" in service.pushlive("cancel", "slow#1", code=3).err


def test_tokens_have_roles_and_can_be_revoked(service: Service) -> None:
    viewer = service.pushlive("token", "create", "looker", "--role", "viewer").out.strip()
    developer = service.pushlive("token", "create", "builder").out.strip()
    assert "looker" in service.pushlive("token", "list").out
    assert service.pushlive("status", PUSHLIVE_TOKEN=viewer).out
    service.pushlive("deploy", "hello", code=6, PUSHLIVE_TOKEN=viewer)
    service.pushlive("status", code=6, PUSHLIVE_TOKEN="wrong")
    clone = service.repository()
    clone.commit(web("version 3"), "Three")
    url = f"@{service.listen}/git/hello.git"
    refused = clone.started("push", f"http://x:{viewer}{url}", "main")
    out, _ = refused.communicate(timeout=20)
    assert refused.returncode, out
    assert "by builder" in clone.git("push", f"http://x:{developer}{url}", "main")
    service.pushlive("token", "revoke", "builder")
    service.pushlive("status", code=6, PUSHLIVE_TOKEN=developer)
    service.pushlive("token", "revoke", "looker")


def test_a_changed_file_applies_without_a_restart(service: Service) -> None:
    service.config.write_text(CONFIG.format(greeting="changed"))
    service.push(web("version 4"), "Four")
    assert (greeting(service, "dev"), greeting(service)) == ("changed", "changed")


def test_an_invalid_file_is_reported_everywhere_and_the_last_good_one_stays(service: Service) -> None:
    service.config.write_text(BAD)
    until(lambda: "prt" in service.ask("GET", "/api/status")["config_error"], 10)
    status = service.pushlive("status")
    assert "prt" in status.text
    until(lambda: "prt" in service.output, 10)
    said = service.push(web("version 5"), "Five")
    assert "is live" in said
    assert "the last good one stays in force" in said  # the pusher is told as well
    assert "prt" in said
    assert greeting(service) == "changed"
    service.config.write_text(CONFIG.format(greeting="mended"))
    until(lambda: not service.ask("GET", "/api/status")["config_error"], 10)


def test_gc_removes_what_is_no_longer_configured(service: Service) -> None:
    assert service.containers(environment="dev")
    service.config.write_text(CONFIG.format(greeting="mended").replace("dev: , ", ""))
    assert "still serves and was left; `pushlive gc --yes` removes it" in service.pushlive("gc", code=1).out
    assert service.containers(environment="dev"), "nothing asked whether what serves may end"
    said = service.pushlive("gc", "--yes").out
    assert "hello/dev is no longer in pipelines.yaml and was removed" in said
    assert service.containers(environment="dev") == []
    assert service.page() == "version 5\n"


def test_doctor_finds_nothing_wrong(service: Service) -> None:
    checks = json.loads(service.pushlive("doctor", "--json", code=None).out)["checks"]
    wrong = [check for check in checks if not check["ok"]]
    assert wrong == []


def test_applications_serve_after_ctrl_c_and_down_until_down_all(service: Service) -> None:
    url = service.environments()["live"]["url"]
    service.end()
    assert service.process
    assert service.process.returncode == 0
    done = service.pushlive("status", code=5)
    assert "Start it with `pushlive up`" in done.err
    assert get(url)[1] == "version 5\n"  # the applications serve on
    service.up()
    assert service.page() == "version 5\n"
    assert "The service has stopped" in service.pushlive("down").out
    assert get(url)[1] == "version 5\n"
    assert "removed hello/live" in service.pushlive("down", "--all").out
    assert service.containers() == []
