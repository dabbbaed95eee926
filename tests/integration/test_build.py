"""The build, from a commit to a release."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

import docker
from tests.support.developer import web
from tests.support.service import Service, get, running

CONFIG = """
pipelines:
  hello:
    build: {timeout: 10s}
    service: {memory: 128MiB, stop: 1s}
    environments: {dev: , live: }
  tuned:
    build: {context: app, dockerfile: deploy/Dockerfile, args: {WHO: world}, target: ready}
    service: {memory: 128MiB, stop: 1s}
    environments: {live: }
"""
TUNED = """\
ARG WHO=nobody
FROM busybox:1.36 AS ready
ARG WHO
RUN mkdir /www && echo "hello $WHO" > /www/index.html
CMD ["httpd", "-f", "-p", "8080", "-h", "/www"]
FROM ready AS unwanted
RUN exit 1
"""


@pytest.fixture(scope="module")
def service(docker_client: docker.DockerClient, base_images: None) -> Iterator[Service]:
    with running(docker_client, CONFIG) as one:
        one.push(web(), "The first")
        yield one


def tags(service: Service, digest: str) -> list[str]:
    return sorted(service.engine.inspect_image(digest)["RepoTags"])


def test_the_same_digest_has_the_tags_of_commit_and_release(service: Service) -> None:
    found = service.show("hello#1")
    release, name = found["release"], f"{service.instance}/hello"
    assert release["image"].startswith("sha256:")
    assert tags(service, release["image"]) == sorted([f"{name}:{found['run']['short']}", f"{name}:r1"])
    for environment in ("dev", "live"):
        (container,) = service.containers(environment=environment)
        assert container["Image"] == release["image"]
    labels = service.engine.inspect_image(release["image"])["Config"]["Labels"]
    assert not any(release["commit"] in value for value in labels.values())  # one tree gives one image


def test_each_step_and_its_output_reach_the_pusher_and_the_log(service: Service) -> None:
    # Its own words, or BuildKit has the step in its cache already.
    bar = "printf '10%%\\r50%%\\r100%%\\n' && seq -s, 900"
    step = f'RUN echo "a word from {service.instance}" $((6 * 7)) && {bar}'
    dockerfile = web()["Dockerfile"] or ""
    said = service.push(web("seen", Dockerfile=dockerfile.replace("COPY", f"{step}\nCOPY")), "With output")
    for text in (said, service.log("hello#2")):
        assert f"│ a word from {service.instance} 42" in text
        assert re.search(r"\[2/3\] RUN echo .*  [0-9.]+s", text)
        assert re.search(r"\[3/3\] COPY www /www  ([0-9.]+s|cached)", text)
        assert re.search(r"│ 100%\s*$", text, re.M)
    assert ",".join(map(str, range(1, 901))) in service.log("hello#2")


def test_an_image_of_the_same_tree_is_reused_with_a_note(service: Service) -> None:
    before = service.show()
    said = service.push({}, "Nothing changed")
    after = service.show()
    assert "reused the image of the same tree and settings" in said
    assert after["release"]["image"] == before["release"]["image"]
    assert after["release"]["number"] == before["release"]["number"] + 1
    assert f"{service.instance}/hello:{after['run']['short']}" in tags(service, after["release"]["image"])


def test_rebuild_reuses_no_image(service: Service) -> None:
    before = service.show()["release"]
    service.pushlive("deploy", "hello", "--rebuild")
    run = service.run()
    assert re.search(r"\[2/3\] RUN echo .*  [0-9.]+s", service.log(run["id"]))  # not: cached
    assert service.show()["release"]["image"] != before["image"]


def test_without_a_dockerfile_a_minimal_one_is_shown(service: Service) -> None:
    before = service.releases()
    said = service.push({"Dockerfile": None}, "No Dockerfile")
    assert "there is no Dockerfile in commit" in said
    assert "FROM python" in said
    assert 'CMD ["python", "-m", "app"]' in said
    assert service.releases() == before


def test_dockerignore_is_honoured(service: Service) -> None:
    ignore = {".dockerignore": "www/*.txt\n!www/kept.txt\n", "www/left.txt": "no\n", "www/kept.txt": "yes\n"}
    service.push({**web(), **ignore}, "With a .dockerignore")
    assert service.page(path="/kept.txt") == "yes\n"
    assert get(service.environments()["live"]["url"] + "/left.txt")[0] == 404
    service.push({"Dockerfile.dockerignore": ""}, "Empty, but it hides the other")
    assert service.page(path="/left.txt") == "no\n"


def test_arguments_target_context_and_dockerfile_are_used(service: Service) -> None:
    service.push({"app/deploy/Dockerfile": TUNED, "outside": "no part of the context\n"}, "Tuned", "tuned")
    assert service.page(name="tuned") == "hello world\n"
    service.push({"outside": "changed\n"}, "Outside of the context", "tuned")
    steps = {step["step"]: step for step in service.run("tuned")["steps"] if step["stage"] == "build"}
    assert steps["build"]["detail"] == "reused"


def _served(service: Service) -> dict[str, dict[str, Any]]:
    """What a run changes in an environment. Warm slots end meanwhile, and health is looked at again and again."""
    keys = ("release", "since", "slot", "hold", "quarantine")
    return {name: {key: one[key] for key in keys} for name, one in service.environments().items()}


def test_fault_19_a_broken_build_leaves_everything_untouched(service: Service) -> None:
    before = _served(service)
    files = web(Dockerfile='FROM busybox:1.36\nRUN echo "line one" && echo "that is it" && false\n')
    said = service.push(files, "Broken")
    assert "┌─ build/build failed · the application" in said
    assert "that is it" in said
    assert _served(service) == before
    assert service.run()["outcome"] == "failed"
    assert service.run()["release"] is None


def test_fault_19_a_build_that_hangs_is_ended_in_time(service: Service) -> None:
    said = service.push(web(Dockerfile="FROM busybox:1.36\nRUN sleep 60\n"), "Hanging")
    assert "build/build took longer than 10 s and was stopped" in said
    assert service.run()["outcome"] == "failed"


def test_fault_25_an_unavailable_base_image_is_named(service: Service) -> None:
    said = service.push(web(Dockerfile="FROM 127.0.0.1:9/nobody/nothing:1\n"), "No base")
    assert "The base image '127.0.0.1:9/nobody/nothing:1' is not on this machine" in said
    assert service.run()["failure"]["whose"] == "engine"


def test_a_submodule_is_refused_with_a_reason(service: Service) -> None:
    clone = service.repository()
    head = clone.commit(web("with a submodule"), "Before")
    clone.git("update-index", "--add", "--cacheinfo", f"160000,{head},www/theirs")
    clone.git("commit", "-q", "-m", "A submodule")
    said = clone.git("push", "pushlive", "main")
    assert "The build's context has a submodule in it ('www/theirs'), which is not supported yet" in said
    clone.git("rm", "-q", "--cached", "www/theirs")
    clone.git("update-index", "--add", "--cacheinfo", f"160000,{head},lib/theirs")
    clone.git("commit", "-q", "-m", "One that the Dockerfile does not copy")
    assert "is live" in clone.git("push", "pushlive", "main")
    assert service.page() == "with a submodule\n"
    clone.git("reset", "-q", "--hard", "HEAD~2")


LINKED = """\
FROM busybox:1.36 AS base
COPY . /www
CMD ["httpd", "-f", "-p", "8080", "-h", "/www"]
FROM base AS ready
ARG SOURCE_COMMIT
ARG PUSHLIVE_COMMIT=unknown
RUN echo "$SOURCE_COMMIT $PUSHLIVE_COMMIT" > /www/commit
"""


def test_links_lead_to_a_dockerfile_and_a_dockerignore_outside_the_context(service: Service) -> None:
    clone = service.repository("tuned")
    (clone.folder / "app" / "deploy").mkdir(parents=True, exist_ok=True)
    for name in ("app/deploy/Dockerfile", "app/.dockerignore"):
        (clone.folder / name).unlink(missing_ok=True)
    (clone.folder / "app/deploy/Dockerfile").symlink_to("../../docker/Dockerfile")
    (clone.folder / "app/.dockerignore").symlink_to("../docker/ignored")
    files = {"docker/Dockerfile": LINKED, "docker/ignored": "*.txt\n", "app/index.html": "linked\n"}
    service.push({**files, "app/left.txt": "no\n", ".gitmodules": ""}, "Linked", "tuned")
    assert service.page(name="tuned") == "linked\n"
    assert get(service.environments("tuned")["live"]["url"] + "/left.txt")[0] == 404


def test_a_dockerfile_that_declares_the_commit_is_given_it_and_built_for_each(service: Service) -> None:
    for message in ("One", "The same tree again"):
        service.push({"app/deploy/Dockerfile": LINKED, "app/index.html": "given\n"}, message, "tuned")
        head = service.run("tuned")["commit"]
        assert service.page(path="/commit", name="tuned") == f"{head} {head}\n"
    steps = {step["step"]: step for step in service.run("tuned")["steps"] if step["stage"] == "build"}
    assert "cached" in steps["build"]["detail"]  # what comes before ARG


def test_what_dockerignore_leaves_out_may_be_a_submodule_or_in_git_lfs(service: Service) -> None:
    clone = service.repository("tuned")
    clone.git("config", "core.hooksPath", "/dev/null")  # git-lfs would push the objects, if it is installed
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 12345\n"
    rules = {".gitattributes": "*.psd filter=lfs diff=lfs merge=lfs -text\n", "app/design/x.psd": pointer}
    clone.commit({**rules, "app/deploy/Dockerfile": LINKED, "app/index.html": "in part\n"}, "Pointer")
    (clone.folder / "app" / "vendor" / "other").mkdir(parents=True)  # as where it was not fetched
    clone.git("update-index", "--add", "--cacheinfo", f"160000,{clone.head},app/vendor/other")
    assert "'app/vendor/other'" in service.push({}, "Both", "tuned")
    assert "'app/design/x.psd' is in Git LFS" in service.push(
        {"app/.dockerignore": "vendor\n"}, "One", "tuned"
    )
    said = service.push({"app/.dockerignore": "vendor\ndesign/*.psd\n"}, "None", "tuned")
    assert "is live" in said, said
    assert service.page(name="tuned") == "in part\n"
