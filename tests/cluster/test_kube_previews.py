"""Previews with real pushes on a real cluster: made, updated, asked, and gone with the branch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest
import urllib3

from pipeline.adapters.kubernetes.names import PIPELINE
from tests.cluster.conftest import Installed
from tests.support.developer import web
from tests.support.waiting import until

CONFIG = """
pipelines:
  hello:
    registry: REGISTRY/SPACE-hello
    service: {memory: 64MiB, cpu: 50m, stop: 1s, drain: 1s, health: /}
    previews: {branches: "feature/*", from: qa}
    environments:
      qa: {engine: {namespace: SPACE}}
      live: {engine: {namespace: SPACE}}
"""


@pytest.fixture(scope="module")
def one(installed: Callable[..., AbstractContextManager[Installed]]) -> Iterator[Installed]:
    with installed("previews", CONFIG) as found:
        yield found


def of_preview(one: Installed) -> list[str]:
    """What the cluster has of it."""
    kinds = ("Deployment", "Pod", "Service", "Secret", "ConfigMap", "PersistentVolumeClaim")
    return [
        f"{kind} {found['metadata']['name']}"
        for kind in kinds
        for found in one.api.find(kind, {PIPELINE: "hello--login"})
    ]


def page(one: Installed, service: str) -> str:
    """Through the public Service, as another pod of the cluster asks it."""
    found = one.api.get("Service", service)
    assert found
    answer = urllib3.request("GET", f"http://{found['spec']['clusterIP']}/", timeout=20, retries=False)
    assert answer.status == 200, answer.data
    return answer.data.decode()


def test_a_branch_has_its_preview_on_the_cluster_as_long_as_it_is_there(one: Installed) -> None:
    service, clone = one.service, one.service.repository()
    service.push(web("main"), "The first")
    clone.git("switch", "-q", "-c", "feature/login")
    for version, slot in (("login 1", "blue"), ("login 2", "green")):
        clone.commit(web(version), "Log in")
        said = clone.git("push", "pushlive", "feature/login")
        assert "preview hello--login of feature/login: " in said
        assert "is live" in said, said
        assert service.environments("hello--login")["hello--login"]["slot"] == slot
        (public,) = (
            name.removeprefix("Service ")
            for name in of_preview(one)
            if name.startswith("Service ") and not name.endswith(("-blue", "-green"))
        )
        until(lambda public=public, version=version: page(one, public) == f"{version}\n", 30)
    assert page(one, "hello-live") == page(one, "hello-qa") == "main\n"
    said = clone.git("push", "pushlive", "--delete", "feature/login")
    assert "the preview hello--login is removed, with its data: its branch was deleted" in said
    until(lambda: not service.ask("GET", "/api/previews")["previews"], 60)
    until(lambda: of_preview(one) == [], 60)  # pods end by their own time
    assert page(one, "hello-live") == page(one, "hello-qa") == "main\n"
