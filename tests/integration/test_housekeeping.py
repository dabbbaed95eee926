"""What is kept, cleaned up and shown although it is old, on a real service with Docker."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import yaml

import docker
from pipeline.store import Store
from tests.support import valkey
from tests.support.developer import web
from tests.support.load import Load
from tests.support.service import Service, get, running
from tests.support.waiting import until

CONFIG = """
pipelines:
  hello:
    service: {memory: 128MiB, stop: 1s, drain: 0s, keep_warm: 0s}
    smoke: [{get: /}]
    environments: {live: }
  shop:
    service: {memory: 128MiB, stop: 1s}
    smoke: [{get: /}]
    environments: {live: {host: www.shop.example}}
  gated:
    service: {memory: 128MiB, stop: 1s}
    environments: {dev: , live: {promote: manual}}
  small:
    service: {memory: SHARE, stop: 1s, drain: 0s, keep_warm: 10m}
    environments: {dev: , qa: , live: }
  stuck:
    service: {memory: 128MiB, stop: 1s, release: {command: [sh, /www/release.sh], timeout: 5m}}
    smoke: [{get: /}]
    environments: {live: }
"""


@pytest.fixture(scope="module")
def service(docker_client: docker.DockerClient, base_images: None) -> Iterator[Service]:
    share = f"{int(docker_client.info()['MemTotal'] * 0.17)}B"  # five of them fit
    with running(docker_client, CONFIG.replace("SHARE", share), PUSHLIVE_KEEP_RELEASES="1") as one:
        yield one


def test_gc_keeps_the_image_of_the_release_that_status_names(service: Service) -> None:
    service.push(web("version 1"), "One")
    service.push(web("version 2"), "Two")
    repository = service.repository()
    for number in (3, 4):  # the same tree: releases of the same image, and a revert goes back past them
        repository.git("commit", "--allow-empty", "-m", f"Again {number}")
        repository.git("push", "pushlive", "main")
    until(lambda: len(service.environments()["live"]["slots"]) == 1, 60)  # nothing is warm any more
    tag = f"{service.instance}/hello"
    said = service.pushlive("gc").out
    assert f"{tag}:r2: the tag was removed; r4 has the same image" in said
    assert f"{tag}:r1" not in said
    assert "Nothing to clean up." in service.pushlive("gc").out
    assert service.environments()["live"]["revert"]["text"].startswith("revert ready: r1, cold, about ")
    service.pushlive("revert", "hello")
    assert service.page() == "version 1\n"


def commands(service: Service) -> list[str]:
    """The names of the containers of release commands that run."""
    filters = {"label": [f"pushlive.instance={service.instance}", "pushlive.command"]}
    return [one["Names"][0] for one in service.engine.containers(filters=filters)]


def test_a_hung_release_command_keeps_no_one_waiting(service: Service) -> None:
    service.push(web("version 1", **{"www/release.sh": "exit 0"}), "One", "stuck")
    service.push(web("version 2", **{"www/release.sh": "exit 0"}), "Two", "stuck")
    repository = service.repository("stuck")
    repository.commit(web("version 3", **{"www/release.sh": "sleep 600"}), "Three")
    push = repository.started("push", "pushlive", "main")
    until(lambda: len(commands(service)) == 1, 60)
    said = service.pushlive("cancel", "stuck#3").out
    assert "It takes effect when the release command in live has ended, in 4:" in said
    until(lambda: "was cancelled by" in service.log("stuck#3"), 30)
    assert service.run("stuck#3")["state"] == "running"
    assert "stuck#4 reverted in" in service.pushlive("revert", "stuck", "--to", "r1").text
    assert service.page(name="stuck") == "version 1\n"
    assert len(commands(service)) == 1, "half of a migration helps no one"
    assert "was left. It is still running" in push.communicate(timeout=60)[0]
    assert service.wait("stuck#3")["outcome"] == "cancelled"
    assert "release command sh /www/release.sh was left" in service.pushlive("status").out


def test_what_waits_is_shown_and_can_go_on_when_its_pipeline_was_taken_out_of_the_file(
    service: Service,
) -> None:
    assert "waits before live" in service.push(web("version 1"), "One", "gated")
    whole = service.config.read_text()
    file = yaml.safe_load(whole)
    del file["pipelines"]["gated"]
    service.config.write_text(yaml.safe_dump(file))
    until(lambda: "gated is no longer in pipelines.yaml" in service.pushlive("status").out, 30)
    said = service.pushlive("status", "gated").out
    assert "gated#1 (r1," in said
    assert "waits before live  → `pushlive promote 'gated#1'`" in said
    kept = "gated/live is no longer in pipelines.yaml, but gated#1 waits before live; to give it up: `pushlive cancel"
    assert kept in service.pushlive("gc", code=1).out
    assert service.page("dev", name="gated") == "version 1\n", "only gc removes what is not in the file"
    service.pushlive("promote", "gated#1")
    assert service.page(name="gated") == "version 1\n"
    service.config.write_text(whole)


def test_what_is_only_warm_gives_way_on_a_small_machine(service: Service) -> None:
    service.push(web("version 1"), "One", "small")
    said = service.push(web("version 2"), "Two", "small")
    assert "small/dev r1 (blue) was only kept warm and was stopped to make room" in said
    assert service.page(name="small") == "version 2\n"
    found = service.environments("small")
    assert [found[name]["revert"]["how"] for name in ("dev", "qa", "live")] == ["cold", "warm", "warm"]
    service.pushlive("revert", "small")
    assert service.page(name="small") == "version 1\n"


def by_name(service: Service, host: str = "www.shop.example") -> tuple[int, str]:
    return get(f"http://{service.proxy}/", Host=host)


def test_a_renamed_environment_takes_its_host_name_over_without_an_outage(service: Service) -> None:
    service.push(web("version 1"), "One", "shop")
    whole = service.config.read_text()
    renamed = whole.replace("{live: {host: www.shop.example}}", "{production: {host: www.shop.example}}")
    other = service.folder / "renamed.yaml"
    other.write_text(renamed)
    plan = service.pushlive("plan", str(other)).out
    assert (
        "www.shop.example moves here from shop/live with the next release; until then it leads there" in plan
    )
    service.config.write_text(renamed)
    until(lambda: "production" in service.environments("shop"), 30)
    kept = "but www.shop.example leads there until shop/production serves: `pushlive deploy shop`"
    assert kept in service.pushlive("gc", code=1).out
    port = int(service.proxy.rpartition(":")[2])
    with Load(port, str.strip, "www.shop.example", pause=0.01).fresh(2, "/") as load:
        until(load.reached(20), 30)
        service.push(web("version 2"), "Two", "shop")
        assert by_name(service) == (200, "version 2\n")
        service.pushlive("doctor", "--fix", code=None)
        until(load.reached(20), 30)
        assert (
            "shop/live is no longer in pipelines.yaml and was removed" in service.pushlive("gc", "--yes").out
        )
        until(load.reached(20), 30)
    assert load.failures == []
    assert set(load.answers) == {"version 1", "version 2"}
    assert by_name(service) == (200, "version 2\n")


@contextmanager
def visitor(service: Service, environment: str) -> Iterator[str]:
    """A container of someone else in the network of that environment, such as ``gated-live``."""
    network = f"{service.instance}-{environment}"
    inside = service.engine.create_networking_config({network: service.engine.create_endpoint_config()})
    made = service.engine.create_container(
        "busybox:1.36", ["sleep", "600"], name=f"{network}-visitor", networking_config=inside
    )
    try:
        service.engine.start(made["Id"])
        yield network
    finally:
        service.engine.remove_container(made["Id"], force=True)


def test_gc_removes_all_but_a_network_that_others_are_in(service: Service) -> None:
    service.push(web("version 2"), "Two", "gated")
    service.pushlive("promote", "gated")
    whole = service.config.read_text()
    file = yaml.safe_load(whole)
    del file["pipelines"]["gated"]
    with visitor(service, "gated-dev") as network:
        service.config.write_text(yaml.safe_dump(file))
        until(lambda: "gated is no longer in pipelines.yaml" in service.pushlive("status").out, 30)
        said = service.pushlive("gc", "--yes", code=1).out
        assert f"but the network {network} stays, because {network}-visitor is in it" in said
        assert "gated/live is no longer in pipelines.yaml and was removed" in said
        assert service.containers("gated", "dev") == service.containers("gated", "live") == []
        service.pushlive("doctor", "--fix", code=None)
        assert service.containers("gated", "dev") == [], "the keeper revives nothing that gc removed"
    assert "gated/dev is no longer in pipelines.yaml and was removed" in service.pushlive("gc").out
    assert service.engine.networks([network]) == []
    service.config.write_text(whole)


def test_down_all_removes_all_but_a_network_that_others_are_in(service: Service) -> None:
    with visitor(service, "hello-live") as network:
        done = service.pushlive("down", "--all", code=1)
        assert f"removed hello/live, but the network {network} stays" in done.out
        assert "removed stuck/live" in done.out
        assert "removed the proxy" in done.out
    again = service.pushlive("down", "--all").out
    assert "removed hello/live\n" in again
    assert "removed the proxy" not in again  # there is none any more
    mine = {"label": f"pushlive.instance={service.instance}"}
    assert service.engine.containers(all=True, filters=mine) == service.engine.networks(filters=mine) == []


def test_a_store_that_does_not_keep_every_write_is_reported_when_the_service_starts(
    docker_client: docker.DockerClient,
) -> None:
    with valkey.running() as url:
        store = Store(url)
        store.client.config_set("appendfsync", "everysec")
        with running(docker_client, "pipelines: {}\n", PUSHLIVE_REDIS_URL=url) as service:
            lacks = "`appendfsync` is `everysec`, not `always`"
            until(lambda: f"! store: {lacks}" in service.output, 30)
            assert lacks in service.pushlive("doctor", code=1).text
            store.client.config_set("appendfsync", "always")
            found = {one["name"]: one for one in service.ask("GET", "/api/doctor")["checks"]}
            assert found["store"]["ok"]
            assert found["data folder"]["ok"]
        store.client.close()
