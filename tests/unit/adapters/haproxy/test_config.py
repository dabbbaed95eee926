"""HAProxy's files and commands from the proxy's state; HAProxy itself reads them in the integration tests."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.adapters.haproxy import waiting
from pipeline.adapters.haproxy.certificates import payload
from pipeline.adapters.haproxy.changes import paused, switched, with_slot
from pipeline.adapters.haproxy.config import (
    MAPS,
    SERVERS,
    SPARE,
    Routes,
    Server,
    State,
    files,
    maps,
    structure_of,
)
from pipeline.adapters.haproxy.files import write
from pipeline.adapters.haproxy.health import request
from pipeline.adapters.haproxy.plan import map_commands, server_commands
from pipeline.adapters.haproxy.timeouts import TIMEOUT
from pipeline.config.settings import Settings
from pipeline.lib import codec

SETTINGS = Settings(ports="20000-20003")
LIVE = Routes("hello-live", ("hello-live.localhost",), "green", {"green": (("10.213.0.113", 8080),)})
STATE = State("0123", {3: LIVE})


def test_the_files_have_the_active_slot_and_its_servers() -> None:
    text = files(STATE, SETTINGS)
    assert "e3 e3-green\n" in text["active.map"]
    assert text["hosts.map"] == "hello-live.localhost e3\n"
    green = text["haproxy.cfg"].split("backend e3-green\n")[1]
    assert green.splitlines()[1].strip().startswith("use-server s%[var(txn.stuck)] if")
    assert green.splitlines()[2].strip() == "server s1 10.213.0.113:8080"
    assert green.splitlines()[3].strip() == f"server-template s 2-{SERVERS} 127.0.0.1:1 disabled"
    last = "server last unix@/proxy/last.sock send-proxy-v2 proxy-v2-options unique-id backup no-check"
    assert green.splitlines()[4].strip() == last
    assert text["last.map"] == "e3-green 1\ne3-green.0 10.213.0.113:8080\n"
    assert "server last" in (blue := text["haproxy.cfg"].split("backend e3-blue\n")[1].splitlines()[3])
    assert blue.endswith("disabled")


def test_every_index_exists_from_the_start() -> None:
    text = files(State("0123"), SETTINGS)
    assert text["active.map"] == "e0 none\ne1 none\ne2 none\ne3 none\n"
    assert text["ports.map"] == "20000 e0\n20001 e1\n20002 e2\n20003 e3\n"
    assert text["haproxy.cfg"].count("backend e") == 8


def test_only_slots_that_are_sticky_are_listed_with_a_value_for_each_container() -> None:
    two = (("10.213.0.114", 8080), ("10.213.0.115", 8080))
    own = with_slot(LIVE, "blue", two, TIMEOUT, sticky=True)
    said = files(State("0123", {3: own}), SETTINGS)["sticky.map"].splitlines()
    assert [line.rsplit(" ", 1)[1] for line in said[::2]] == ["1", "2"]
    values = [line.partition(" ")[0].removeprefix("e3-blue.") for line in said[::2]]
    assert [line.split(" ") for line in said[1::2]] == [
        [f"e3-blue/{host}:{port}", value] for (host, port), value in zip(two, values, strict=True)
    ]
    assert files(State("4567", {3: own}), SETTINGS)["sticky.map"].splitlines()[0] != said[0]
    assert with_slot(own, "green", (), TIMEOUT).sticky == ("blue",)
    assert files(State("0123", {3: with_slot(own, "blue", two, TIMEOUT)}), SETTINGS)["sticky.map"] == ""


def test_a_rule_belongs_to_the_slot_whose_release_wants_it() -> None:
    servers = (("10.213.0.114", 8080),)
    own = with_slot(LIVE, "blue", servers, TIMEOUT, rules={"body.map": "1048576"})
    assert files(STATE.with_routes(3, own), SETTINGS)["body.map"] == "e3-blue 1048576\n"
    assert files(STATE, SETTINGS)["body.map"] == ""
    assert with_slot(own, "green", (), TIMEOUT).rules == own.rules
    assert with_slot(own, "blue", servers, TIMEOUT).rules == {}
    stored = codec.dump(STATE).replace(',"rules":{}', "")
    assert "rules" not in stored
    assert codec.load(State, stored) == STATE


def test_only_slots_with_a_timeout_of_their_own_are_listed() -> None:
    assert files(STATE, SETTINGS)["timeouts.map"] == ""
    own = with_slot(LIVE, "blue", (("10.213.0.114", 8080),), 1.5)
    assert files(STATE.with_routes(3, own), SETTINGS)["timeouts.map"] == "e3-blue 1500\n"
    assert with_slot(own, "blue", (), TIMEOUT).timeouts == {}


def test_a_state_of_a_version_without_timeouts_is_read() -> None:
    stored = codec.dump(STATE).replace(',"timeouts":{}', "")
    assert "timeouts" not in stored
    assert codec.load(State, stored) == STATE


def test_a_switch_changes_one_line_of_one_file() -> None:
    before = files(STATE, SETTINGS)
    after = files(STATE.with_routes(3, replace(LIVE, active="blue")), SETTINGS)
    assert [name for name in before if before[name] != after[name]] == ["active.map"]


def test_a_slot_is_checked_by_its_own_request() -> None:
    asked = request("/healthz?full=1", {"Host": "shop.example.com"})
    text = files(State("0123", {3: replace(LIVE, checks={"green": asked})}), SETTINGS)
    [line] = text["health.map"].splitlines()
    name, _, value = line.partition(" ")
    assert (name, unquote(value)) == ("e3-green", asked)
    assert " " not in value
    assert structure_of(text["haproxy.cfg"]) == structure_of(files(STATE, SETTINGS)["haproxy.cfg"])


def test_privileges_are_dropped_if_haproxy_starts_as_root() -> None:
    assert "    uid 65534\n    gid 65534\n" in files(STATE, SETTINGS, (65534, 65534))["haproxy.cfg"]
    assert "uid " not in files(STATE, SETTINGS)["haproxy.cfg"]


def test_tls_is_bound_only_if_it_is_set() -> None:
    assert " ssl " not in files(STATE, SETTINGS)["haproxy.cfg"]
    secure = SETTINGS.model_copy(update={"proxy_https": "0.0.0.0:443"})
    assert "bind 0.0.0.0:443 ssl crt /proxy/certificates strict-sni" in files(STATE, secure)["haproxy.cfg"]


def test_each_trusted_network_is_a_rule_of_its_own() -> None:
    many = SETTINGS.model_copy(update={"proxy_trusted": tuple(f"10.{n}.0.0/16" for n in range(100))})
    assert "if { src 10.99.0.0/16 }" in (text := files(STATE, many)["haproxy.cfg"])
    assert max(len(line.split()) for line in text.splitlines()) < 64  # HAProxy takes no more words in a line


def test_the_state_survives_its_file() -> None:
    assert codec.load(State, codec.dump(STATE)) == STATE


servers = st.lists(
    st.tuples(st.ip_addresses(v=4).map(str), st.integers(1, 65535)), max_size=SERVERS, unique=True
).map(tuple)


def carried_out(
    running: dict[int, tuple[Server, bool]], commands: list[str]
) -> dict[int, tuple[Server, bool]]:
    """What HAProxy makes of ``set server`` commands; an address never changes under a server that takes
    requests."""
    now = dict(running)
    for command in commands:
        _, _, name, what, *rest = command.split()
        number = 0 if name.endswith("/last") else int(name.rpartition("/s")[2])
        address, on = now[number]
        if what == "state":
            now[number] = (address, rest == ["ready"])
        elif what == "health":
            assert (on, rest) == (True, ["up"]), command
        else:
            assert not on, command
            now[number] = ((rest[0], int(rest[2])), False)
    return now


@given(servers, servers)
def test_server_commands_bring_any_servers_to_any_others(
    old: tuple[Server, ...], new: tuple[Server, ...]
) -> None:
    empty = dict.fromkeys(range(SERVERS + 1), (SPARE, False))
    before = carried_out(empty, server_commands("e3-green", old, empty))
    after = carried_out(before, server_commands("e3-green", new, before))
    assert tuple(after[n][0] for n in after if n and after[n][1]) == new
    assert after[0][1] == bool(new)
    assert server_commands("e3-green", new, after) == []


def test_a_proxy_that_an_earlier_version_started_is_not_told_of_a_server_it_does_not_have() -> None:
    empty = dict.fromkeys(range(1, SERVERS + 1), (SPARE, False))
    commands = server_commands("e3-green", (("10.213.0.113", 8080),), empty)
    assert commands
    assert not [command for command in commands if "/last" in command]


@given(st.dictionaries(st.text("abc", min_size=1), st.text("xyz", min_size=1)), st.data())
def test_map_commands_bring_any_map_to_any_other(wanted: dict[str, str], data: st.DataObject) -> None:
    running = data.draw(st.dictionaries(st.text("abc", min_size=1), st.text("xyz", min_size=1)))
    now = dict(running)
    for command in map_commands("hosts.map", wanted, running):
        act, _, _, key, *value = command.split()
        assert (act == "add") == (key not in now)
        if act == "del":
            del now[key]
        else:
            now[key] = value[0]
    assert now == wanted


def test_a_switch_is_one_command() -> None:
    before = maps(STATE, SETTINGS)
    after = maps(STATE.with_routes(3, replace(LIVE, active="blue")), SETTINGS)
    assert after["last.map"] == before["last.map"]
    commands = [c for name in MAPS for c in map_commands(name, after[name], before[name])]
    assert commands == ["set map /proxy/active.map e3 e3-blue"]


def test_files_are_replaced_atomically_and_only_if_they_change(tmp_path: Path) -> None:
    path = tmp_path / "active.map"
    assert write(path, "one\n") is True
    first = path.stat().st_ino
    assert write(path, "one\n") is False
    assert path.stat().st_ino == first
    assert write(path, "two\n") is True
    assert path.read_text() == "two\n"
    assert path.stat().st_ino != first
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_certificate_has_no_empty_line_on_the_socket() -> None:
    assert payload("-----BEGIN\r\n\r\nabc\n\n-----END\n\n") == "-----BEGIN\nabc\n-----END"


def test_requests_that_wait_are_a_value_in_the_map_and_the_slot_is_kept() -> None:
    waits = paused(STATE, 3, 30)
    assert "e3 wait-30000\n" in files(waits, SETTINGS)["active.map"]
    assert switched(waits, 3, "green") == STATE
    assert switched(waits, 3, None).environments[3] == replace(LIVE, active=None)


def test_the_script_that_lets_requests_wait_is_a_part_of_the_structure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = structure_of(files(STATE, SETTINGS)["haproxy.cfg"])
    monkeypatch.setattr(waiting, "SCRIPT", f"{waiting.SCRIPT}-- more\n")
    assert structure_of(files(STATE, SETTINGS)["haproxy.cfg"]) != before


def test_what_haproxy_says_of_requests_that_wait() -> None:
    assert waiting.can_wait("# pxname,svname,qcur\ncan-wait,BACKEND,0\n")
    assert not waiting.can_wait("# pxname,svname,qcur\n")
    table = "# table: waiting, type: string, size:2048, used:1\n"
    assert waiting.counted(table) == 0
    assert waiting.counted(f"{table}0x7f45: key=e3 use=2 exp=358 conn_cnt=41 conn_cur=2\n") == 41
