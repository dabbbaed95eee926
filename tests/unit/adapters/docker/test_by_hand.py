"""How a container differs from what it was made from."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from pipeline.adapters.docker import containers
from pipeline.adapters.docker.parity.by_hand import changes, limited, limits_of, mounts_of
from pipeline.config.settings import Settings
from pipeline.domain.engine_types import SlotRef
from tests.support.specs import slot_spec

SETTINGS = Settings(instance="pl", subnets="10.213.0.0/16")
BODY = containers.slot_body(
    SETTINGS,
    slot_spec(
        SlotRef("hello", "live", 3, "blue"), 17, 42,
        env={"GREETING": "hello"}, volumes={"data": {"path": "/data"}}, command=("serve", "all"),
    ),
    1,
)  # fmt: skip
IMAGE_ENV = ("PATH=/bin", "LANG=C")
NETWORK = "pl-hello-live"


def as_made() -> dict[str, Any]:
    """As the Engine describes a container made from BODY."""
    host = {
        **BODY["HostConfig"],
        "RestartPolicy": {"Name": "unless-stopped"},
        "CpusetCpus": "",
        "CpuQuota": 0,
    }
    config = {"Image": BODY["Image"], "Env": [*IMAGE_ENV, *BODY["Env"], "TOKEN=x"], "Cmd": list(BODY["Cmd"])}
    networks = {"Networks": {NETWORK: {}}}
    return copy.deepcopy(
        {"Image": "sha256:1", "Config": config, "HostConfig": host, "NetworkSettings": networks}
    )


def said(found: dict[str, Any]) -> list[str]:
    return [str(one) for one in changes(found, BODY, IMAGE_ENV, {"TOKEN"}, {NETWORK})]


def test_nothing_is_said_of_one_that_is_as_it_was_made() -> None:
    assert said(as_made()) == []


CASES: list[tuple[str, Any, str]] = [
    ("HostConfig.Memory", 64 << 20, "memory: 256 MiB → 64 MiB, and swap"),
    ("HostConfig.MemorySwap", -1, "memory: 256 MiB → 256 MiB, and swap"),
    ("HostConfig.Memory", 0, "memory: 256 MiB → no limit, and swap"),
    ("HostConfig.NanoCpus", 250_000_000, "cpu: 1 → 0.25"),
    ("HostConfig.NanoCpus", None, "cpu: 1 → no limit"),
    ("HostConfig.PidsLimit", None, "pids: 512 → no limit"),
    ("HostConfig.RestartPolicy", {"Name": ""}, "restart policy: unless-stopped → no"),
    ("HostConfig.CpusetCpus", "0", "cpuset: nothing → 0"),
    ("Config.Cmd", ["sh"], "command: ['serve', 'all'] → ['sh']"),
    ("HostConfig.Mounts", [], "the mount /data: pl-hello-live-data → nothing"),
    ("HostConfig.Binds", ["/etc:/host:ro"], "the mount /host: nothing → /etc"),
    ("NetworkSettings.Networks", {NETWORK: {}, "other": {}}, "networks: nothing → other"),
    ("Config.Env", [*IMAGE_ENV, *BODY["Env"]], "secrets.TOKEN: ••• → nothing"),
    ("Config.Env", ["LANG=C", *BODY["Env"], "TOKEN=x"], "env.PATH: ••• → nothing"),
    ("Config.Env", [*IMAGE_ENV, *BODY["Env"], "TOKEN=x", "A=b=c"], "env.A: nothing → •••"),
]


@pytest.mark.parametrize(("path", "value", "text"), CASES)
def test_each_change_is_named_without_a_variables_value(path: str, value: Any, text: str) -> None:
    found, (part, key) = as_made(), path.split(".")
    found[part][key] = value
    assert said(found) == [text]


def test_a_limit_that_the_kernel_does_not_have_is_no_ones_change() -> None:
    """Docker leaves it out with a warning, and says so of itself."""
    found = as_made()
    found["HostConfig"] |= {"MemorySwap": -1, "PidsLimit": None}
    without = limited({"MemoryLimit": True, "SwapLimit": False, "PidsLimit": False})
    assert without == {"Memory", "NanoCpus"}
    assert changes(found, BODY, IMAGE_ENV, {"TOKEN"}, {NETWORK}, without) == ()
    assert len(said(found)) == 2
    assert limits_of(BODY, without).keys() == {"Memory", "NanoCpus", "RestartPolicy"}


def test_without_its_image_a_container_has_no_variables_too_many() -> None:
    found = as_made()
    assert changes(found, BODY, None, {"TOKEN"}, {NETWORK}) == ()
    found["Config"]["Env"] = ["PATH=/bin", *BODY["Env"][1:], "TOKEN=x"]
    [one] = changes(found, BODY, None, {"TOKEN"}, {NETWORK})
    assert one.name == "env.GREETING"


def test_another_image_is_named() -> None:
    found = as_made()
    found["Image"], found["Config"]["Image"] = "sha256:2", "busybox:1.36"
    assert said(found) == ["image: sha256:1 → busybox:1.36"]


def test_the_limits_that_bring_it_back_are_those_it_was_made_with() -> None:
    wanted = limits_of(BODY)
    assert {key: BODY["HostConfig"][key] for key in wanted if key != "RestartPolicy"} == {
        key: wanted[key] for key in wanted if key != "RestartPolicy"
    }
    assert wanted["RestartPolicy"] == {"Name": "unless-stopped"}


def test_hostile_texts_are_cut_and_stay_on_a_line() -> None:
    found = as_made()
    found["HostConfig"]["Binds"] = [f"/{'x' * 9000}\n\x1b[2J:/host"]
    [text] = said(found)
    assert len(text) < 500
    assert text.isprintable()
    assert mounts_of({"HostConfig": {}}) == {}
