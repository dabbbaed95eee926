"""One pipeline over Docker and two namespaces of a cluster, with the whole service: the same messages, the same
commands, and nothing left behind. The tests of this module depend on each other's order."""

from __future__ import annotations

import io
import json
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

import docker
from pipeline.adapters.kubernetes.api.client import connect
from pipeline.adapters.kubernetes.api.kube_api import KubeApi
from pipeline.adapters.kubernetes.probe import proxy_path
from tests.support.clusterbench import end_namespace, kubectl, local_volume, make_namespace
from tests.support.developer import web
from tests.support.json_schema import problems
from tests.support.service import PUSHLIVE, Service, running
from tests.support.waiting import until

CONFIG = """
pipelines:
  hello:
    registry: REGISTRY/INSTANCE-mixed
    service:
      memory: 128MiB
      stop: 1s
      drain: 2s
      secrets: [PASSWORD]
      release: [sh, -c, 'echo "migrating $PUSHLIVE_ENVIRONMENT"']
    smoke: [{get: /, contains: version}, {tcp: 8080}]
    environments:
      dev: {env: {GREETING: dev}, bake: 12s}
      qa: {engine: {namespace: <qa>}, env: {GREETING: qa}, volumes: {data: /www/kept}}
      live:
        {engine: {namespace: <live>}, env: {GREETING: live}, host: www.example.com, replicas: 2, keep_warm: 8s,
         bake: 12s}
"""
# /given shows the variables that it was given.
APP = 'echo "$GREETING $PASSWORD" >/www/given; exec httpd -f -p 0.0.0.0:8080 -h /www'


class Mixed:
    """The service, and both namespaces as the administrator sees them."""

    def __init__(self, service: Service, qa: str, live: str) -> None:
        self.service, self.renamed = service, ""
        self.api = {name: KubeApi(lambda n=n: connect("", n)) for name, n in (("qa", qa), ("live", live))}

    def page(self, environment: str, path: str = "/") -> str:
        """Through the Service, like a client on the cluster."""
        if environment == "dev":
            return self.service.page("dev", path)
        api = self.api[environment]
        where = proxy_path(api, f"hello-{environment}") + path
        answer = api.raw("GET", where, "asking", headers={"Accept": "*/*"})
        assert answer.status == 200, answer.data
        return str(answer.data.decode())

    def ours(self, environment: str, kind: str) -> list[dict[str, Any]]:
        return self.api[environment].find(kind, {"pushlive/instance": self.service.instance})

    def names(self, environment: str, kind: str) -> set[str]:
        return {one["metadata"]["name"] for one in self.ours(environment, kind)}

    def replicas(self) -> dict[str, int]:
        """Of live's Deployments."""
        return {one["metadata"]["name"]: one["spec"]["replicas"] for one in self.ours("live", "Deployment")}


@pytest.fixture(scope="module")
def mixed(
    docker_client: docker.DockerClient,
    base_images: None,
    kubeconfig: Path,
    registry: str,
    pushed_app: str,
    instance: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Mixed]:
    administrator = KubeApi(lambda: connect("", "default"))
    qa, live = (f"{instance}-{name}" for name in ("qa", "live"))
    for one in (qa, live):
        make_namespace(administrator, one)
    config = CONFIG.replace("REGISTRY", registry).replace("INSTANCE", instance)
    config = config.replace("<qa>", qa).replace("<live>", live)
    with running(docker_client, config, PUSHLIVE_VOLUME_IMAGE=pushed_app) as service:
        secret(service, "the-first-password")
        with ExitStack() as stack:
            for name in ("hello", "shop"):
                claim, disk = f"{service.instance}-{name}-qa-data", tmp_path_factory.mktemp("disk")
                stack.enter_context(local_volume(qa, claim, disk))
            yield Mixed(service, qa, live)
    for one in (qa, live):
        end_namespace(administrator, one)


def secret(service: Service, value: str) -> None:
    subprocess.run(
        [*PUSHLIVE, "secret", "set", "hello", "PASSWORD"],
        env=service.environ, cwd=service.folder, text=True, input=f"{value}\n", check=True, capture_output=True,
    )  # fmt: skip


def scale(mixed: Mixed, name: str, count: int) -> None:
    """By hand."""
    kubectl(mixed.api["live"].namespace, "scale", f"deployment/{name}", f"--replicas={count}")


def test_one_push_goes_through_docker_and_two_namespaces(mixed: Mixed) -> None:
    service = mixed.service
    said = service.push(web("version 1", command=APP))
    assert service.run()["outcome"] == "live", said
    assert service.releases() == {"dev": 1, "qa": 1, "live": 1}
    for environment in ("dev", "qa", "live"):
        assert mixed.page(environment) == "version 1\n"
        assert mixed.page(environment, "/given") == f"{environment} the-first-password\n"
        assert said.count(f"migrating {environment}") == 1, said
    assert "the-first-password" not in said + service.log("hello#1")
    [ingress] = mixed.ours("live", "Ingress")
    assert ingress["spec"]["rules"][0]["host"] == "www.example.com"
    assert mixed.ours("qa", "Ingress") == []
    assert mixed.names("live", "PodDisruptionBudget") == {"hello-live-blue"}
    found = service.environments()
    assert found["live"]["url"] == "http://www.example.com"
    assert found["qa"]["address"].startswith("Service hello-qa in the namespace ")


def test_a_release_on_a_cluster_has_the_same_evidence_as_one_on_docker(mixed: Mixed, tmp_path: Path) -> None:
    service = mixed.service
    for environment in ("dev", "live"):
        service.pushlive("hold", "hello", "--env", environment, "--reason", "a look")
        service.pushlive("resume", "hello", "--env", environment)

    def recorded() -> set[str]:
        listed = json.loads(service.pushlive("evidence", "list", "hello", "--json").out)["records"]
        return {one["environment"] for one in listed if one["kind"] == "bake"}

    until(lambda: recorded() == {"dev", "live"}, 120)
    service.pushlive("evidence", "hello", "r1", "-o", str(tmp_path / "r1"))
    (tmp_path / "key.pem").write_text(service.pushlive("evidence", "key").out)
    said = service.pushlive(
        "evidence", "verify", str(tmp_path / "r1"), "--key", str(tmp_path / "key.pem")
    ).text
    assert "signed by this key" in said

    records = {path.stem: json.loads(path.read_text()) for path in (tmp_path / "r1" / "records").iterdir()}
    schema = json.loads((tmp_path / "r1" / "schema.json").read_text())["$defs"]
    for name, one in records.items():
        assert problems(one, schema[one["kind"]]) == [], name
    run, (docker_bake, cluster_bake) = (
        records["run-1"],
        (records[f"bake-{name}-1"] for name in ("dev", "live")),
    )
    assert {step["step"] for step in run["steps"] if step["stage"] == "live"} >= {"start", "smoke", "switch"}
    assert {check["asked"] for check in run["checks"]["live"]} == {
        check["asked"] for check in run["checks"]["dev"]
    }
    assert run["environments"]["live"]["configuration"]["service"]["replicas"] == 2
    assert set(docker_bake) == set(cluster_bake)
    assert (docker_bake["bake"]["outcome"], cluster_bake["bake"]["outcome"]) == ("baked", "baked")
    assert docker_bake["series"]["containers"][0]["memory"][0] > 0
    series = cluster_bake["series"]  # null on a cluster without the metrics API
    assert series is None or all(
        figure > 0 for one in series["containers"] for figure in one["memory"] if figure
    )
    acts = [one["act"] for name, one in sorted(records.items()) if name.startswith("act-")]
    assert sorted(
        (one["environment"], one["act"], one["before"]) for one in acts if one["act"] in ("hold", "resume")
    ) == [
        ("dev", "hold", "not held"),
        ("dev", "resume", f"held by {acts[0]['who']}: a look"),
        ("live", "hold", "not held"),
        ("live", "resume", f"held by {acts[0]['who']}: a look"),
    ]


def test_status_and_logs_work_for_pods_as_for_containers(mixed: Mixed) -> None:
    said = mixed.service.pushlive("status").text
    assert "Service hello-qa in the namespace" in said
    assert mixed.service.pushlive("doctor").text.count("serves, as recorded") == 3
    output = mixed.service.pushlive("logs", "hello", "--app", "--env", "live", code=None).text
    assert "unknown" not in output.lower()


def test_a_release_starts_with_as_many_replicas_as_the_one_before_was_scaled_to(mixed: Mixed) -> None:
    service = mixed.service
    scale(mixed, "hello-live-blue", 3)
    plan = service.pushlive("plan").text
    assert "3 were set there, and the next release starts with as many; 2 are configured" in plan
    assert "3 → 2" not in plan
    secret(service, "the-second-password")
    said = service.push(web("version 2", command=APP))
    assert "starts with 3 replicas, as many as what serves has; 2 are configured" in said
    assert mixed.replicas() == {"hello-live-blue": 3, "hello-live-green": 3}
    assert mixed.page("live", "/given") == "live the-second-password\n"
    assert "spec.replicas: 2 → 3" in service.pushlive("doctor", code=1).text


def test_a_revert_restores_image_configuration_and_secret_for_as_many_replicas(mixed: Mixed) -> None:
    service = mixed.service
    scale(mixed, "hello-live-green", 4)
    said = service.pushlive("revert", "hello", "--reason", "to see it").text
    assert "gets 4 replicas, as many as what serves has" in said
    assert mixed.replicas() == {"hello-live-blue": 4, "hello-live-green": 4}
    assert mixed.page("live") == "version 1\n"
    assert mixed.page("live", "/given") == "live the-first-password\n"
    assert service.releases() == {"dev": 2, "qa": 2, "live": 1}


def test_a_slot_that_is_no_longer_warm_has_0_replicas_and_can_be_reverted_to(mixed: Mixed) -> None:
    service = mixed.service
    until(lambda: mixed.replicas() == {"hello-live-blue": 4, "hello-live-green": 0}, 40)
    # Both slots' variables are kept: a revert finds those of its release.
    assert len([name for name in mixed.names("live", "Secret") if "-secrets-" in name]) == 2
    service.pushlive("unquarantine", "hello", "r2", "--env", "live")
    service.pushlive("revert", "hello", "--to", "r2", "--reason", "it was good after all")
    assert mixed.page("live", "/given") == "live the-second-password\n"
    assert mixed.replicas()["hello-live-green"] == 4
    service.pushlive("doctor", "--fix")
    until(lambda: mixed.replicas() == {"hello-live-blue": 0, "hello-live-green": 2}, 40)


def test_files_of_a_volume_are_restored_and_backed_up_as_on_docker(mixed: Mixed) -> None:
    service, archive = mixed.service, mixed.service.folder / "kept.tar"
    with tarfile.open(archive, "w") as tar:
        member = tarfile.TarInfo("./one")
        member.size = 5
        tar.addfile(member, io.BytesIO(b"kept\n"))
    refused = service.pushlive("volume", "restore", "hello/qa/data", "--from", str(archive), code=None).text
    assert "r2 serves in hello/qa and has the volume data" in refused
    service.pushlive("volume", "restore", "hello/qa/data", "--from", str(archive), "--stop")
    assert mixed.page("qa", "/kept/one") == "kept\n"
    copy = service.folder / "copy.tar"
    service.pushlive("volume", "backup", "hello/qa/data", "--to", str(copy))
    with tarfile.open(copy) as tar:
        assert "./one" in tar.getnames()


def test_the_command_pods_of_ended_runs_are_deleted(mixed: Mixed) -> None:
    def commands() -> list[str]:
        pods = [*mixed.ours("qa", "Pod"), *mixed.ours("live", "Pod")]
        return [pod["metadata"]["name"] for pod in pods if "pushlive/command" in pod["metadata"]["labels"]]

    until(lambda: not commands(), 20)


def test_a_removed_pipeline_leaves_only_objects_that_pushlive_does_not_manage(mixed: Mixed) -> None:
    service, api = mixed.service, mixed.api["live"]
    mixed.renamed = service.config.read_text().replace("  hello:\n", "  shop:\n")
    theirs = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "theirs"}, "data": {"a": "b"}}
    assert api.create(theirs)
    service.config.write_text("pipelines: {}\n")
    until(lambda: all(one["removed"] for one in service.environments().values()), 20)
    said = service.pushlive("gc", "--yes").text
    assert "hello/live is no longer in pipelines.yaml and was removed" in said
    kinds = ("Deployment", "Service", "Ingress", "PodDisruptionBudget", "ConfigMap", "Secret")
    for environment in ("qa", "live"):
        assert [mixed.names(environment, kind) for kind in kinds] == [set()] * len(kinds)
        until(lambda e=environment: mixed.names(e, "Pod") == set(), 30)
    assert api.get("ConfigMap", "theirs") is not None
    assert mixed.names("qa", "PersistentVolumeClaim") == {f"{service.instance}-hello-qa-data"}
    left = service.pushlive("volume", "list", "--no-sizes").text
    assert "hello/qa/data" in left
    assert "there is no pipeline hello in pipelines.yaml" in left
    assert "404" not in said


def test_the_files_of_a_volume_follow_a_pipeline_that_was_renamed(mixed: Mixed) -> None:
    service, copy = mixed.service, mixed.service.folder / "moved.tar"
    service.config.write_text(mixed.renamed)
    service.pushlive("volume", "mv", "hello/qa/data", "shop/qa/data", "--yes", "hello/qa/data")
    assert mixed.names("qa", "PersistentVolumeClaim") == {f"{service.instance}-shop-qa-data"}
    service.pushlive("volume", "backup", "shop/qa/data", "--to", str(copy))
    with tarfile.open(copy) as tar:
        assert "./one" in tar.getnames()
    service.pushlive("volume", "rm", "shop/qa/data", "--yes", "shop/qa/data")
    assert mixed.names("qa", "PersistentVolumeClaim") == set()
