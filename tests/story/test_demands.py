"""What the store, Engines and clusters have to be like is examined, by `doctor` and by the keeper."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.errors import EngineAway
from pipeline.maintenance.doctor import demands
from pipeline.maintenance.doctor.demands import Demands
from pipeline.ports.inspection import ClusterInfo, DockerInfo
from pipeline.store import Store
from tests.support.valkey import running
from tests.support.waiting import until

pytestmark = pytest.mark.real_store("its settings")
CLUSTER = "kubernetes:prod/shop"
REMOTE = "docker:ssh://deploy@10.0.0.2"


@pytest.fixture(scope="module")
def own() -> Iterator[str]:
    """A store whose settings a test may change."""
    with running() as url:
        yield url


@pytest.fixture
def store(own: str) -> Iterator[Store]:
    one = Store(own)
    one.origin.mark()
    yield one
    one.client.config_set("appendonly", "yes")
    one.client.config_set("appendfsync", "always")
    one.client.config_set("maxmemory", "0")


def test_the_embedded_store_meets_every_demand(store: Store) -> None:
    assert store.shortcomings() == ()
    assert demands.of_store(store)["ok"]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"appendfsync": "everysec"}, "`appendfsync` is `everysec`, not `always`"),
        ({"appendonly": "no"}, "`appendonly` is `no`, not `yes`"),
        ({"maxmemory": "100mb", "maxmemory-policy": "allkeys-lru"}, "`maxmemory-policy` is `allkeys-lru`"),
    ],
)
def test_a_store_that_may_lose_what_it_acknowledged_is_reported(
    store: Store, settings: dict[str, str], said: str
) -> None:
    for name, value in settings.items():
        store.client.config_set(name, value)
    found = demands.of_store(store)
    assert not found["ok"]
    assert said in found["text"]
    assert "docs/operations.md" in found["advice"]


def test_a_store_that_does_not_tell_its_settings_is_reported_as_such(store: Store, own: str) -> None:
    store.client.execute_command("ACL", "SETUSER", "plain", "on", ">p", "~*", "&*", "+@all", "-config")
    plain = Store(own.replace("unix://", "unix://plain:p@"))
    [text] = plain.shortcomings()
    assert "CONFIG GET is refused" in text
    store.client.config_set("appendonly", "no")
    assert "keeps no append-only file" in plain.shortcomings()[0]


class Client:
    """A server that says this of itself."""

    def __init__(self, address: dict[str, object], **info: object) -> None:
        self.info_ = {"redis_version": "7.2.4", "aof_enabled": 1, **info}
        self.connection_pool = type("Pool", (), {"connection_kwargs": address})

    def info(self, _section: str) -> dict[str, object]:
        return self.info_

    def config_get(self, *_: str) -> dict[str, str]:
        return {"appendonly": "yes", "appendfsync": "always"}


@pytest.mark.parametrize(
    ("client", "said"),
    [
        (Client({"path": "/x", "db": 0}), ""),
        (Client({"host": "127.0.0.1"}), ""),
        (Client({"host": "store.example.com", "password": "p"}), ""),
        (Client({"host": "store.example.com"}), "over the network without a password"),
        (Client({"path": "/x"}, redis_version="7.0.15"), "it is Redis 7.0.15, and 7.2 is the oldest"),
        (Client({"path": "/x"}, valkey_version="7.2.9"), "it is Valkey 7.2.9, and 8.0 is the oldest"),
        (Client({"path": "/x"}, valkey_version="9.0.1"), ""),
        (Client({"path": "/x"}, cluster_enabled=1), "a node of a Redis cluster"),
    ],
)
def test_versions_and_kinds_that_do_not_work_are_reported(client: Client, said: str) -> None:
    from pipeline.store.demands import shortcomings

    found = shortcomings(client)  # type: ignore[arg-type]
    assert (said in found[0]) if said else found == ()


class Found:
    """An ``Inspection`` that finds this."""

    def __init__(self, docker: str = "29.1.3", kubernetes: str = "v1.30.1", **cluster: object) -> None:
        self.version, self.kubernetes, self.more = docker, kubernetes, cluster

    def docker(self, host: str = "") -> DockerInfo:
        return DockerInfo(self.version, 4, 1 << 30, live_restore=not host)

    def cluster(self, key: str) -> ClusterInfo:
        found = {"missing": (), "nodes": True, **self.more}
        return ClusterInfo("https://api", self.kubernetes, key.rpartition("/")[2], **found)  # type: ignore[arg-type]


def examined(store: Store, folder: Path, inspection: object, *engines: str) -> dict[str, dict[str, object]]:
    found = demands.examine(store, folder, frozenset(engines), inspection)  # type: ignore[arg-type]
    return {one["name"]: one for one in found}


def test_everything_is_well_where_every_demand_is_met(store: Store, tmp_path: Path) -> None:
    found = examined(store, tmp_path, Found(), "docker", REMOTE, CLUSTER)
    assert {name for name, one in found.items() if not one["ok"]} == set()
    assert set(found) == {
        "store",
        "data folder",
        "engine",
        "live-restore",
        REMOTE,
        f"live-restore of {REMOTE}",
        CLUSTER,
    }
    assert "a restart of the Docker daemon stops" in str(found[f"live-restore of {REMOTE}"]["text"])


@pytest.mark.parametrize(
    ("inspection", "name", "said"),
    [
        (Found(docker="19.03.15"), "engine", "20.10 is the oldest that works"),
        (Found(docker="19.03.15"), REMOTE, "20.10 is the oldest that works"),
        (Found(kubernetes="v1.29.14-eks-1"), CLUSTER, "1.30 is the oldest version that works"),
        (Found(exists=False), CLUSTER, "there is no such namespace"),
        (Found(going=True), CLUSTER, "the namespace is being deleted"),
        (Found(missing=("patch pods",)), CLUSTER, "this account may not patch pods"),
    ],
)
def test_an_engine_that_does_not_meet_a_demand_is_reported(
    store: Store, tmp_path: Path, inspection: Found, name: str, said: str
) -> None:
    one = examined(store, tmp_path, inspection, "docker", REMOTE, CLUSTER)[name]
    assert not one["ok"]
    assert said in str(one["text"])
    assert one["advice"]


@pytest.mark.parametrize(
    ("version", "may"),
    [("20.10.24+dfsg1", True), ("20.10.27", False), ("23.0", False), ("29.1.3", False)],
)
def test_a_docker_that_may_lock_up_works_and_is_named(
    store: Store, tmp_path: Path, version: str, may: bool
) -> None:
    one = examined(store, tmp_path, Found(docker=version), "docker")["engine"]
    assert one["ok"]
    assert ("may lock up" in str(one["text"])) == may
    assert ("systemctl restart docker" in str(one["advice"])) == may


def test_versions_that_are_no_numbers_and_optional_permissions_are_no_fault(
    store: Store, tmp_path: Path
) -> None:
    found = examined(
        store, tmp_path, Found("master-dockerproject", nodes=False, limits=False), "docker", CLUSTER
    )
    assert found["engine"]["ok"]
    assert found[CLUSTER]["ok"]
    assert "may not list nodes" in str(found[CLUSTER]["text"])
    assert "may not list LimitRanges" in str(found[CLUSTER]["text"])
    assert "accessories" not in str(found[CLUSTER]["text"])
    less = Found(for_accessories=("create statefulsets.apps",))
    found = examined(store, tmp_path, less, CLUSTER)
    assert found[CLUSTER]["ok"]
    assert "may not create statefulsets.apps, which `accessories`" in str(found[CLUSTER]["text"])


def test_a_data_folder_that_cannot_be_written_or_whose_locks_do_not_hold_is_reported(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = examined(store, tmp_path / "none", Found())["data folder"]
    assert "cannot be used" in str(missing["text"])
    monkeypatch.setattr(demands.fcntl, "flock", lambda *_: None)
    found = examined(store, tmp_path, Found())["data folder"]
    assert not found["ok"]
    assert "do not hold" in str(found["text"])


def test_the_keeper_reports_what_is_not_met_once_and_again_if_it_comes_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(demands, "EVERY", 0.0)
    bad = demands.check("store", False, "writes can be lost", "See the documents.")
    looks = iter([[bad], [bad], [], [bad]])
    said: list[str] = []
    job = Demands(lambda: next(looks, [bad]))
    for count in (1, 2):
        until(lambda count=count: (said.extend(job.run()), len(said) >= count)[1])
    assert said == ["! store: writes can be lost See the documents."] * 2


def test_a_look_that_hangs_holds_up_no_round_and_one_that_fails_is_made_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(demands, "EVERY", 0.0)
    answered, looks = threading.Event(), 0

    def look() -> list[dict[str, object]]:
        nonlocal looks
        looks += 1
        if looks == 1:
            answered.wait()
            raise EngineAway("the store does not answer.")
        return []

    job = Demands(look)
    for _ in range(3):
        assert job.run() == []
    assert looks == 1
    answered.set()
    until(lambda: job.run() == [] and looks >= 2)
