"""Previews with real pushes on Docker: made, updated, and gone with the branch or by its merge."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

import docker
from tests.support.developer import web
from tests.support.paths import ROOT
from tests.support.service import PUSHLIVE, Service, get, running
from tests.support.waiting import until

CONFIG = """
accessories:
  cache: {image: "busybox:1.36", volume: /data, command: [sleep, infinity], stop: 0s, memory: 16MiB}
pipelines:
  hello:
    service: {memory: 64MiB, stop: 1s, drain: 0s, volumes: {files: /files}}
    uses: {cache: cache}
    previews: {branches: "feature/*", from: qa, data: [sh, -c, "echo filled > /files/seed"]}
    environments: {qa: , live: {uses: {cache: cache}}}
"""


@pytest.fixture(scope="module")
def service(docker_client: docker.DockerClient, base_images: None) -> Iterator[Service]:
    with running(docker_client, CONFIG) as one:
        yield one


def there(service: Service) -> set[str]:
    return {one["name"] for one in service.ask("GET", "/api/previews")["previews"]}


def of_preview(service: Service, docker_client: docker.DockerClient, name: str) -> list[str]:
    """What the Engine has of it: containers, networks and volumes."""
    found = [
        *docker_client.containers.list(all=True),
        *docker_client.networks.list(),
        *docker_client.volumes.list(),
    ]
    prefix = str(service.environ["PUSHLIVE_INSTANCE"])
    return [one.name for one in found if one.name.startswith(prefix) and name in one.name]


def test_a_branch_has_its_preview_as_long_as_it_is_there(
    service: Service, docker_client: docker.DockerClient
) -> None:
    service.push(web("main"), "The first")
    clone = service.repository()
    clone.git("switch", "-q", "-c", "feature/login")
    clone.commit(web("login 1"), "Log in")
    said = clone.git("push", "pushlive", "feature/login")
    assert "is live" in said, said
    [row] = service.ask("GET", "/api/previews")["previews"]
    address = row["address"]
    assert f"preview hello--login of feature/login: {address}, until " in said
    assert "hello--login#1 accepted" in said
    host = address.removeprefix("http://").partition(":")[0]
    proxy = address.rpartition(":")[2]
    assert get(f"http://127.0.0.1:{proxy}/", Host=host) == (200, "login 1\n")
    filled = service.pushlive("exec", "hello--login", "hello--login", "--", "cat", "/files/seed")
    assert filled.out.strip() == "filled"
    clone.commit(web("login 2"), "Log in better")
    clone.git("push", "pushlive", "feature/login")
    assert get(f"http://127.0.0.1:{proxy}/", Host=host) == (200, "login 2\n")
    assert service.environments("hello--login")["hello--login"]["slot"] == "green"
    assert service.page(environment="qa") == "main\n"
    assert of_preview(service, docker_client, "hello--login")
    assert "hello--login" in service.pushlive("preview", "list").out
    said = clone.git("push", "pushlive", "--delete", "feature/login")
    assert "the preview hello--login is removed, with its data: its branch was deleted" in said
    until(lambda: "hello--login" not in there(service), 30)
    assert of_preview(service, docker_client, "hello--login") == []
    assert service.show("hello--login")["run"]["outcome"] == "live"
    assert service.page(environment="qa") == "main\n"


def test_it_begins_again_with_empty_data_and_goes_by_the_merge_of_its_branch(
    service: Service, docker_client: docker.DockerClient
) -> None:
    clone = service.repository()
    clone.git("switch", "-q", "main")
    clone.git("switch", "-q", "-c", "feature/pay")
    clone.commit(web("pay"), "Pay")
    clone.git("push", "pushlive", "feature/pay")
    shell = ("exec", "hello--pay", "hello--pay", "--", "sh", "-c")
    service.pushlive(*shell, "echo mine > /files/mine")
    service.pushlive("preview", "rm", "hello--pay")
    clone.commit(web("pay at once"), "Pay at once")
    assert "hello--pay#2" in clone.git("push", "pushlive", "feature/pay")  # while it goes
    assert service.pushlive(*shell, "ls /files").out.split() == ["seed"]
    clone.git("switch", "-q", "main")
    clone.git("merge", "-q", "--no-ff", "-m", "Merge", "feature/pay")
    clone.git("push", "pushlive", "main")
    until(lambda: "is removed: its branch was merged into main" in service.output, 60)
    assert "hello--pay" not in there(service)
    assert of_preview(service, docker_client, "hello--pay") == []


def test_the_guides_commands_work_as_they_are_written(service: Service) -> None:
    page = (ROOT / "docs" / "guides" / "previews.md").read_text()
    commands = page.partition("## In all\n")[2].split("```\n")[1]
    clone = service.repository()
    clone.git("switch", "-q", "main")
    environ = {
        **service.environ,
        **{f"GIT_{one}_{key}": "ann@x" for one in ("AUTHOR", "COMMITTER") for key in ("NAME", "EMAIL")},
    }
    script = f'set -e\npushlive() {{ {" ".join(PUSHLIVE)} "$@"; }}\n{commands}'
    done = subprocess.run(
        ["bash", "-c", script], cwd=clone.folder, env=environ, text=True, capture_output=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "hello--search" in done.stdout
    until(lambda: "hello--search" not in there(service), 30)
