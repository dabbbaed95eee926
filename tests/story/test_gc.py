"""``pushlive gc`` and odd records: what cannot be cleaned up is said, and everything else is."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pipeline.adapters.kubernetes.api import connection
from pipeline.adapters.kubernetes.api.client import connect
from pipeline.adapters.kubernetes.api.kube_api import KubeApi
from pipeline.adapters.kubernetes.engine import KubeEngine
from pipeline.config.engines import DOCKER
from pipeline.deploy.slot import facts
from pipeline.domain.events import Said
from pipeline.domain.run import Outcome
from pipeline.errors import EngineAway, EngineFailed, PushliveError
from pipeline.lib.retry import Backoff
from pipeline.maintenance.gc import gc
from pipeline.ports.engine import Engine, engine_of
from tests.support.apiserver import serving, status

TYPO = "docker:ssh://deploy@typo.example"
FAR = """\
pipelines:
  hello:
    registry: registry.example.com/hello
    environments:
      dev:
      live: {engine: {docker: "ssh://deploy@typo.example"}}
"""
NEAR = FAR.replace("typo", "right")


class Engines:
    """The world's engine under every key except ``TYPO``, which raises ``error``."""

    def __init__(self, world, error: PushliveError) -> None:
        self._there, self._world, self.error = world.engines, world, error

    def of(self, key: str):
        if key == TYPO:
            raise self.error
        return self._there.of(key)

    def in_use(self) -> list[str]:
        records = self._world.store.environments("hello").values()
        return sorted({DOCKER, *(record.engine for record in records)})


ERRORS = [EngineFailed("there is no such machine."), EngineAway("it does not answer.")]


@pytest.fixture(params=ERRORS, ids=["wrong", "away"])
def broken(world, request):
    """A service with a mistake in the address of an engine, which a run has put on record."""
    engines = Engines(world, request.param)
    world.adapters = replace(world.adapters, engines=engines)
    world.runner._adapters = world.adapters
    world.jobs = world.another_process()
    world.configure(FAR)
    assert world.push("one").outcome == Outcome.FAILED
    assert world.environment("live").engine == TYPO
    return world


def test_an_engine_that_does_not_exist_keeps_gc_from_nothing(broken) -> None:
    broken.configure(NEAR.replace("live:", "prod:").replace("dev:", "qa:"))
    said = broken.gc()
    assert any(
        text.startswith(f"containers without a record on {TYPO} were not looked for: ") for text in said
    )
    assert "hello/dev is no longer in pipelines.yaml and was removed" in said
    assert any(
        text.startswith(
            "hello/live is no longer in pipelines.yaml and was removed; nothing ever ran there, and "
        )
        for text in said
    )
    assert broken.store.environments("hello") == {}
    assert broken.gc() == ("Nothing to clean up.",)


def test_a_corrected_address_is_used_by_the_next_run(broken) -> None:
    broken.configure(NEAR)
    run = broken.push("two")
    assert run.outcome == Outcome.LIVE, run.reason
    assert broken.environment("live").engine == "docker:ssh://deploy@right.example"
    notes = [event.text for event in broken.events(run, "warning")]
    assert any(f"{TYPO}, where nothing ever ran, was not asked to remove anything" in text for text in notes)


def test_what_ran_on_an_engine_that_is_away_stays_on_record(world) -> None:
    world.configure(NEAR)
    assert world.push("one").outcome == Outcome.LIVE
    world.engine.fail("remove", EngineAway("it does not answer."), times=1)
    world.configure(NEAR.replace("live:", "prod:"))
    assert "hello/live is no longer in pipelines.yaml, but was not removed: it does not answer." in world.gc()
    assert world.environment("live").serving == 1
    assert "hello/live is no longer in pipelines.yaml and was removed" in world.gc()


def test_a_damaged_record_keeps_gc_from_its_own_pipeline_alone(world) -> None:
    """What the damaged records may name is left alone; else their containers would count as no one's."""
    world.configure(
        "pipelines: {hello: {environments: {dev: , live: }}, shop: {environments: {dev: , live: }}}"
    )
    world.push("one")
    world.push("one", "shop")
    world.store.client.hset(world.store.key("environments", "hello"), "dev", "{")
    world.configure("pipelines: {hello: {environments: {live: }}, shop: {environments: {live: }}}")
    said = world.gc()
    assert any(text.startswith("hello was left as it is: ") for text in said)
    assert "shop/dev is no longer in pipelines.yaml and was removed" in said
    there = {(one.pipeline, one.environment) for one in world.engine.contents}
    assert there == {("hello", "dev"), ("hello", "live"), ("shop", "live")}


# ── what a revert needs ──────────────────────────────────────────────────────


ONE = "pipelines: {hello: {environments: {live: }}}"


def images(world) -> set[str]:
    """The releases whose tag is there."""
    return {tag for _, tag in world.builder.tags if tag[1:].isdigit()}


def test_the_release_that_status_names_is_kept_however_many_came_after_it(make_world) -> None:
    """Commits of the same tree are releases of the same image: a revert goes back past all of them."""
    world = make_world(ONE)
    world.push("one")
    for _ in range(60):
        number = world.accept(world.commit("two")).number
        world.work()
        assert world.run(number).outcome == Outcome.LIVE
    said = world.gc()
    assert f"{world.settings.instance}/hello:r2: the tag was removed; r61 has the same image" in said
    assert images(world) == {"r1", *(f"r{number}" for number in range(52, 62))}
    world.jobs.missing_images.run()
    assert revert_of(world) == "revert ready: r1, cold, about 1 s"
    assert world.revert().release == 1
    assert world.serving()["live"] == 1


def test_a_cold_revert_is_said_to_take_as_long_as_the_start_took(make_world) -> None:
    world = make_world(ONE)
    for text, seconds in (("one", 7.2), ("two", 3.0)):
        world.engine.before("ready", lambda seconds=seconds: world.clock.sleep(seconds))
        world.push(text)
    assert revert_of(world) == "revert ready: r1, warm"
    world.clock.sleep(86400.0)
    world.jobs.reconcile.run()
    assert revert_of(world) == "revert ready: r1, cold, about 8 s"


def revert_of(world) -> str:
    [hello] = world.commands.status("hello")["pipelines"]
    return hello["environments"][-1]["revert"]["text"]


def test_gc_names_what_it_removed_once(make_world) -> None:
    world = make_world(ONE)
    for number in range(13):
        world.push(str(number))
    world.jobs.image_gc.keep = 1
    assert f"{world.settings.instance}/hello:r3: the image is no longer kept" in world.gc()
    assert world.gc() == ("Nothing to clean up.",)


# ── each engine by itself ────────────────────────────────────────────────────

FORBIDDEN = "kubernetes:test/shop"
TWO = """\
pipelines:
  hello: {registry: r.example/hello, environments: {dev: , live: {engine: {kubernetes: test, namespace: shop}}}}
"""


class TwoEngines:
    """A fake Docker Engine, and a real adapter for a cluster."""

    def __init__(self, world, cluster: Engine) -> None:
        self._docker, self._cluster = world.engines, cluster

    def of(self, key: str) -> Engine:
        return self._docker.of(key) if key == DOCKER else self._cluster

    def in_use(self) -> list[str]:
        return [DOCKER, FORBIDDEN]


@pytest.mark.parametrize("answer", [(403, "Forbidden"), (401, "Unauthorized"), (500, "InternalError")])
def test_a_cluster_that_refuses_keeps_gc_from_nothing_else(world, tmp_path, monkeypatch, answer) -> None:
    assert world.push("one").outcome == Outcome.LIVE
    with serving(tmp_path, lambda *_: status(*answer, "no")) as server:
        monkeypatch.setenv("KUBECONFIG", str(server.kubeconfig))
        monkeypatch.setattr(connection, "BACKOFF", Backoff(0.0))
        monkeypatch.setattr(connection, "SETTLES_WITHIN", 0.0)
        api = KubeApi(lambda: connect("test", "shop"))
        kube = KubeEngine(api, world.settings.instance, FORBIDDEN, world.clock)
        world.adapters = replace(world.adapters, engines=TwoEngines(world, engine_of(kube, world.probe)))
        world.jobs = world.another_process()
        world.store.transact(
            "hello", lambda tx: tx.put_environment(replace(tx.environment("live"), engine=FORBIDDEN))
        )
        world.configure("pipelines: {other: {environments: {live: }}}")
        said = world.gc()
    assert "hello/dev is no longer in pipelines.yaml and was removed" in said
    assert any(
        text.startswith("hello/live is no longer in pipelines.yaml, but was not removed: ") for text in said
    )
    assert set(world.store.environments("hello")) == {"live"}
    assert any(
        text.startswith(f"containers without a record on {FORBIDDEN} were not looked for: ") for text in said
    )
    left = [one.text for one in gc(world.jobs) if one.left]
    assert len(left) == 2, "each can be repeated, and says again what it could not do"


# ── what still serves ────────────────────────────────────────────────────────


def test_what_serves_is_removed_only_if_it_is_named(world) -> None:
    world.push("one")
    world.store.forget_environment("hello", "qa")  # one without a record
    world.configure("pipelines: {hello: {environments: {dev: }}}")
    said = gc(world.jobs, frozenset())
    assert {one.serving for one in said if one.left} == {"hello/qa", "hello/live"}
    assert all("`pushlive gc --yes` removes it" in one.text for one in said if one.left)
    assert {ref.environment for ref in world.engine.contents} == {"dev", "qa", "live"}
    assert [one.serving for one in gc(world.jobs, frozenset({"hello/qa"})) if one.left] == ["hello/live"]
    assert {ref.environment for ref in world.engine.contents} == {"dev", "live"}
    assert Said("hello/live is no longer in pipelines.yaml and was removed") in gc(world.jobs)
    assert {ref.environment for ref in world.engine.contents} == {"dev"}


def test_what_serves_no_longer_is_removed_without_a_question(world) -> None:
    world.push("one")
    world.configure("pipelines: {hello: {environments: {dev: , qa: }}}")
    world.engine.visitors["hello", "live"] = "a debugger"
    assert [one.left for one in gc(world.jobs)] == [True]
    world.engine.visitors.clear()
    assert Said("hello/live is no longer in pipelines.yaml and was removed") in gc(world.jobs, frozenset())


# ── what others have in the way ──────────────────────────────────────────────


def test_a_network_that_others_are_in_stays_and_nothing_is_revived(world) -> None:
    world.push("one")
    world.configure("pipelines: {hello: {environments: {dev: }}}")
    world.engine.visitors["hello", "qa"] = "a debugger"
    said = gc(world.jobs)
    text = "hello/qa is no longer in pipelines.yaml; its containers and routes were removed, but the network stays, "
    assert [one.text.startswith(text) for one in said if one.left] == [True]
    assert Said("hello/live is no longer in pipelines.yaml and was removed") in said
    assert world.reconcile() == []
    assert {ref.environment for ref in world.engine.contents} == {"dev"}
    assert world.environment("qa").index == 1, "no other environment gets its addresses"
    assert [one.left for one in gc(world.jobs)] == [True]
    world.engine.visitors.clear()
    assert gc(world.jobs) == (Said("hello/qa is no longer in pipelines.yaml and was removed"),)
    assert world.engine.networks.keys() == {("hello", "dev")}


def test_what_is_left_of_an_environment_without_a_record_is_found_again(world) -> None:
    world.push("one")
    world.store.forget_environment("hello", "qa")
    world.engine.visitors["hello", "qa"] = "a debugger"
    assert any(
        "hello/qa has no record; its containers were removed, but the network" in text for text in world.gc()
    )
    assert [one.left for one in gc(world.jobs)] == [True]
    world.engine.visitors.clear()
    assert world.gc() == ("hello/qa has no record; its containers were removed",)
    assert world.gc() == ("Nothing to clean up.",)


def test_what_gc_could_remove_only_in_part_is_not_revived(world) -> None:
    world.push("one")
    world.configure("pipelines: {hello: {environments: {dev: , live: }}}")
    world.engine.fail("remove", EngineFailed("the daemon says that it is busy."), after=True)
    assert world.gc() == (
        "hello/qa is no longer in pipelines.yaml, but was not removed: the daemon says that it is busy.",
    )
    assert world.reconcile() == []
    assert {ref.environment for ref in world.engine.contents} == {"dev", "live"}
    assert world.gc() == ("hello/qa is no longer in pipelines.yaml and was removed",)


def test_the_build_cache_is_kept_within_its_limit_and_its_size_is_said(make_world) -> None:
    world = make_world("pipelines: {}\n")
    assert world.gc() == ("Nothing to clean up.",)
    world.builder.cache = 3 << 30
    nothing, size = world.gc()
    assert nothing == "Nothing to clean up."
    assert size.startswith("The build cache takes 3 GiB, and may take 10 GiB (PUSHLIVE_BUILD_CACHE).")
    world.builder.cache = 12 << 30
    assert world.gc() == ("2 GiB of the build cache were given back",)
    world.builder.fail("trim_cache", EngineFailed("no."))
    assert world.gc() == ("the build cache was left as it is: no.",)


def test_images_that_no_name_leads_to_are_removed_unless_a_build_may_still_name_them(world):
    world.push("one")
    world.builder.built |= {"sha256:lost": "hello", "sha256:theirs": "other"}
    world.builder.replaced = 2
    queued = world.accept(world.commit("two"))
    assert "hello: 1 image without a tag was removed" not in texts(gc(world.jobs))
    world.commands.cancel("hello", queued.number, "ann")
    world.builder.replaced = 2
    assert texts(gc(world.jobs)) == [
        "hello: 1 image without a tag was removed",
        "2 base images that a rebuild has replaced were removed",
    ]
    assert "sha256:theirs" in world.builder.built
    assert texts(gc(world.jobs)) == ["Nothing to clean up."]


def texts(said) -> list[str]:
    return [one.text for one in said]


def test_with_an_environment_goes_what_was_counted_and_kept_of_it(world):
    world.push()
    world.jobs.answers.run()
    removed, stays = (world.environment(name) for name in ("qa", "live"))
    for one in (removed, stays):
        for name in facts.names(one):
            world.store.facts.set(name, "kept")
    world.configure("pipelines: {hello: {environments: {dev: , live: }}}")
    assert "hello/qa is no longer in pipelines.yaml and was removed" in " ".join(world.gc())
    assert not any(world.store.facts.several(facts.names(removed)))
    assert all(world.store.facts.several(facts.names(stays)))
    left = [key for key in world.store.client.scan_iter(world.store.key("fact", "*")) if "hello/qa" in key]
    assert left == []
