"""Images pushed to a real registry and pulled from it."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

import docker
from pipeline.adapters.buildkit.builder import DockerBuilder
from pipeline.adapters.docker import images
from pipeline.adapters.docker_api import registry as adapter
from pipeline.adapters.docker_api.client import client
from pipeline.config.models import Where
from pipeline.config.settings import Settings
from pipeline.domain.engine_types import Login
from pipeline.domain.events import Event
from pipeline.errors import Cancelled, ConfigError, EngineFailed, TimedOut, TryAgain
from pipeline.lib.secret import Secret
from pipeline.ports.clock import Deadline
from tests.conftest import Bench
from tests.integration.test_secrets import put, store_dump
from tests.support.build_images import CLOCK, Workshop
from tests.support.developer import web
from tests.support.dripping import DRIPS, Says, dripping
from tests.support.local_registry import PASSWORD, USER, LocalRegistry, failing, registry, silent
from tests.support.service import running
from tests.support.waiting import PATIENCE, until

REMOTE = Where(docker="tcp://127.0.0.1:1")  # named as a remote Engine; in fact the local one answers


@pytest.fixture(scope="module")
def workshop() -> Iterator[Workshop]:
    one = Workshop()
    yield one
    one.close()


@pytest.fixture(scope="module")
def local_registry() -> Iterator[LocalRegistry]:
    with registry() as one:
        yield one


@pytest.fixture(scope="module")
def closed_registry() -> Iterator[LocalRegistry]:
    """A registry that requires a login."""
    with registry(login=True) as one:
        yield one


def image(workshop: Workshop) -> str:
    """The id of a new, unique image."""
    built = workshop.build(workshop.request(f"FROM BASE\nRUN echo {uuid.uuid4().hex} >/mark\n"))
    workshop.events.clear()
    return str(built.digest)


def push(
    workshop: Workshop, digest: str, repository: str, login: Login | None = None, seconds: float = 60.0
) -> str:
    watch = Deadline(CLOCK, seconds, "The push")
    return workshop.builder.push(digest, repository, "r1", login, workshop.events.append, watch)


def local_names(workshop: Workshop, digest: str) -> list[str]:
    found = workshop.client.api.inspect_image(digest)
    return [*found["RepoTags"], *found["RepoDigests"]]


def test_a_push_is_idempotent_and_returns_the_digest(
    workshop: Workshop, local_registry: LocalRegistry
) -> None:
    repository, digest = f"{local_registry.host}/team/hello", image(workshop)
    workshop.builder.tag(digest, workshop.name, "r1")
    before = local_names(workshop, digest)
    reference = push(workshop, digest, repository)
    assert push(workshop, digest, repository) == reference
    assert local_registry.tags(repository) == {"r1": reference.partition("@")[2]}
    assert local_names(workshop, digest) == before  # no tag that would keep it on this machine's disk


def test_a_pulled_image_is_the_one_that_was_pushed(workshop: Workshop, local_registry: LocalRegistry) -> None:
    digest = image(workshop)
    reference = push(workshop, digest, f"{local_registry.host}/hello")
    workshop.client.api.remove_image(digest, force=True)
    assert not workshop.builder.exists(digest)
    for _ in range(2):
        adapter.pull(workshop.api, CLOCK, reference, None, print, Deadline(CLOCK, 60))
        assert workshop.client.api.inspect_image(reference)["Id"] == digest


def test_a_rebuild_starts_from_the_base_that_its_registry_has_now(
    workshop: Workshop, local_registry: LocalRegistry
) -> None:
    name = f"{local_registry.host}/base"
    older, newest = image(workshop), image(workshop)
    for each in (older, newest):
        workshop.builder.push(each, name, "1", None, print, Deadline(CLOCK, 60))
    workshop.client.images.get(older).tag(name, "1")  # as before the registry got another one
    request = workshop.request(f"FROM {name}:1\nRUN cat /mark\n")
    mark = {
        one: workshop.client.containers.run(one, ["cat", "/mark"], remove=True) for one in (older, newest)
    }
    workshop.build(request)
    assert workshop.texts("line") == [mark[older].decode().strip()]
    workshop.build(replace(request, rebuild=True))
    assert workshop.texts("line") == [mark[newest].decode().strip()]
    assert workshop.texts("warning") == []
    workshop.client.api.remove_image(f"{name}:1")


def test_gc_removes_the_bases_that_a_rebuild_has_replaced_and_nobody_elses(
    workshop: Workshop, local_registry: LocalRegistry
) -> None:
    """The first base is a person's, the second one is pulled by a rebuild and used by a container meanwhile."""
    name, client = f"{local_registry.host}/moving", workshop.client
    workshop.builder.remove_replaced_bases()  # of other tests
    theirs, second, third = (image(workshop) for _ in range(3))
    request = replace(workshop.request(f"FROM {name}:1\nRUN cat /mark\n"), rebuild=True)
    client.images.get(theirs).tag(name, "1")

    def publish(digest: str) -> None:
        """As another machine would: nothing of it is on this one."""
        workshop.builder.push(digest, name, "1", None, print, Deadline(CLOCK, 60))
        client.api.remove_image(digest, force=True)

    publish(second)
    workshop.build(request)
    publish(third)
    user = client.api.create_container(second, ["cat", "/mark"])
    try:
        workshop.build(request)
        assert workshop.builder.remove_replaced_bases() == 0, "a container uses it"
        assert workshop.builder.exists(second)
    finally:
        client.api.remove_container(user)
    assert workshop.builder.remove_replaced_bases() == 1
    found = [workshop.builder.exists(one) for one in (theirs, second, third)]
    client.api.remove_image(f"{name}:1")
    assert found == [True, False, True]
    assert workshop.builder.remove_replaced_bases() == 1, "no name but ours leads to the last one"
    assert not workshop.builder.exists(third)


def test_a_built_image_without_a_tag_is_found_and_removed(workshop: Workshop) -> None:
    tagged, lost = image(workshop), image(workshop)
    workshop.builder.tag(tagged, f"{workshop.name}/hello", "r1")
    found = workshop.builder.untagged("hello")
    assert lost in found
    assert tagged not in found
    assert not workshop.builder.remove_untagged(tagged), "it has got a tag meanwhile"
    assert workshop.builder.remove_untagged(lost)
    assert not workshop.builder.remove_untagged(lost)
    assert [workshop.builder.exists(one) for one in (tagged, lost)] == [True, False]


def test_an_image_is_pushed_and_pulled_with_a_login(
    workshop: Workshop, closed_registry: LocalRegistry
) -> None:
    digest = image(workshop)
    reference = push(workshop, digest, f"{closed_registry.host}/hello", closed_registry.login)
    workshop.client.api.remove_image(digest, force=True)
    with pytest.raises(ConfigError):
        adapter.pull(workshop.api, CLOCK, reference, None, print, Deadline(CLOCK, 60))
    adapter.pull(workshop.api, CLOCK, reference, closed_registry.login, print, Deadline(CLOCK, 60))
    assert workshop.builder.exists(digest)


def test_a_push_never_removes_the_image(workshop: Workshop, local_registry: LocalRegistry) -> None:
    digest = image(workshop)
    push(workshop, digest, f"{local_registry.host}/hello")
    assert workshop.builder.exists(digest)


@pytest.mark.parametrize(
    ("login", "advice"),
    [
        (None, "Give `registry:` in pipelines.yaml a `username`"),
        (
            Login(USER, Secret("wrong-word"), "hello REGISTRY"),
            "its password's secret (`pushlive secret set hello REGISTRY`)",
        ),
    ],
)
def test_a_refused_login_fails_at_once_and_names_its_secret(
    workshop: Workshop, closed_registry: LocalRegistry, login: Login | None, advice: str
) -> None:
    with pytest.raises(ConfigError, match=f"Pushing to {closed_registry.host}/hello: ") as raised:
        push(workshop, image(workshop), f"{closed_registry.host}/hello", login)
    assert advice in raised.value.advice
    assert "wrong-word" not in str(raised.value)
    assert workshop.texts("warning") == []  # it was not retried


def test_a_push_waits_for_a_registry_that_is_down_for_a_while(workshop: Workshop) -> None:
    with registry(up=False) as one:
        digest, seen = image(workshop), []

        def emit(event: Event) -> None:
            seen.append(event)
            if len(seen) == 2:
                one.start()

        watch = Deadline(CLOCK, 60)
        reference = workshop.builder.push(digest, f"{one.host}/hello", "r1", None, emit, watch)
        assert one.tags(f"{one.host}/hello") == {"r1": reference.partition("@")[2]}
    assert [event.kind for event in seen] == ["warning", "warning"]
    assert "connection refused" in seen[0].text
    assert "Retrying in 0.5 s." in seen[0].text


def test_a_registry_that_stays_down_is_try_again_at_the_deadline(workshop: Workshop) -> None:
    with registry(up=False) as one, pytest.raises(TryAgain, match="connection refused") as raised:
        push(workshop, image(workshop), f"{one.host}/hello", seconds=4)
    assert "Check that the registry runs" in raised.value.advice
    assert workshop.texts("warning")


def test_a_registry_that_keeps_failing_is_an_engine_failure(
    workshop: Workshop, local_registry: LocalRegistry
) -> None:
    digest = image(workshop)
    push(
        workshop, digest, f"{local_registry.host}/hello"
    )  # from now on Docker asks the registry for its layers
    with failing() as host, pytest.raises(EngineFailed, match=r"503 .*Tried [2-9] times") as raised:
        push(workshop, digest, f"{host}/hello", seconds=5)
    assert "its free disk space" in raised.value.advice


def test_an_image_that_the_registry_does_not_have_is_not_retried(
    workshop: Workshop, local_registry: LocalRegistry
) -> None:
    reference, said = f"{local_registry.host}/hello@sha256:{'0' * 64}", []
    with pytest.raises(EngineFailed, match=r"Pulling .*hello@sha256:0000") as raised:
        adapter.pull(workshop.api, CLOCK, reference, None, said.append, Deadline(CLOCK, 60))
    assert "If the registry no longer has the image, deploy again" in raised.value.advice
    assert said == []


def test_a_cancelled_push_ends_at_once_and_leaves_nothing_behind(workshop: Workshop) -> None:
    digest = image(workshop)
    workshop.builder.tag(digest, workshop.name, "kept")

    class Watch(Deadline):
        looks = 0

        def check(self) -> None:
            self.looks += 1
            if self.looks == 3:
                raise Cancelled("enough")

    with silent() as host:
        with pytest.raises(Cancelled):
            workshop.builder.push(digest, f"{host}/hello", "r1", None, print, Watch(CLOCK, 60))
        assert not [one for one in threading.enumerate() if one.name.startswith("Pushing to")]
    assert local_names(workshop, digest) == [f"{workshop.name}:kept"]


BLOB = f"sha256:{'0' * 64}"


def blob_drips(request: bytes) -> Says:
    """A registry with one image, whose layer has no end."""
    path = request.split()[1]
    if path == b"/v2/":
        return b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", b""
    return DRIPS


@pytest.mark.parametrize("answer", [lambda _: DRIPS, blob_drips], ids=["everything", "images"])
def test_fault_52_a_registry_that_drips_is_given_up_in_time(
    workshop: Workshop, answer: Callable[[bytes], Says]
) -> None:
    digest = image(workshop)
    with dripping(answer) as host:
        began = time.monotonic()
        with pytest.raises((TimedOut, TryAgain)):
            push(workshop, digest, f"{host}/hello", seconds=1.0)
        with pytest.raises((TimedOut, TryAgain)):
            adapter.pull(workshop.api, CLOCK, f"{host}/hello@{BLOB}", None, print, Deadline(CLOCK, 1.0))
        with pytest.raises((TimedOut, TryAgain)):
            workshop.build(workshop.request(f"FROM {host}/hello:1\n"), watch=Deadline(CLOCK, 1.0))
        assert time.monotonic() - began < 10 * PATIENCE
        assert not [one for one in threading.enumerate() if one.name.startswith(("Pushing to", "Pulling "))]


# ── a slot whose image is in a registry ──────────────────────────────────────


def test_a_remote_engine_pulls_the_image_from_the_registry(
    bench: Bench, closed_registry: LocalRegistry, docker_client: docker.DockerClient, settings: Settings
) -> None:
    builder = DockerBuilder(client, CLOCK, instance=settings.instance)  # it builds the image
    to, watch = f"{closed_registry.host}/app", Deadline(CLOCK, 60)
    reference = builder.push(bench.image, to, "r1", closed_registry.login, print, watch)
    here, asked = bench.spec(), []

    def login() -> Login | None:
        asked.append(1)
        return closed_registry.login

    ref = replace(here.ref, engine=REMOTE.key)
    spec = replace(here, ref=ref, image="sha256:" + "0" * 64, remote=reference, login=login)
    bench.deploy(spec)
    result = bench.engine.command(spec, "look", ("true",), {}, bench.events.append, bench.watch())
    assert result.exit_code == 0
    [replica] = bench.engine.replicas(spec.ref)
    assert docker_client.api.inspect_container(replica.name)["Image"] == bench.image
    assert asked == [1]  # pulled only once
    assert bench.engine.missing(spec) == ()


def test_a_remote_engine_keeps_the_newest_images_and_those_in_use(
    bench: Bench, workshop: Workshop, local_registry: LocalRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "KEPT", 1)
    api, repository = workshop.api, f"{local_registry.host}/tidy"
    ref = replace(bench.ref(), engine=REMOTE.key)
    remotes = []
    for number in range(3):
        digest = image(workshop)
        spec = replace(bench.spec(), ref=ref, image="", remote=push(workshop, digest, repository))
        workshop.client.api.remove_image(digest, force=True)
        images.provide(api, Settings(), CLOCK, spec, Deadline(CLOCK, 60))
        remotes.append(spec.remote)
        if number == 0:
            user = workshop.client.api.create_container(spec.remote, ["true"])["Id"]
    assert [api.image(remote) is not None for remote in remotes] == [True, False, True]
    workshop.client.api.remove_container(user)


def test_a_remote_engine_says_which_image_it_cannot_pull(
    bench: Bench, closed_registry: LocalRegistry
) -> None:
    spec = replace(bench.spec(), ref=replace(bench.ref(), engine=REMOTE.key))
    bench.engine.prepare(spec.ref, ())
    with pytest.raises(EngineFailed, match=r"r1 was built before app\d+ had a `registry:`") as raised:
        bench.engine.start(spec, bench.watch())
    assert "pushlive deploy app" in raised.value.advice
    refused = replace(spec, remote=f"{closed_registry.host}/app@sha256:{'1' * 64}")
    with pytest.raises(ConfigError, match="Pulling "):
        bench.engine.start(refused, bench.watch())
    assert bench.engine.replicas(spec.ref) == ()


# ── from a push ────────────────────────────────────────────────────────────

CONFIG = """
pipelines:
  hello:
    registry: {repository: HOST/hello, username: me, password: REGISTRY}
    service: {memory: 128MiB, stop: 1s}
    environments: {live: }
"""


def test_a_push_to_the_service_ends_in_the_registry_and_its_log(
    docker_client: docker.DockerClient, base_images: None
) -> None:
    with registry(login=True) as one:
        repository = f"{one.host}/hello"
        with running(docker_client, CONFIG.replace("HOST", one.host)) as service:
            said = service.push(web(), "One")
            assert "REGISTRY for the registry" in said
            assert "`pushlive secret set hello REGISTRY`" in said
            put(service, "not-the-right-one", "hello", "REGISTRY")
            service.push(web("two"), "Two")
            run = service.wait("hello#2")
            assert (run["outcome"], run["failure"]["whose"]) == ("failed", "configuration")
            assert (run["failure"]["stage"], run["failure"]["step"]) == ("build", "push")
            put(service, PASSWORD, "hello", "REGISTRY")
            service.push(web("three"), "Three")
            assert service.wait("hello#3")["outcome"] == "live"
            until(lambda: len(one.tags(repository)) == 2)
            tags = one.tags(repository)
            assert set(tags) == {service.run("hello#3")["commit"][:7], "r1"}
            assert set(tags.values()) == {tags["r1"]}
            assert f"pushed to {repository}@{tags['r1']}" in service.log("hello#3")
            assert f"{repository}@{tags['r1']}" in store_dump(service)
            kept = store_dump(service) + service.output + service.log("hello#3") + service.log("hello#2")
            assert PASSWORD not in kept
            assert "not-the-right-one" not in kept
