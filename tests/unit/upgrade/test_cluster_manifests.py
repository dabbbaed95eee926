"""For what an earlier version told a cluster, this version has the very same words."""

from __future__ import annotations

import pytest

from pipeline.adapters.kubernetes.manifests import Manifest
from pipeline.adapters.kubernetes.names import DETACHED, MADE
from pipeline.domain import slots
from pipeline.domain.engine_types import SlotSpec
from tests.upgrade.fixtures import ALL, VERSIONS
from tests.upgrade.recorded_cluster import RecordedCluster

OURS = ("PUSHLIVE_COMMIT", "PUSHLIVE_RELEASE", "PUSHLIVE_ENVIRONMENT")


@pytest.fixture(scope="module", params=ALL, ids=VERSIONS)
def recorded(request: pytest.FixtureRequest) -> RecordedCluster:
    return RecordedCluster(request.param)


def named(manifest: Manifest) -> tuple[str, str]:
    return manifest["kind"], manifest["metadata"]["name"]


def without_later(manifest: Manifest) -> Manifest:
    """Without what no pod is made from: an annotation of later versions, defaults of the API that they set themselves,
    so that no one else changes them, and what their PodDisruptionBudgets say of pods that are not ready. Nor with what
    only new pods get: the headers of their readiness probe."""
    manifest["metadata"].get("annotations", {}).pop(MADE, None)
    if manifest["kind"] == "Deployment":
        manifest["spec"]["template"]["spec"]["containers"][0]["readinessProbe"]["httpGet"].pop(
            "httpHeaders", None
        )
        assert manifest["spec"].pop("paused", False) is False
        assert manifest["spec"]["strategy"].pop("type", "RollingUpdate") == "RollingUpdate"
    manifest.get("spec", {}).pop("unhealthyPodEvictionPolicy", None)
    return manifest


def test_every_object_is_made_alike(recorded: RecordedCluster) -> None:
    made, count = [without_later(one) for one in recorded.manifests()], 0
    for request in recorded.requests():
        body = request["body"]
        if body["kind"] == "Pod":
            continue
        without_later(body)
        candidates = [one for one in made if named(one) == named(body)]
        assert body in candidates, candidates
        count += 1
    assert count > 20


def test_pods_of_commands_are_made_alike(recorded: RecordedCluster) -> None:
    count = 0
    for request in recorded.requests():
        body = request["body"]
        if body["kind"] != "Pod":
            continue
        labels = body["metadata"]["labels"]
        run = int(labels["pushlive/run"])
        spec = recorded.spec(labels["pushlive/environment"], labels["pushlive/command"], run)
        assert body in commands(recorded, spec, body)
        count += 1
    assert count == 8  # two environments, two runs, a release command and a check


def commands(recorded: RecordedCluster, spec: SlotSpec, body: Manifest) -> list[Manifest]:
    """What the command may have been, with the variables that it was given."""
    variables = body["spec"]["containers"][0]["env"]
    own = {one["name"]: one["value"].replace("$$", "$") for one in variables if one["name"] not in OURS}
    service, check = spec.config.service, spec.config.smoke[2]
    return [
        recorded.manifest_of.command(spec, f"release-{spec.run}", service.release.command, own),
        recorded.manifest_of.command(spec, f"smoke-2-{spec.run}", check.run, own),  # type: ignore[union-attr]
    ]


def test_slots_whose_connections_were_ended_are_known_as_such(recorded: RecordedCluster) -> None:
    """Or the pods of a warm slot would be replaced once more."""
    count = 0
    for one in recorded.data["objects"]:
        mark = one["metadata"].get("annotations", {}).get(DETACHED)
        if mark:
            labels = one["metadata"]["labels"]
            record = recorded.environment(labels["pushlive/environment"]).slots[labels["pushlive/slot"]]
            assert slots.mark_of(record) == mark
            count += 1
    assert count == 2


def test_what_the_cluster_had_is_what_it_was_told(recorded: RecordedCluster) -> None:
    """The recording is whole: each object that was there at the end is one of those that were made."""
    made = {named(one) for one in recorded.manifests()}
    assert {named(one) for one in recorded.data["objects"]} <= made
