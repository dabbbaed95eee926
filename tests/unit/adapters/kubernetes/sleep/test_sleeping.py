"""Sleep on a cluster, where something is missing or was changed in between."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from pipeline.adapters.kubernetes.engine import KubeEngine
from pipeline.adapters.kubernetes.sleep import account, manifest
from pipeline.errors import ConfigError, EngineFailed
from pipeline.ports.clock import Deadline, SystemClock
from pipeline.ports.sleep.sleeping import Activity
from tests.unit.adapters.kubernetes.test_permissions import FakeApi, answer, spec

BLUE = spec("blue", 2, ())
POD = "hello-live-blue-activator-0"
PUBLIC = ("services", "hello-live")


class Cluster(FakeApi):
    """``said``: the output of every pod; ``forbidden``: a part of paths that this account may not use."""

    said = '{"count": 3, "open": 0}\n'
    forbidden = "nothing"

    def raw(self, method: str, path: str, doing: str, **more: Any) -> Any:
        if self.forbidden in path:
            return answer(403, '{"message": "forbidden"}')
        if path.partition("?")[0].endswith("/log"):
            return answer(200, self.said)
        return super().raw(method, path, doing, **more)

    def selected(self) -> str:
        return str(self._kept[PUBLIC]["spec"]["selector"]["pushlive/slot"])


@pytest.fixture
def api() -> Cluster:
    """BLUE serves there."""
    one = Cluster(inside=True)
    one._kept["serviceaccounts", account.NAME] = {"metadata": {"name": account.NAME}}
    engine, watch = KubeEngine(one, "pushlive", "kubernetes", SystemClock()), Deadline(SystemClock(), 30)
    engine.prepare(BLUE.ref, ())
    engine.start(BLUE, watch)
    engine.expose(BLUE)
    engine.switch(BLUE)
    return one


@pytest.fixture
def engine(api: Cluster) -> KubeEngine:
    return KubeEngine(api, "pushlive", "kubernetes", SystemClock())


def counted(engine: KubeEngine) -> None:
    assert engine.activity(BLUE.ref) is None
    assert engine.activity(BLUE.ref) == Activity(f"{POD}:3", 0)


def test_connections_come_by_the_activator_once_that_is_ready(api: Cluster, engine: KubeEngine) -> None:
    counted(engine)
    assert api.selected() == "blue-activator"
    assert engine.serving(BLUE.ref) == "blue"
    assert engine.missing(BLUE) == engine.drift(BLUE) == ()
    assert [one.slot for one in engine.slots()] == ["blue"]
    assert len(engine.replicas(BLUE.ref)) == 2


def test_it_gives_each_as_many_replicas_as_it_had(api: Cluster, engine: KubeEngine) -> None:
    counted(engine)
    engine.await_request(BLUE.ref, 50)
    engine.end_sleeping(BLUE)
    engine.end_sleeping(BLUE)
    engine.await_request(BLUE.ref, 20)  # made again while it sleeps
    pod = api._kept["deployments", "hello-live-blue-activator"]["spec"]["template"]["spec"]
    told = json.loads(pod["containers"][0]["env"][0]["value"])
    assert told["scales"] == {"/apis/apps/v1/namespaces/hello/deployments/hello-live-blue/scale": 2}
    assert (told["wait"], told["upstream"]) == (20.0, ["hello-live-blue", 80])
    assert api._kept["deployments", "hello-live-blue"]["metadata"]["annotations"]["pushlive/asleep"] == "2"


@pytest.mark.parametrize(
    ("what", "said"), [("missing", "has no ServiceAccount"), ("forbidden", "may not read")]
)
def test_without_the_account_nothing_is_made_and_it_is_said_why(
    api: Cluster, engine: KubeEngine, what: str, said: str
) -> None:
    if what == "missing":
        del api._kept["serviceaccounts", account.NAME]
    else:
        api.forbidden = "serviceaccounts"
    for act in (
        lambda: engine.can_sleep(BLUE.ref),
        lambda: engine.activity(BLUE.ref),
        lambda: engine.await_request(BLUE.ref, 50),
    ):
        with pytest.raises(ConfigError, match=said) as refused:
            act()
        assert "docker/kubernetes/namespace" in refused.value.advice
    assert ("deployments", "hello-live-blue-activator") not in api._kept
    assert api.selected() == "blue"


def test_an_image_that_cannot_be_pulled_is_named(api: Cluster, engine: KubeEngine) -> None:
    counted(engine)
    waiting = {"reason": "ErrImagePull", "message": "python:3.11-slim: not found"}
    status = {"phase": "Pending", "containerStatuses": [{"name": "app", "state": {"waiting": waiting}}]}
    api._kept["pods", POD]["status"] = status
    with pytest.raises(EngineFailed) as refused:
        engine.can_sleep(BLUE.ref)
    assert "PUSHLIVE_ACTIVATOR_IMAGE is python:3.11-slim" in refused.value.advice


def test_without_its_activator_what_is_awake_is_reached_straight(api: Cluster, engine: KubeEngine) -> None:
    counted(engine)
    del api._kept["pods", POD]
    assert engine.activity(BLUE.ref) is None
    assert api.selected() == "blue"


def test_what_sleeps_does_not_wait_for_requests_without_its_activator(
    api: Cluster, engine: KubeEngine
) -> None:
    counted(engine)
    engine.await_request(BLUE.ref, 50)
    engine.end_sleeping(BLUE)
    assert engine.awaits_request(BLUE.ref)
    del api._kept["deployments", "hello-live-blue-activator"]
    assert not engine.awaits_request(BLUE.ref)
    engine.await_request(BLUE.ref, 50)
    assert engine.awaits_request(BLUE.ref)


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ('{"count": 3, "open": 1}\n{"woke": 1.5}\n', Activity(f"{POD}:3", 1)),
        ('{"count": 3, "open": 0}\nTraceback\n[]\n7\n', Activity(f"{POD}:3", 0)),
        ("", None),
        ('{"problem": "x"}\n', None),
    ],
)
def test_its_last_count_is_read_whatever_else_it_says(
    api: Cluster, engine: KubeEngine, said: str, found: Activity | None
) -> None:
    counted(engine)
    api.said = said
    assert engine.activity(BLUE.ref) == found


def test_it_is_wanted_once_its_activator_has_raised_it_or_holds_a_request(
    api: Cluster, engine: KubeEngine
) -> None:
    counted(engine)
    engine.await_request(BLUE.ref, 50)
    assert not engine.is_wanted(BLUE.ref)
    engine.end_sleeping(BLUE)
    assert not engine.is_wanted(BLUE.ref)
    api.said = '{"count": 4, "open": 1}\n'
    assert engine.is_wanted(BLUE.ref)
    api.said = '{"count": 4, "open": 0}\n'
    api.merge("Deployment", "hello-live-blue", {"spec": {"replicas": 2}})
    assert engine.is_wanted(BLUE.ref)
    assert engine.still_awake(BLUE) == ()
    engine.wake(BLUE, Deadline(SystemClock(), 30))
    engine.switch(BLUE)
    assert not engine.is_wanted(BLUE.ref)
    assert api.selected() == "blue"


def test_a_selector_that_was_changed_in_between_is_left_alone(api: Cluster, engine: KubeEngine) -> None:
    """A run has switched since the Service was read."""
    refused = '{"kind": "Status", "message": "the server rejected our request: test failed"}'

    class Switched(Cluster):
        def raw(self, method: str, path: str, doing: str, **more: Any) -> Any:
            if (more.get("body") or b"").startswith(b"["):
                return answer(422, refused)
            return super().raw(method, path, doing, **more)

    api.__class__ = Switched
    assert engine.activity(BLUE.ref) is None
    assert api.selected() == "blue"


def test_of_a_slot_that_does_not_serve_nothing_is_known(api: Cluster, engine: KubeEngine) -> None:
    assert engine.activity(replace(BLUE.ref, slot="green")) is None
    assert ("deployments", "hello-live-green-activator") not in api._kept
    engine.unroute(BLUE.ref)
    assert engine.activity(BLUE.ref) is None


def test_its_program_is_in_the_deployment_as_it_is() -> None:
    given = manifest.settings(BLUE.ref, {}, 50)
    made = manifest.deployment("pushlive", "hello", BLUE.ref, "python", given, manifest.CpuRules())
    (container,) = made["spec"]["template"]["spec"]["containers"]
    assert container["command"][3].replace("$$", "$") == manifest.program()
    assert len(container["command"][3]) < 1 << 17  # as the kernel allows for one argument
