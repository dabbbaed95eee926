"""The configuration lives in a repository: of the built-in git server, or of another one behind a webhook."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
from collections.abc import Iterator

import pytest

import docker
from tests.support.developer import Repository, web
from tests.support.paths import ROOT
from tests.support.remote_repository import RemoteRepository
from tests.support.service import PUSHLIVE, Service, descendants, running
from tests.support.waiting import until

CONFIG = """
pipelines:
  shop: {service: {memory: 128MiB, stop: 1s}, environments: {live: }}
"""
FILE = "pipelines.yaml"


@pytest.fixture(scope="module")
def service(docker_client: docker.DockerClient, base_images: None) -> Iterator[Service]:
    with running(docker_client, "", PUSHLIVE_CONFIG=f"git:ops/{FILE}") as one:
        yield one


@pytest.fixture
def ops(service: Service) -> Repository:
    return service.repository("ops")


def refused(clone: Repository, *push: str) -> str:
    """What a push printed that failed."""
    process = clone.started("push", *(push or ("pushlive", "main")))
    said, _ = process.communicate(timeout=60)
    assert process.returncode, said
    clone.git("fetch", "-q", "pushlive")
    return said


def test_1_before_the_first_push_the_service_has_no_pipelines_and_says_what_to_push(service: Service) -> None:
    answer = service.ask("GET", "/api/status")
    assert answer["pipelines"] == []
    assert (
        "ops on the built-in git server has no branch main: push pipelines.yaml to it"
        in answer["config_error"]
    )
    until(lambda: f"configuration: git push http://{service.listen}/git/ops.git main" in service.output, 30)


def test_2_a_wrong_configuration_is_refused_in_the_push_and_nothing_is_taken(
    service: Service, ops: Repository
) -> None:
    ops.commit({FILE: CONFIG + "nonsense: 1\nmore: 2\n"}, "Wrong")
    said = refused(ops)
    assert "This configuration is refused, and nothing was pushed:" in said
    assert "pipelines.yaml:4: nonsense: " in said
    assert "pipelines.yaml:5: more: " in said
    assert ops.git("ls-remote", "pushlive") == ""
    ops.git("update-ref", "-d", "HEAD")


def test_2_the_guides_commands_make_the_first_configuration(service: Service) -> None:
    page = (ROOT / "docs" / "guides" / "configuration-in-git.md").read_text()
    commands = page.partition("## On the built-in server\n")[2].split("```\n")[1]
    commands = commands.replace("127.0.0.1:7070", service.listen).replace("--name shop", "--name notes")
    script = f'set -e\npushlive() {{ {" ".join(PUSHLIVE)} "$@"; }}\n{commands}'
    who = {f"GIT_{one}_{key}": "ann@x" for one in ("AUTHOR", "COMMITTER") for key in ("NAME", "EMAIL")}
    environ = {**service.environ, **who, "TOKEN": service.token}
    said = subprocess.run(
        ["bash", "-c", script], cwd=service.folder, env=environ, text=True, capture_output=True, timeout=60
    )
    assert said.returncode == 0, said.stderr
    assert "is in force." in said.stderr
    assert service.ask("GET", "/api/status")["origin"]["subject"] == "The first configuration"
    checked = service.pushlive("check", cwd=service.folder / "ops", code=None)
    assert "pipelines.yaml has no problems" in checked.text
    assert "against" in service.pushlive("plan", cwd=service.folder / "ops").out


def test_3_a_right_one_is_in_force_at_once_and_the_pusher_is_told_what_changes(
    service: Service, ops: Repository
) -> None:
    said = service.push({FILE: CONFIG}, "The first", "ops", "-f")
    assert f"The configuration of {ops.head[:7]} is in force." in said
    assert "shop/live: added: deployed with the first push to main of shop" in said
    answer = service.ask("GET", "/api/status")
    assert ([one["name"] for one in answer["pipelines"]], answer["config_error"]) == (["shop"], "")
    service.push(web("version 1"), "An application", "shop")
    assert service.page(name="shop") == "version 1\n"
    said = service.push({FILE: CONFIG.replace("128MiB", "160MiB")}, "More room", "ops")
    assert "shop/live: memory: 128 MiB → 160 MiB" in said
    assert service.ask("GET", "/api/status")["origin"]["subject"] == "More room"


def test_4_only_a_maintainer_may_push_to_it(service: Service, ops: Repository) -> None:
    bob = service.pushlive("token", "create", "bob", "--role", "developer").out.split()[-1]
    url = f"http://bob:{bob}@{service.listen}/git/ops.git"
    ops.commit({FILE: CONFIG}, "By a developer")
    said = refused(ops, url, "main")
    assert "this repository has the configuration of Pushlive, and token 'bob' has the role developer" in said
    assert "Only a maintainer's token may push to it." in said
    assert "main" in ops.git("ls-remote", url)
    ops.git("reset", "-q", "--hard", "pushlive/main")


def test_5_what_is_no_file_of_a_configuration_is_refused(service: Service, ops: Repository) -> None:
    before = ops.git("ls-remote", "pushlive")
    assert "cannot be deleted" in refused(ops, "pushlive", ":main")
    ops.commit({FILE: None, "README": "none"}, "Without")
    assert "there is no file pipelines.yaml in" in refused(ops)
    (ops.folder / FILE).symlink_to("README")
    ops.commit({}, "A link")
    assert "pipelines.yaml is a symbolic link" in refused(ops)
    (ops.folder / FILE).unlink()
    (ops.folder / FILE).write_bytes(b"\xff\0")
    ops.commit({}, "Binary")
    assert "is not text" in refused(ops)
    ops.commit({FILE: "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12\n"}, "LFS")
    assert "pipelines.yaml is a Git LFS pointer and not the file" in refused(ops)
    ops.commit({FILE: None, f"{FILE}/{FILE}": CONFIG}, "A folder")
    assert "pipelines.yaml is a folder in" in refused(ops)
    ops.git("rm", "-rq", "--cached", FILE)
    ops.git("update-index", "--add", "--cacheinfo", f"160000,{ops.head},{FILE}")
    ops.git("commit", "-qm", "A submodule")
    assert "pipelines.yaml is a submodule in" in refused(ops)
    ops.git("reset", "-q", "--hard", "HEAD~2")
    ops.commit({FILE: "#" * (2 << 20)}, "Huge")
    assert "is too large" in refused(ops)
    ops.commit({FILE: CONFIG.replace("shop:", "ops:")}, "Itself")
    assert "pipelines.ops.source: ops has the configuration" in refused(ops)
    assert ops.git("ls-remote", "pushlive") == before
    ops.git("reset", "-q", "--hard", "pushlive/main")
    entry = service.ask("GET", "/api/audit")["entries"][0]
    assert (entry["act"], entry["who"], entry["way"]) == ("configuration-refused", "first", "git")
    assert "ops has the configuration" in entry["why"]


def test_6_other_branches_are_stored_and_a_forced_push_is_a_push(service: Service, ops: Repository) -> None:
    said = ops.git("push", "pushlive", "HEAD:refs/heads/draft")
    assert "refs/heads/draft is stored; the configuration is on the branch main." in said
    ops.git("reset", "-q", "--hard", "HEAD~1")
    said = ops.git("push", "-f", "pushlive", "main")
    assert "is in force." in said
    assert service.ask("GET", "/api/status")["origin"]["subject"] == "The first"


def test_7_set_is_a_commit_of_the_person_and_the_release_names_it(service: Service, ops: Repository) -> None:
    service.pushlive("set", "shop", "live", "env.GREETING=hi", "--yes")
    ops.git("pull", "-q", "pushlive", "main")
    assert ops.git("log", "-1", "--format=%an %s").strip() == "first Set shop/live: env.GREETING"
    assert (
        'GREETING: "hi"' in (ops.folder / FILE).read_text()
        or "GREETING: hi" in (ops.folder / FILE).read_text()
    )
    assert service.show("shop")["configuration"]["origin"]["commit"] == ops.head
    assert f"configuration {ops.head[:7]}" in service.pushlive("show", "shop").out
    assert ops.git("fsck", "--full", "--strict") is not None


def test_8_a_kill_between_the_ref_and_its_use_loses_nothing(service: Service, ops: Repository) -> None:
    commit = ops.commit({FILE: CONFIG.replace("128MiB", "144MiB")}, "After the kill")
    assert service.process
    everything = [*descendants(service.process.pid), service.process.pid]
    hook = service.data / "hooks" / "post-receive"
    kill = " ".join(str(pid) for pid in everything)
    hook.write_text(f"#!/bin/sh\nkill -STOP {service.process.pid}; kill -KILL {kill}\n")
    ops.started("push", "pushlive", "main").communicate(timeout=60)
    service.process.wait(10)
    service.up()
    assert service.ask("GET", "/api/status")["origin"]["commit"] == commit
    notes = service.data / "git" / "ops.git" / "pushes"
    until(lambda: not list(notes.glob("[!.]*")), 30)
    service.pushlive("backup", str(service.folder / "backup.tgz"))
    with tarfile.open(service.folder / "backup.tgz") as archive:
        assert "git/ops.bundle" in archive.getnames()


def test_8_a_backup_brings_the_configuration_to_an_empty_machine(service: Service, ops: Repository) -> None:
    """With the commit that is in force, its history, and a push that goes on from there."""
    before = service.ask("GET", "/api/status")["origin"]
    service.end()
    shutil.rmtree(service.data)
    said = service.pushlive("restore", str(service.folder / "backup.tgz")).out
    assert "Restored" in said
    service.up()
    assert service.ask("GET", "/api/status")["origin"] == before
    until(lambda: service.page(name="shop") == "version 1\n", 30)
    assert ops.git("ls-remote", "pushlive", "main").split()[0] == before["commit"]
    said = service.push({FILE: CONFIG.replace("128MiB", "176MiB")}, "After the restore", "ops")
    assert "shop/live: memory: 128 MiB → 176 MiB" in said  # what serves has 128
    assert service.ask("GET", "/api/status")["config_error"] == ""


def test_9_a_repository_elsewhere_is_taken_after_its_webhook(
    docker_client: docker.DockerClient, base_images: None
) -> None:
    place = {
        "PUSHLIVE_CONFIG": f"git:file://FOLDER/ops.git#main:{FILE}",
        "PUSHLIVE_GIT_ALLOW": "file://FOLDER",
    }
    with running(docker_client, "", **place) as service:
        assert "cannot be fetched" in service.ask("GET", "/api/status")["config_error"]
        away = RemoteRepository(service, "ops")
        commit = away.push({FILE: CONFIG}, "The first")
        status, answer = away.deliver(commit)
        assert (status, answer) == (202, {"configuration": f"the configuration in {commit[:7]} is fetched"})
        until(lambda: (service.ask("GET", "/api/status")["origin"] or {}).get("commit") == commit, 30)
        wrong = away.push({FILE: "nonsense: 1\n"}, "Wrong")
        away.deliver(wrong)
        until(lambda: "nonsense" in service.ask("GET", "/api/status")["config_error"], 30)
        assert "nonsense" in service.pushlive("doctor", code=None).text
        assert [one["name"] for one in service.ask("GET", "/api/status")["pipelines"]] == ["shop"]
