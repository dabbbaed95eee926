"""Faults of and around a cluster, on the whole real service with its exact permissions, under requests of which none
may be lost: docs/faults.md."""

from __future__ import annotations

import itertools
import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

import docker
from pipeline.adapters.kubernetes.names import PIPELINE, SLOT
from pipeline.adapters.kubernetes.pods.state import is_ready, is_terminating
from pipeline.domain.run import Outcome, Run
from tests.cluster.scene import HERE, NAMES, ClusterScene, cluster_scene, rules, trying
from tests.cluster.test_cluster import local
from tests.conftest import scripts_cluster
from tests.faults.traps import Trap, let_go, sprung
from tests.faults.trial import Trial
from tests.support.developer import web
from tests.support.waiting import until

pytestmark = [local, pytest.mark.timeout(280)]

# Where a worker dies during a run, and which process.
KILLS = (
    Trap("builder.push", "before", "job"),
    Trap("builder.push", "after", "worker"),
    Trap("engine.command", "inside", "both"),  # the release command
    Trap("engine.command", "after", "job"),
    Trap("engine.start", "inside", "worker"),
    Trap("engine.ready", "inside", "both"),
    Trap("engine.expose", "after", "job"),
    Trap("engine.command", "inside", "worker", 2),  # a check's
    Trap("engine.switch", "before", "both"),
    Trap("engine.switch", "inside", "job"),
    Trap("engine.switch", "after", "worker"),
    Trap("probe.get", "before", "both", 4),  # to verify
)


@pytest.fixture(scope="module")
def scene(
    docker_client: docker.DockerClient,
    base_images: None,
    kubeconfig: Path,
    registry: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[ClusterScene]:
    with cluster_scene(docker_client, kubeconfig, registry, tmp_path_factory.mktemp("faults")) as one:
        yield one


def test_fault_33_a_run_on_a_cluster_goes_live_once_wherever_its_worker_is_killed(
    scene: ClusterScene,
) -> None:
    """Another worker continues the run: it goes live once, and no release command runs twice."""

    def kill(number: int) -> None:
        for trap in KILLS[number :: len(NAMES)]:
            with trying(scene, NAMES[number]) as trial:
                one, caught = trial.trapped(trap)
                trial.taken_over(one, caught.at)
                trial.pushed()

    with ThreadPoolExecutor(len(NAMES)) as pool:
        list(pool.map(kill, range(len(NAMES))))


def test_fault_33_a_revert_on_a_cluster_is_completed_wherever_its_worker_is_killed(
    scene: ClusterScene,
) -> None:
    """The worker that continues the revert ends the bad release's connections."""
    traps = (
        Trap("engine.switch", "inside", "job"),
        Trap("engine.detach", "before", "worker"),
        Trap("engine.detach", "inside", "both"),
    )

    def kill(name: str, trap: Trap) -> None:
        with trying(scene, name) as trial:
            before = trial.page()
            trial.push()
            trial.pushed()
            until(lambda: trial.page() == trial.expected)
            trial.expected, bad = before, pods(scene, name, str(scene.live(name).active))
            trap.write(scene.traps, name)
            scene.service.pushlive("revert", name, code=None)
            assert sprung(scene.traps, name)
            until(lambda: not scene.store.open_runs(name), 60)
            until(lambda: not bad & pods(scene, name), 30)
            scene.service.pushlive("resume", name)

    with ThreadPoolExecutor(len(traps)) as pool:
        list(pool.map(kill, NAMES, traps))


def pods(scene: ClusterScene, name: str, slot: str = "") -> set[str]:
    """The names of an application's pods, of one slot or both, including those that are ending."""
    labels = {PIPELINE: name} | ({SLOT: slot} if slot else {})
    return {pod["metadata"]["name"] for pod in scene.api.find("Pod", labels)}


def test_fault_40_runs_continue_once_an_api_server_that_went_away_is_back(scene: ClusterScene) -> None:
    """All runs continue once it is back, and what serves keeps serving. Meanwhile environments on Docker are repaired
    and deployed to."""
    places = ("engine.start", "engine.ready", "engine.preview", "engine.switch", "engine.public")
    with ExitStack() as stack, ThreadPoolExecutor(len(places)) as pool:
        trials = [stack.enter_context(trying(scene, name)) for name in NAMES[: len(places)]]
        traps = [Trap(call, "before", "wait") for call in places]
        pushed = [one for one, _ in pool.map(Trial.trapped, trials, traps)]
        scene.gateway.cut()
        for trial in trials:
            let_go(scene.traps, trial.name)
        for trial, one in zip(trials, pushed, strict=True):
            trial.said(one, "does not answer", 30)
        docker_works(scene)
        assert [trial.page() for trial in trials] != [trial.expected for trial in trials]
        scene.gateway.restore()
        for trial, one in zip(trials, pushed, strict=True):
            run = trial.ended(one)
            assert run.outcome == Outcome.LIVE
            assert not blamed(scene, trial.name, run)


def blamed(scene: ClusterScene, name: str, run: Run) -> bool:
    """True if the run's release is in quarantine. Releases of other tests may be, after a revert."""
    return run.release in {entry.release for entry in scene.live(name).quarantine}


def docker_works(scene: ClusterScene) -> None:
    """Asserts that the environment on Docker works: a removed container comes back, and a push goes live."""
    with_docker = Trial(scene, HERE, random.Random())
    before = with_docker.page()
    container, *_ = scene.service.containers(HERE)
    scene.service.engine.remove_container(container["Id"], force=True)
    until(lambda: with_docker.page() == before, 60)
    with_docker.push()
    with_docker.pushed()
    until(lambda: with_docker.page() == with_docker.expected)


def test_fault_40_a_silent_api_server_is_not_waited_for_again_and_again(scene: ClusterScene) -> None:
    """As above, with open connections and no answers: the service does not wait for them again and again."""
    with trying(scene, NAMES[0]) as trial:
        one, _ = trial.trapped(Trap("engine.expose", "before", "wait"))
        scene.gateway.silence()
        let_go(scene.traps, trial.name)
        docker_works(scene)
        scene.gateway.restore()
        assert trial.ended(one).outcome == Outcome.LIVE


def test_fault_40_a_push_and_a_revert_succeed_though_the_api_server_is_busy(scene: ClusterScene) -> None:
    """Every fifth request is answered 409, 429, 500 or 503 in turn; a push and a revert still succeed."""
    statuses, requests = itertools.cycle((409, 429, 500, 503)), itertools.count(1)
    with trying(scene, NAMES[1]) as trial:
        before = trial.page()
        scene.gateway.answer(lambda method, path: 0 if next(requests) % 5 else next(statuses))
        try:
            trial.push()
            trial.pushed()
            until(lambda: trial.page() == trial.expected)
            trial.expected = before
            scene.service.pushlive("revert", trial.name)
            until(lambda: trial.page() == trial.expected)
        finally:
            scene.gateway.forward_all()
        assert scene.gateway.refused > 20
        scene.service.pushlive("resume", trial.name)


def test_fault_40_no_change_is_missed_though_watches_are_dropped(scene: ClusterScene) -> None:
    """While a slow application starts: no change is missed."""
    over = threading.Event()

    def drop() -> None:
        while not over.wait(0.3):
            scene.gateway.drop_streams()

    with trying(scene, NAMES[2]) as trial:
        one = trial.push(slow("version slow"))
        trial.expected = "version slow"
        trial.in_stage(one, "live")
        dropping = threading.Thread(target=drop)
        dropping.start()
        try:
            trial.pushed()
        finally:
            over.set()
            dropping.join()
        assert trial.ended(one).outcome == Outcome.LIVE


def slow(version: str) -> dict[str, str | None]:
    return web(version, command="sleep 3; exec httpd -f -p 0.0.0.0:8080 -h /www")


def test_fault_40_a_run_that_loses_a_permission_fails_and_names_it(scene: ClusterScene) -> None:
    """The run fails and names the missing permission; what serves is not touched; `retry` goes live."""
    less = [one | {"verbs": ["get", "list"]} if "deployments" in one["resources"] else one for one in rules()]
    with trying(scene, NAMES[3]) as trial:
        before = trial.page()
        one, _ = trial.trapped(Trap("engine.start", "before", "wait"))
        scene.allow(less)
        let_go(scene.traps, trial.name)
        run = trial.ended(one)
        assert run.outcome == Outcome.FAILED
        assert run.failure
        assert "403" in run.reason
        assert "deployments" in run.reason
        assert "docs/kubernetes.md" in str(run.failure)
        assert trial.page() == before
        assert not blamed(scene, trial.name, run)
        scene.allow(rules())
        scene.service.pushlive("retry", run.id)
        until(lambda: trial.page() == trial.expected, 60)


@pytest.mark.parametrize(
    ("resource", "limit", "said"),
    [("limits.memory", None, "has 0B left"), ("requests.cpu", "1m", "exceeded quota")],
)
def test_fault_40_too_little_quota_is_reported_with_the_figures(
    scene: ClusterScene, resource: str, limit: str | None, said: str
) -> None:
    """It is reported with the figures within seconds, before anything starts if that can be known."""
    path = f"/api/v1/namespaces/{scene.api.namespace}/resourcequotas"
    with trying(scene, NAMES[4]) as trial:
        before = trial.page()
        body = {"metadata": {"name": "little"}, "spec": {"hard": {resource: limit or "1"}}}
        scene.change("POST", path, body)
        until(lambda: resource in scene.api.find("ResourceQuota", {})[0].get("status", {}).get("used", {}))
        try:
            run = trial.ended(trial.push(), 40)
            trial.pushed()
        finally:
            scene.api.delete("ResourceQuota", "little")
        assert run.outcome == Outcome.FAILED
        assert "quota" in run.reason
        assert trial.page() == before
        assert not blamed(scene, trial.name, run)
        scene.service.pushlive("retry", run.id)
        until(lambda: trial.page() == trial.expected, 60)


def test_fault_40_what_another_field_manager_took_over_is_restored(scene: ClusterScene) -> None:
    """It takes over the warm slot's replicas and the public Service's selector: Pushlive restores what the records
    say, and an apply without force is told that the fields belong to Pushlive."""
    name, path = NAMES[5], f"/apis/apps/v1/namespaces/{scene.api.namespace}/deployments"
    with trying(scene, name) as trial:
        trial.push()
        trial.pushed()
        until(lambda: trial.page() == trial.expected)
        active = scene.live(name).active
        idle = "green" if active == "blue" else "blue"
        apply(
            scene,
            f"{path}/{name}-live-{idle}",
            {"apiVersion": "apps/v1", "kind": "Deployment"},
            {"replicas": 3},
        )
        services = f"/api/v1/namespaces/{scene.api.namespace}/services/{name}-live"
        theirs = {"selector": {SLOT: idle}}
        apply(scene, services, {"apiVersion": "v1", "kind": "Service"}, theirs)
        until(lambda: scene.serves(scene.live(name)) == active, 30)
        until(lambda: len(ready_pods(scene, name, idle)) == 1, 30)
        with pytest.raises(AssertionError, match=r"conflict with .*pushlive"):
            apply(scene, services, {"apiVersion": "v1", "kind": "Service"}, theirs, force=False)
        trial.push()
        trial.pushed()


def apply(
    scene: ClusterScene, path: str, kind: dict[str, str], spec: dict[str, object], force: bool = True
) -> None:
    """As `kubectl apply --server-side --field-manager=other`."""
    body = {**kind, "metadata": {"name": path.rpartition("/")[2]}, "spec": spec}
    query = f"?fieldManager=other&force={str(force).lower()}"
    scene.change("PATCH", path + query, body, "application/apply-patch+yaml")


def ready_pods(scene: ClusterScene, name: str, slot: str) -> list[object]:
    return [
        pod
        for pod in scene.api.find("Pod", {PIPELINE: name, SLOT: slot})
        if is_ready(pod) and not is_terminating(pod)
    ]


@pytest.mark.parametrize("component", ["kube-apiserver", "kubelet"])
def test_fault_40_a_run_continues_though_a_component_is_killed_in_the_middle(
    scene: ClusterScene, component: str
) -> None:
    """It is started again some seconds later: the run continues, and the application's clients notice nothing."""
    with trying(scene, NAMES[0]) as trial:
        one, _ = trial.trapped(Trap("engine.start", "before", "wait"))
        scripts_cluster("kill", component)
        try:
            let_go(scene.traps, trial.name)
            said = "does not answer" if component == "kube-apiserver" else "waiting: "
            trial.said(one, said, 40)
        finally:
            scripts_cluster("start", component)
        assert trial.ended(one).outcome == Outcome.LIVE
