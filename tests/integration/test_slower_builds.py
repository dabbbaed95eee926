"""A build on the real Engine says from which line of the Dockerfile on it was not cached, and why."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from docker.errors import APIError

import docker
from tests.support.build_images import busybox
from tests.support.service import Service, running

CONFIG = """
pipelines:
  hello:
    service: {memory: 128MiB, stop: 1s}
    environments: {live: }
"""
DOCKERFILE = """\
FROM BASE
# what is needed
COPY needs.txt /
RUN sleep 1.1 && cat /needs.txt > /installed
COPY www /www
CMD ["sh", "-c", "exec busybox httpd -f -p 0.0.0.0:8080 -h /www"]
"""


@pytest.fixture(scope="module")
def base(docker_client: docker.DockerClient) -> Iterator[str]:
    """An image of its own, that a test may replace."""
    name = f"pushlive-test-{uuid.uuid4().hex[:8]}-base"
    provide(docker_client, name)
    yield f"{name}:1"
    with suppress(APIError):
        docker_client.api.remove_image(f"{name}:1", force=True)


def provide(client: docker.DockerClient, name: str, mark: str = "") -> None:
    client.api.import_image_from_data(busybox(name + mark), repository=name, tag="1")


@pytest.fixture(scope="module")
def service(docker_client: docker.DockerClient, base: str) -> Iterator[Service]:
    with running(docker_client, CONFIG) as one:
        files = {"Dockerfile": DOCKERFILE.replace("BASE", base), "needs.txt": "a\n", "www/index.html": "1\n"}
        one.push(files, "The first")
        yield one


def missed(service: Service) -> dict[str, Any] | None:
    (step,) = (one for one in service.run()["steps"] if (one["stage"], one["step"]) == ("build", "build"))
    found: dict[str, Any] | None = step["data"].get("missed")
    return found


def test_the_first_build_has_nothing_to_be_compared_with(service: Service) -> None:
    assert missed(service) is None


def test_a_changed_file_is_named_with_the_line_and_its_commit(service: Service) -> None:
    said = service.push({"needs.txt": "b\n", "www/index.html": "2\n"}, "Bump what is needed")
    found, short = missed(service), service.run()["short"]
    assert found is not None
    assert (found["line"], found["text"], found["kind"]) == (3, "COPY needs.txt /", "files")
    assert (found["file"], found["commit"][:7]) == ("needs.txt", short)
    assert found["seconds"] >= 1.1
    text = (
        "not cached from Dockerfile line 3 `COPY needs.txt /` on: needs.txt changed in "
        f"{short} “Bump what is needed”"
    )
    assert text in said
    assert text in service.log(service.run()["id"])


def test_a_change_further_down_is_that_lines_own(service: Service) -> None:
    said = service.push({"www/index.html": "3\n", "www/more.html": "3\n"}, "Two pages")
    found = missed(service)
    assert found is not None
    assert (found["line"], found["kind"]) == (5, "files")
    assert found["why"].startswith("www/index.html and 1 more file changed, www/index.html in ")
    assert "not cached from" not in said  # that took no notable time


def test_another_base_image_is_named(service: Service, base: str, docker_client: docker.DockerClient) -> None:
    before = service.run()["id"]
    provide(docker_client, base.split(":")[0], "another")
    service.push({"www/index.html": "4\n"}, "A small change")
    found = missed(service)
    assert found is not None
    assert (found["line"], found["kind"], found["commit"]) == (3, "base", "")
    assert found["why"] == f"the image {base} is another one than for {before}"


def test_a_changed_line_of_the_dockerfile_is_named(service: Service, base: str) -> None:
    text = DOCKERFILE.replace("BASE", base).replace("sleep 1.1", "sleep 1.2")
    service.push({"Dockerfile": text}, "Sleep longer")
    found = missed(service)
    assert found is not None
    assert (found["line"], found["kind"]) == (4, "dockerfile")
    assert found["why"] == f"that line changed in {service.run()['short']} “Sleep longer”"


def test_a_rebuild_was_asked_for(service: Service) -> None:
    service.pushlive("deploy", "hello", "--rebuild")
    found = missed(service)
    assert found is not None
    assert (found["kind"], found["why"]) == ("rebuild", "a build of everything was requested")


def test_a_run_that_is_slower_than_usual_says_so_at_its_end(service: Service, base: str) -> None:
    for number in range(5):
        service.push({"www/index.html": f"usual {number}\n"}, "As usual")
    text = DOCKERFILE.replace("BASE", base).replace("sleep 1.1", "sleep 12")
    said = service.push({"Dockerfile": text}, "Sleep too long")
    run = service.run()
    reason = (
        "its cache missed from Dockerfile line 4 `RUN sleep 12 && cat /needs.txt > /installed` on: that line changed "
        f"in {run['short']} “Sleep too long”"
    )
    (step,) = (one for one in run["unusual"]["steps"] if one["step"] == "build")
    assert step["why"] == reason
    for text in (said, service.log(run["id"]), service.pushlive("show", run["id"]).out):
        assert "slower than usual (median of" in text
        assert reason in text
    assert "(+" in service.pushlive("runs").out
