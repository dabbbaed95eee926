"""From a SlotSpec to plain data for Docker."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

import pytest

from pipeline.adapters import workload
from pipeline.adapters.docker import containers
from pipeline.adapters.docker.diagnosis import Listener, explain, listeners
from pipeline.adapters.docker.readiness import exited
from pipeline.adapters.docker_api import labels
from pipeline.adapters.docker_api.addresses import subnet
from pipeline.config.settings import Settings
from pipeline.domain.engine_types import SlotRef, SlotSpec
from pipeline.domain.environment import SLOTS
from pipeline.errors import AppFailed, EngineFailed
from tests.support.specs import slot_spec

SETTINGS = Settings(instance="pl", subnets="10.213.0.0/16")


def spec(slot: str = "blue", index: int = 3, **service: object) -> SlotSpec:
    return slot_spec(SlotRef("hello", "live", index, slot), 17, 42, **service)


def test_no_two_containers_of_any_environments_share_an_address() -> None:
    refs = [SlotRef("p", "e", index, slot) for index, slot in product(range(120), SLOTS)]
    addresses = [
        containers.address(SETTINGS, ref, r, n) for ref in refs for r in (1, 3) for n in range(1, 13)
    ]
    assert len(set(addresses)) == len(addresses) == 120 * 48
    pools = {containers.network_body(SETTINGS, ref)["IPAM"]["Config"][0]["IPRange"] for ref in refs}
    assigned = {str(host) for pool in pools for host in ipaddress_hosts(pool)}
    assert not assigned & set(addresses)


def test_a_release_has_other_addresses_than_the_one_before_in_its_slot() -> None:
    ref = SlotRef("p", "e", 0, "blue")
    assert containers.address(SETTINGS, ref, 16, 1) != containers.address(SETTINGS, ref, 18, 1)


def ipaddress_hosts(pool: str) -> list[str]:
    first, _, _ = pool.partition("/")
    head, _, last = first.rpartition(".")
    return [f"{head}.{int(last) + n}" for n in range(2)]


def test_an_environment_beyond_the_range_is_refused() -> None:
    small = SETTINGS.model_copy(update={"subnets": "10.213.0.0/25"})
    assert str(subnet(small, 1)) == "10.213.0.64/26"
    with pytest.raises(EngineFailed, match=r"10\.213\.0\.0/25 has no room"):
        subnet(small, 2)


def test_the_spec_label_changes_only_with_the_container() -> None:
    def label(one: SlotSpec) -> str:
        return str(containers.slot_body(SETTINGS, one, 1)["Labels"][labels.SPEC])

    plain = label(spec())
    assert label(replace(spec(), run=99)) == plain
    assert label(spec(drain=99.0, keep_warm=1.0, replicas=3)) == plain
    for other in (
        spec(memory=64 << 20),
        spec(env={"A": "b"}),
        spec(command=("x",)),
        spec("green"),
        spec(stop=3.0),
        replace(spec(), image="sha256:2"),
        replace(spec(), release=18),
    ):
        assert label(other) != plain


def test_our_variables_cannot_be_replaced_by_configuration() -> None:
    env = workload.environment(spec(env={"PUSHLIVE_RELEASE": "r1", "A": "1"}), {"A": "2"})
    assert sorted(env) == [
        "A=2",
        f"PUSHLIVE_COMMIT={17:040x}",
        "PUSHLIVE_ENVIRONMENT=live",
        "PUSHLIVE_RELEASE=r17",
    ]


def test_a_command_overrides_the_entrypoint_and_is_no_replica() -> None:
    body = containers.command_body(
        SETTINGS, spec(), "migrate", ("./migrate", "--all"), {"PUSHLIVE_URL": "http://x"}
    )
    assert (body["Entrypoint"], body["Cmd"]) == (["./migrate"], ["--all"])
    assert labels.REPLICA not in body["Labels"]
    assert "PUSHLIVE_URL=http://x" in body["Env"]
    assert body["HostConfig"]["Memory"] == 256 << 20


def test_strict_drops_all_capabilities_of_slots_and_commands() -> None:
    one = spec(security="strict")
    for body in (
        containers.slot_body(SETTINGS, one, 1),
        containers.command_body(SETTINGS, one, "x", ("a",), {}),
    ):
        host = body["HostConfig"]
        assert (host["CapDrop"], host["ReadonlyRootfs"], list(host["Tmpfs"])) == (["ALL"], True, ["/tmp"])
        assert host["SecurityOpt"] == ["no-new-privileges"]
    assert "ReadonlyRootfs" not in containers.slot_body(SETTINGS, spec(), 1)["HostConfig"]


@pytest.mark.parametrize("user", ["", "root", "0", "0:0", "00", "root:root", "nobody", "app:1000"])
def test_strict_refuses_a_user_that_may_be_root(user: str) -> None:
    with pytest.raises(AppFailed, match=f"runs as {user or 'root, because it names no user'}, and") as raised:
        containers.refuse_root(spec(security="strict"), user)
    assert "`USER 10001`" in raised.value.advice


@pytest.mark.parametrize("user", ["1", "10001:0", "65534:app"])
def test_strict_accepts_a_numeric_user(user: str) -> None:
    containers.refuse_root(spec(security="strict"), user)


@pytest.mark.parametrize(("stop", "seconds"), [(0.0, 1), (0.4, 1), (2.6, 3), (300.0, 300)])
def test_the_stop_limit_is_in_whole_seconds_and_never_a_kill(stop: float, seconds: int) -> None:
    assert containers.slot_body(SETTINGS, spec(stop=stop), 1)["StopTimeout"] == seconds


# Rows as the kernel writes them: 0.0.0.0:8080, 127.0.0.1:9090, Docker's name server, an open connection
TCP = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 51193 1 0 100 0 0 10 0
   1: 0100007F:2382 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 51194 1 0 100 0 0 10 0
   2: 0B00007F:A3B1 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 51195 1 0 100 0 0 10 0
   3: 0300D50A:1F91 0100D50A:C350 01 00000000:00000000 00:00000000 00000000     0        0 51196 1 0 20 4 30 10 -1
"""
TCP6 = """\
  sl  local_address                         remote_address                        st
   0: 00000000000000000000000000000000:1F92 00000000000000000000000000000000:0000 0A 0:0 00:0 0 0 0 1
   1: 00000000000000000000000001000000:1F93 00000000000000000000000000000000:0000 0A 0:0 00:0 0 0 0 1
   2: 0000000000000000FFFF00000100007F:1F94 00000000000000000000000000000000:0000 0A 0:0 00:0 0 0 0 1
"""


def test_listening_sockets_are_read_from_the_kernels_tables() -> None:
    assert listeners(TCP) == {(False, 8080, False), (True, 9090, False)}
    assert listeners(TCP6) == {(False, 8082, True), (True, 8083, True), (True, 8084, False)}


@pytest.mark.parametrize(
    ("found", "said", "settled"),
    [
        ({(True, 8080)}, "127.0.0.1:8080 only", True),
        ({(True, 8080, True)}, "[::1]:8080 only", True),
        ({(True, 8080), (False, 8080, True)}, "port 8080 over IPv6 alone", True),
        ({(False, 8080, True)}, "port 8080 over IPv6 alone", True),
        ({(False, 9090), (True, 5)}, "port 9090, not on 8080", True),
        ({(True, 9090)}, "port 9090, not on 8080", True),
        (set(), "no port at all", False),
    ],
)
def test_an_application_that_listens_in_the_wrong_place_is_told_where(
    found: set[tuple[Any, ...]], said: str, settled: bool
) -> None:
    finding = explain({Listener(*one) for one in found}, 8080, lambda: True)
    assert finding
    assert said in finding.text
    assert (finding.settled, bool(finding.advice)) == (settled, settled)


def test_an_application_that_listens_on_its_port_has_nothing_wrong() -> None:
    assert explain({Listener(False, 8080), Listener(True, 9090)}, 8080, lambda: True) is None
    assert explain({Listener(False, 8080, v6=True)}, 8080, lambda: False) is None  # it takes both


@pytest.mark.parametrize(
    ("code", "oom", "said", "advice"),
    [
        (137, True, "because it ran out of memory", "Raise `memory`"),
        (
            137,
            False,
            "it was killed (exit code 137)",
            "If no person did that, its memory limit did: raise `memory`",
        ),
        (2, False, "code 2", "last lines of output say why. Push a fix."),
    ],
)
def test_fault_26_an_exit_is_explained(code: int, oom: bool, said: str, advice: str) -> None:
    error = exited({"State": {"ExitCode": code, "OOMKilled": oom}}, "hello-1", ("last words",))
    assert said in str(error)
    assert advice in error.advice
    assert error.evidence == (f"exit code {code}", "last words")
