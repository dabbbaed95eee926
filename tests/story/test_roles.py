"""What a developer's token may do with ``deploy --config``: the ways in which it was abused, asked of the real API."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import yaml
from flask.testing import FlaskClient

from pipeline.config.ownership import DEVELOPERS
from pipeline.domain.run import Outcome
from tests.story.conftest import World
from tests.support import every_key
from webhooks.app import create_app


def _possible(config: dict[str, Any]) -> dict[str, Any]:
    """Without what one kind of engine alone takes: every key at once is more than one environment can have."""
    config = copy.deepcopy(config)
    hello = config["pipelines"]["hello"]
    for place in (hello, hello["service"], *filter(None, hello["environments"].values())):
        for key in ("volumes", "processes", "uses", "kubernetes"):
            place.pop(key, None)
    return config


IN_FORCE = _possible(every_key.IN_FORCE)


class Api:
    """The web process on the world's service."""

    def __init__(self, world: Any) -> None:
        self.world = world
        self.client: FlaskClient = create_app(world.commands, world.settings, lambda _: None).test_client()
        self.tokens = {role: world.store.tokens.create(role, role) for role in ("developer", "maintainer")}

    def deploy(
        self, config: object, role: str = "developer", pipeline: str = "hello", **more: Any
    ) -> tuple[int, str]:
        """The status, and what was answered."""
        text = config if isinstance(config, str) else yaml.safe_dump(config, sort_keys=False)
        return self.post(f"/api/pipelines/{pipeline}/deploy", role, {"config": text, **more})

    def post(self, path: str, role: str, body: dict[str, Any]) -> tuple[int, str]:
        headers = {"Authorization": f"Bearer {self.tokens[role]}"}
        answer = self.client.post(path, headers=headers, json=body)
        found = answer.get_json()
        return (
            answer.status_code,
            f"{found.get('error', '')} {found.get('advice', '')} {found.get('run', '')}".strip(),
        )


@pytest.fixture(scope="module")
def api(shared_store: str, tmp_path_factory: pytest.TempPathFactory) -> Api:
    """One service for all: what is refused leaves nothing behind."""
    world = World(shared_store, tmp_path_factory.mktemp("roles"))
    assert world.push("one").outcome == Outcome.LIVE
    world.configure(yaml.safe_dump(IN_FORCE, sort_keys=False))
    return Api(world)


def sent(**changes: Any) -> dict[str, Any]:
    """IN_FORCE with other keys under the pipeline; None removes one."""
    config = copy.deepcopy(IN_FORCE)
    hello = config["pipelines"]["hello"]
    hello.update(changes)
    for key in [key for key, value in changes.items() if value is None]:
        del hello[key]
    return config


SERVICE = IN_FORCE["pipelines"]["hello"]["service"]
ENVIRONMENTS = IN_FORCE["pipelines"]["hello"]["environments"]
ABUSES = {
    "live without the stages before it": sent(environments={"live": ENVIRONMENTS["live"]}, previews=None),
    "live first": sent(environments=dict(reversed(ENVIRONMENTS.items()))),
    "an environment of one's own": sent(environments={**ENVIRONMENTS, "mine": None}),
    "live without its gate": sent(environments={**ENVIRONMENTS, "live": {"host": "hello.example.com"}}),
    "live without the checks": sent(environments={**ENVIRONMENTS, "live": {**ENVIRONMENTS["live"], "smoke": []}}),
    "no checks at all": sent(smoke=None),
    "this machine's engine as another": sent(environments={**ENVIRONMENTS, "dev": {"engine": "kubernetes"}}),
    "no registry, so no engine pulls": sent(registry=None, environments={"dev": None, "live": None}),
    "an older configuration, with a secret that was taken away": sent(service={"secrets": ["GIVEN", "TAKEN"]}),
    "another way to be watched over": sent(service={**SERVICE, "health": "/", "security": "strict"}),
}  # fmt: skip


@pytest.mark.parametrize("config", ABUSES.values(), ids=ABUSES)
def test_abuses_are_refused_and_leave_nothing(api, config: dict[str, Any]) -> None:
    before = api.world.store.last_run("hello")
    status, text = api.deploy(config)
    assert (status, "only a maintainer may change" in text) == (403, True), text
    assert api.world.store.last_run("hello") == before


def test_a_pipeline_is_not_made_by_sending_it(api) -> None:
    status, text = api.deploy({"pipelines": {"mine": {"environments": {"live": None}}}}, pipeline="mine")
    assert (status, "no pipeline 'mine' in pipelines.yaml" in text) == (404, True), text
    status, text = api.deploy({"pipelines": {"mine": {"environments": {"live": None}}}})
    assert (status, "no pipeline 'hello' in the file that was sent" in text) == (404, True), text


def test_a_refusal_says_what_a_developer_may_change_and_how_to_go_on(api) -> None:
    _, text = api.deploy(sent(smoke=None, source={"branch": "mine"}))
    assert text.startswith(
        "only a maintainer may change pipelines.hello.source.branch, pipelines.hello.smoke, "
    )
    assert "and developer is not one. Take these keys over from the configuration in force" in text
    assert text.endswith(f"A developer may change {', '.join(DEVELOPERS)}.")


@pytest.mark.parametrize("key", ["replicas", "memory", "env", "command"])
def test_what_is_the_developers_is_accepted(api, key: str) -> None:
    assert api.deploy(_possible(every_key.changed(f"pipelines.*.service.{key}")))[0] == 202


def test_a_maintainer_may_change_everything(api) -> None:
    config = sent(smoke=None, registry={"repository": "r.example/y"}, service={"secrets": ["X"]})
    assert api.deploy(config, "maintainer")[0] == 202


def test_a_retry_is_judged_by_the_configuration_in_force(api) -> None:
    """A developer does not get by a retry what a maintainer sent once, or what was in force once."""
    _, said = api.deploy(sent(smoke=None), "maintainer")
    run = said.removeprefix("hello#")
    assert api.post(f"/api/runs/hello/{run}/cancel", "developer", {})[0] == 202
    status, text = api.post(f"/api/runs/hello/{run}/retry", "developer", {})
    assert (status, "only a maintainer may change pipelines.hello.smoke" in text) == (403, True), text
    assert api.post(f"/api/runs/hello/{run}/retry", "maintainer", {})[0] == 202


def test_the_image_of_a_release_that_does_not_exist_is_refused_at_once(api) -> None:
    status, text = api.deploy(IN_FORCE, release=99)
    assert (status, "r99" in text) == (404, True), text


def test_a_revert_is_no_way_around_the_stages(make_world) -> None:
    """A release that failed in dev does not get to live by `revert --to`; a maintainer may do even that."""
    world = make_world("pipelines: {hello: {smoke: [{get: /}], environments: {dev: , live: {smoke: []}}}}")
    api = Api(world)
    assert world.push("one").outcome == Outcome.LIVE
    world.break_app(2)
    assert world.push("two").stage == "dev"
    status, text = api.post("/api/pipelines/hello/revert", "developer", {"to": 2})
    assert status == 403
    assert text.startswith(
        "r2 was never verified in hello/live, and only a maintainer may revert to such a release"
    )
    assert "`pushlive deploy hello --release r2` takes it through every stage." in text
    assert world.environment("live").hold is None
    assert world.push("three").outcome == Outcome.LIVE
    assert api.post("/api/pipelines/hello/revert", "developer", {"to": 1})[0] == 202
    world.work()
    assert world.serving()["live"] == 1
    assert api.post("/api/pipelines/hello/revert", "maintainer", {"to": 2})[0] == 202
