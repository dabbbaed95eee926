"""What containers are told on both engines."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pipeline.adapters.docker import containers
from pipeline.adapters.docker_api.labels import SPEC
from pipeline.adapters.kubernetes.manifests import Manifests
from pipeline.adapters.workload import environment, port
from pipeline.config.settings import Settings
from pipeline.domain import slots
from pipeline.domain.adoption import made_of, remembered
from pipeline.domain.engine_types import SlotRef, SlotSpec
from pipeline.domain.release import FORM, Release
from tests.support.specs import slot_spec

REF = SlotRef("hello", "live", 3, "blue")


def spec(form: int = FORM, **service: object) -> SlotSpec:
    return replace(slot_spec(REF, 17, 42, **service), form=form)


def variables_of_a_pod(one: SlotSpec) -> dict[str, str]:
    [container] = Manifests("pl", "shop").deployment(one)["spec"]["template"]["spec"]["containers"]
    return {entry["name"]: entry["value"] for entry in container["env"]}


def test_the_application_is_told_its_port_on_both_engines() -> None:
    one = spec(port=9000)
    assert "PORT=9000" in environment(one, {})
    assert variables_of_a_pod(one)["PORT"] == "9000"


@pytest.mark.parametrize("secret", [False, True])
def test_a_port_that_the_configuration_tells_is_left_to_it(secret: bool) -> None:
    one = replace(spec(), secrets={"PORT": 1}) if secret else spec(env={"PORT": "1"})
    assert port(one) == {}
    assert ("PORT=1" in environment(one, {})) is not secret
    assert "PORT" not in variables_of_a_pod(one)  # it comes from the ConfigMap, or the Secret
    same = replace(one, form=0)
    assert hashes(one)[1] == hashes(same)[1]


def test_a_release_of_an_earlier_version_keeps_its_containers() -> None:
    """Or an upgrade would replace everything that runs."""
    old = Release("hello", 17, "c" * 40, "sha256:1", "hello:r17", 42, 0.0, {"live": spec().config})
    assert port(slots.spec_of(REF, old, 42)) == {}
    new = slots.spec_of(REF, replace(old, form=FORM), 42)
    assert port(new) == {"PORT": "8080"}
    assert all(before != after for before, after in zip(hashes(spec(0)), hashes(spec()), strict=True))


def hashes(one: SlotSpec) -> tuple[str, str]:
    body = containers.slot_body(Settings(instance="pl"), one, 1)
    return body["Labels"][SPEC], Manifests("pl", "shop").spec_hash(one)


def test_a_slot_that_is_found_knows_whether_it_was_told_its_port() -> None:
    for one in (spec(), spec(0)):
        made = made_of(remembered(one))
        assert made
        assert made.form == one.form
    earlier = remembered(spec(0)).replace(',"form":0', "")
    assert '"form"' not in earlier
    made = made_of(earlier)
    assert made
    assert made.form == 0
