"""For what an earlier version told the Docker Engine and HAProxy, this version has the very same words: anything else
would be made again, which restarts it.
"""

from __future__ import annotations

import re
from typing import Any

import pytest

from pipeline.adapters.docker import containers
from pipeline.adapters.haproxy import container as proxy_container
from pipeline.adapters.haproxy.config import State, files
from pipeline.adapters.workload import environment
from pipeline.domain.engine_types import SlotRef, SlotSpec
from pipeline.lib import codec
from tests.upgrade.fixtures import ALL, VERSIONS, Fixture, lost

pytestmark = pytest.mark.parametrize("fixture", ALL, ids=VERSIONS)
NOBODY = 65534


def test_containers_of_a_slot_are_made_alike(fixture: Fixture) -> None:
    count = 0
    for name, body in fixture.created("containers"):
        if "pushlive.replica" not in body["Labels"]:
            continue
        spec, replica = fixture.spec(body), int(body["Labels"]["pushlive.replica"])
        made = containers.slot_body(fixture.settings, spec, replica)
        assert containers.with_secrets(made, spec.reveal(), spec.filled) == body
        assert containers.container_name(fixture.settings, spec, replica) == name
        count += 1
    assert count > 10


def test_containers_of_commands_are_made_alike(fixture: Fixture) -> None:
    seen = set()
    for name, body in fixture.created("containers"):
        command = body["Labels"].get("pushlive.command")
        if not command:
            continue
        spec = fixture.spec(body)
        argv = arguments(spec, command)
        made = containers.command_body(fixture.settings, spec, command, argv, own_variables(spec, body))
        assert containers.with_secrets(made, spec.reveal(), spec.filled) == body
        assert containers.command_name(fixture.settings, spec, command) == name
        seen.add(command.partition("-")[0])
    assert seen == {"release", "smoke"}


def arguments(spec: SlotSpec, command: str) -> tuple[str, ...]:
    """What that command runs; ``release-1``, ``smoke-2-1``: the third check, of run 1."""
    kind, _, rest = command.partition("-")
    if kind == "release":
        return spec.config.service.release.command
    return run_of(spec.config.smoke[int(rest.partition("-")[0])])


def run_of(check: Any) -> tuple[str, ...]:
    """The command of a check that has one."""
    found: tuple[str, ...] = check.run
    return found


def own_variables(spec: SlotSpec, body: dict[str, Any]) -> dict[str, str]:
    """Those that the command alone is given."""
    given = dict(entry.split("=", 1) for entry in body["Env"])
    others = {entry.partition("=")[0] for entry in environment(spec, {})} | spec.secrets.keys()
    return {name: value for name, value in given.items() if name not in others}


def test_networks_are_made_alike(fixture: Fixture) -> None:
    count = 0
    for _, body in fixture.created("networks"):
        labels = {name.removeprefix("pushlive."): value for name, value in body["Labels"].items()}
        ref = SlotRef(labels["pipeline"], labels["environment"], int(labels["index"]), "blue")
        assert lost(containers.network_body(fixture.settings, ref), body) == []
        count += 1
    assert count == len(fixture.store["indices"])


def test_the_proxy_is_made_alike_and_has_all_that_commands_name(fixture: Fixture) -> None:
    """One that runs goes on with the files of before: what it is told must exist in both."""
    root = fixture.engine["uid"] == 0
    drop, user = ((NOBODY, NOBODY) if root else None), (fixture.engine["uid"],) * 2
    [body] = [body for name, body in fixture.created("containers") if name.endswith("-proxy")]
    assert proxy_container.proxy_body(fixture.settings, drop, user) == body
    recorded = fixture.read("proxy.json")
    state = codec.load(State, recorded.pop("state.json"))
    now = files(state, fixture.settings, drop)
    before = named(recorded.pop("haproxy.cfg"))
    assert before
    assert before <= named(now.pop("haproxy.cfg"))
    assert recorded.items() <= now.items()


def named(text: str) -> set[tuple[str, str]]:
    """Each section of HAProxy's configuration with what it binds, and with the servers that commands change."""
    found, section = set(), ""
    for line in text.splitlines():
        if re.match("(frontend|backend) ", line):
            section = line
        elif re.match(r" +(bind|server s\d|server-template|stats socket) ", line):
            found.add((section, line.strip()))
    return found
