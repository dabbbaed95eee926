"""People's commands in containers: ``pushlive run`` and ``exec``, by the command line, with and without a terminal."""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import docker
from tests.support.developer import Files, web
from tests.support.paths import ROOT
from tests.support.service import PUSHLIVE, Service, get, running
from tests.support.terminal import Terminal
from tests.support.waiting import until

CONFIG = """
pipelines:
  hello:
    service: {memory: 128MiB, stop: 1s, env: {GREETING: hello}, secrets: [TOKEN]}
    environments: {dev: {replicas: 2}, live: }
"""
SECRET = "s3cr3t-of-the-house"


@pytest.fixture(scope="module")
def service(docker_client: docker.DockerClient, base_images: None) -> Iterator[Service]:
    with running(docker_client, CONFIG) as one:
        given = subprocess.run(
            [*PUSHLIVE, "secret", "set", "hello", "TOKEN"], env=one.environ, input=SECRET, text=True,
            capture_output=True, timeout=60,
        )  # fmt: skip
        assert given.returncode == 0, given
        one.push(talking("one"), "One")
        yield one


def talking(version: str) -> Files:
    """An application that says at its start what it is, and its secret."""
    return web(version, command=f'echo "begins {version} $TOKEN"; exec httpd -f -p 0.0.0.0:8080 -h /www')


def sessions(service: Service) -> list[dict[str, object]]:
    """The containers that `run` has made."""
    filters = {"label": [f"pushlive.instance={service.instance}", "pushlive.session"]}
    found: list[dict[str, object]] = service.engine.containers(all=True, filters=filters)
    return found


def test_a_command_runs_in_a_fresh_container_with_what_the_release_has(service: Service) -> None:
    script = 'echo "$GREETING $PUSHLIVE_RELEASE"; echo "token: $TOKEN"; hostname; echo oh >&2; exit 7'
    done = service.pushlive("run", "hello", "dev", "--", "sh", "-c", script, code=7)
    first, second, host = done.out.splitlines()
    assert (first, second) == ("hello r1", "token: •••")
    assert done.err == "oh\n"
    assert host not in {one["Config"]["Hostname"] for one in service.containers(environment="dev")}
    until(lambda: not sessions(service))
    assert service.releases()["dev"] == 1


def test_input_of_any_kind_passes_unchanged(service: Service) -> None:
    data = bytes(range(256)) * 4000  # a megabyte, of which no byte is text
    done = subprocess.run(
        [*PUSHLIVE, "run", "hello", "dev", "--", "cat"], env=service.environ, input=data,
        capture_output=True, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, data, b"")


def test_a_terminal_in_a_container_that_serves(service: Service) -> None:
    with Terminal(service, "exec", "hello", "dev", "--replica", "2") as terminal:
        terminal.reads("# ")
        terminal.type("hostname; tty; stty size; echo $TOKEN\n")
        terminal.reads("•••", "/dev/pts/", "30 100")
        second = service.containers(environment="dev", replica="2")[0]
        assert second["Config"]["Hostname"] in terminal.text
        assert SECRET not in terminal.text
        terminal.resize(50, 120)
        terminal.reads_after("stty size\n", "50 120")
        terminal.type("sleep 4321\n")
        until(lambda: sleepers(service, "2"))
        terminal.type("\x03")  # ends the command, not the session
        terminal.reads_after("echo still $((40 + 2))\n", "still 42")
        terminal.type("exit 3\n")
        assert terminal.ends() == 3


def test_a_command_that_is_not_there_is_said(service: Service) -> None:
    for act in ("run", "exec"):
        done = service.pushlive(act, "hello", "dev", "--", "/no/such/program", code=None)
        assert done.code in (1, 126, 127)
        assert "/no/such/program" in done.text or "cannot be executed" in done.text


def test_what_a_person_leaves_behind_ends(service: Service) -> None:
    with Terminal(
        service, "exec", "hello", "dev", "--", "sh", "-c", "trap '' HUP; sleep 4321 & sleep 4321"
    ) as terminal:
        until(lambda: len(sleepers(service)) == 2)
        terminal.kill()  # the laptop was closed
        until(lambda: not sleepers(service), 20)


def sleepers(service: Service, replica: str = "1") -> list[str]:
    """The processes of the tests in that container."""
    one = service.containers(environment="dev", replica=replica)[0]["Id"]
    rows = service.engine.top(one)["Processes"]
    return [row[-1] for row in rows if "sleep 4321" in row[-1] and "trap" not in row[-1]]


def test_ctrl_c_ends_the_command_and_its_container(service: Service) -> None:
    one = subprocess.Popen(
        [*PUSHLIVE, "run", "hello", "dev", "--", "sh", "-c", "echo here; exec sleep 1000"],
        env=service.environ, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    assert one.stdout is not None
    with one.stdout:
        assert one.stdout.readline() == b"here\n"
        one.send_signal(signal.SIGINT)
        assert one.wait(20) == 130
    until(lambda: not sessions(service))


def test_a_flood_waits_for_its_reader_and_nothing_else_does(service: Service) -> None:
    one = subprocess.Popen(
        [*PUSHLIVE, "run", "hello", "dev", "--", "yes"],
        env=service.environ, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert one.stdout is not None
    with one.stdout:
        assert one.stdout.read(1 << 20).startswith(b"y\ny\n")
        assert service.pushlive("status").code == 0
    one.wait(20)
    until(lambda: not sessions(service))


def test_the_output_of_all_containers_is_followed_through_a_switch(service: Service) -> None:
    one = subprocess.Popen(
        [*PUSHLIVE, "logs", "hello", "dev", "-f"], env=service.environ, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    lines: list[str] = []
    assert one.stdout is not None
    reader = threading.Thread(target=lambda: lines.extend(iter(one.stdout.readline, "")))
    reader.start()
    until(lambda: {"1 | begins one •••\n", "2 | begins one •••\n"} <= set(lines))
    service.push(talking("two"), "Two")
    until(lambda: "1 | begins two •••\n" in lines and "2 | begins two •••\n" in lines, 20)
    one.send_signal(signal.SIGINT)
    assert one.wait(20) == 0
    reader.join(10)
    one.stdout.close()
    assert SECRET not in "".join(lines)
    done = service.pushlive("logs", "hello", "dev", "--since", "1h", "--process", "web")
    assert "1 | begins two •••" in done.out.splitlines()
    refused = service.pushlive("logs", "hello", "dev", "--process", "worker", code=4)
    assert "It runs: web." in refused.err


def test_files_come_out_as_they_are(service: Service, tmp_path: Path) -> None:
    made = "mkdir -p /tmp/out/in && printf 'one %s' \"$TOKEN\" > /tmp/out/in/file"
    service.pushlive("exec", "hello", "dev", "--", "sh", "-c", f"{made}; rm /bin/tar")
    service.pushlive("cp", "hello", "dev:/tmp/out/in/file", "./file", cwd=tmp_path)
    assert (tmp_path / "file").read_text() == f"one {SECRET}"
    service.pushlive("cp", "hello", "dev:/tmp/out", str(tmp_path / "folder"))
    assert (tmp_path / "folder/in/file").exists()
    assert (
        "file exists"
        in service.pushlive("cp", "hello", "dev:/tmp/out/in/file", "file", code=3, cwd=tmp_path).err
    )
    done = service.pushlive("cp", "hello", "dev:/no/such/file", "./other", code=4, cwd=tmp_path)
    assert "there is no /no/such/file in " in done.err
    done = service.pushlive("cp", "hello", "dev:/tmp/out", "./nosuchdir/x", code=3, cwd=tmp_path)
    assert "nosuchdir is not a folder here" in done.err
    assert not (tmp_path / "nosuchdir").exists()
    assert [one.name for one in tmp_path.iterdir() if one.name.startswith(".")] == []


def test_what_containers_use_and_where_they_are(service: Service) -> None:
    used = json.loads(service.pushlive("stats", "hello", "dev", "--json").out)["containers"]
    assert [one["limit"] for one in used] == [128 << 20, 128 << 20]
    assert all(0 < one["memory"] < 128 << 20 for one in used)
    assert "128 MiB" in service.pushlive("stats", "hello", "dev").out
    assert service.pushlive("open", "hello", "dev").out.strip() == service.environments()["dev"]["url"]


def test_who_did_what_is_recorded_and_the_last_environment_is_a_maintainers(service: Service) -> None:
    token = service.ask("POST", "/api/tokens", {"name": "dora", "role": "developer"})["token"]
    done = service.pushlive("run", "hello", "dev", "--", "echo", "\x1b[2J", SECRET, PUSHLIVE_TOKEN=token)
    assert done.code == 0
    for words in (
        ["run", "hello", "live", "--", "id"],
        ["exec", "hello", "live"],
        ["cp", "hello", "live:/www", "w"],
    ):
        refused = service.pushlive(*words, code=6, PUSHLIVE_TOKEN=token)
        assert "only a maintainer may" in refused.err
    until(lambda: acts_of(service)[0]["act"] == "run ended", 15)
    ended, newest = acts_of(service)[:2]
    assert ended["after"].startswith("exit code 0 after ")
    assert ", image sha256:" in ended["before"]
    assert (newest["who"], newest["act"], newest["environment"]) == ("dora", "run", "dev")
    assert newest["detail"] == "echo '\\x1b[2J' •••"


def acts_of(service: Service) -> list[dict[str, Any]]:
    """Entries of the audit log, newest first."""
    found: list[dict[str, Any]] = service.ask("GET", "/api/audit?pipeline=hello&limit=2")["entries"]
    return found


def test_too_many_at_once_are_refused_and_the_rest_goes_on(service: Service) -> None:
    many = [
        subprocess.Popen(
            [*PUSHLIVE, "exec", "hello", "dev", "--", "sleep", "1000"], env=service.environ,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for _ in range(16)
    ]  # fmt: skip
    until(lambda: sum(one.poll() is not None for one in many) >= 4, 60)
    service.pushlive("status")
    refused = [one for one in many if one.poll() is not None]
    assert {one.returncode for one in refused} == {5}
    for one in many:
        one.send_signal(signal.SIGINT)
        one.communicate(timeout=30)


@pytest.mark.parametrize("environment", ["dev", "live"])  # two replicas, and a single one
def test_a_restart_loses_no_request(service: Service, environment: str) -> None:
    url = service.environments()[environment]["url"]
    before = begun(service, environment)
    codes: list[int] = []
    over = threading.Event()

    def ask() -> None:
        while not over.is_set():
            codes.append(get(url + "/")[0])

    askers = [threading.Thread(target=ask) for _ in range(3)]
    for one in askers:
        one.start()
    try:
        done = service.pushlive("restart", "hello", environment)
    finally:
        over.set()
        for one in askers:
            one.join()
    assert set(codes) == {200}
    after = begun(service, environment)
    assert before.keys() == after.keys()
    assert all(after[one] > before[one] for one in before)
    assert done.out.count("was restarted") == len(before)
    assert not sessions(service)


def test_the_guides_commands_work_as_they_are_written(service: Service, tmp_path: Path) -> None:
    page = (ROOT / "docs" / "guides" / "tools.md").read_text()
    commands = page.partition("```\n")[2].partition("```")[0].splitlines()
    assert len(commands) == 7
    for one in commands:
        service.pushlive(*shlex.split(one)[1:], cwd=tmp_path)
    assert (tmp_path / "index.html").read_text() == "two\n"


def begun(service: Service, environment: str) -> dict[str, str]:
    """When each container that serves was started."""
    release = str(service.releases()[environment])
    found = service.containers(environment=environment, release=release)
    return {one["Id"]: one["State"]["StartedAt"] for one in found}


def test_a_dead_service_leaves_nothing_that_runs(service: Service) -> None:
    one = subprocess.Popen(
        [*PUSHLIVE, "run", "hello", "dev", "--", "sh", "-c", "echo here; exec sleep 1000"],
        env=service.environ, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert one.stdout is not None
    assert one.stdout.readline() == b"here\n"
    service.kill()
    _, said = one.communicate(timeout=20)
    assert one.returncode == 5
    assert b"the command was ended" in said or b"cannot reach" in said
    assert sessions(service)
    service.up()
    until(lambda: not sessions(service), 30)


def test_environments_are_side_by_side_and_a_change_by_hand_is_named_until_it_is_taken_back(
    service: Service,
) -> None:
    def kinds() -> dict[str, str]:
        rows = json.loads(service.pushlive("parity", "hello", "--json").out)["rows"]
        return {row["name"]: row["kind"] for row in rows if row["kind"] != "same"}

    def problem() -> str:
        return str(service.environments()["dev"]["problem"])

    assert kinds() == {"replicas": "undeclared"}
    lines = service.pushlive("parity", "hello").out.splitlines()
    assert "properties are the same in both environments" in lines[0]
    assert ["replicas", "2", "1", "undeclared"] in [line.split() for line in lines]
    every = service.pushlive("parity", "hello", "--all").out
    assert "env.GREETING" in every
    assert SECRET not in every

    [first, _] = sorted(one["Name"].strip("/") for one in service.containers(environment="dev"))
    command = ["docker", "update", "--memory=64m", "--memory-swap=64m", first]
    subprocess.run(command, check=True, capture_output=True)
    assert kinds() == {"replicas": "undeclared", "memory": "undeclared"}, "with the next look"
    out = service.pushlive("parity", "hello").out
    assert f"dev, by hand: {first}: memory: 128 MiB → 64 MiB (20" in out
    until(lambda: "memory: 128 MiB → 64 MiB" in problem(), 60)
    assert "`pushlive doctor --fix` reverts it" in problem()
    assert "memory: 128 MiB → 64 MiB" in service.pushlive("status", "hello").out
    assert "memory: 128 MiB → 64 MiB" in service.pushlive("doctor", code=None).out
    fixed = service.pushlive("doctor", "--fix", code=None).text
    assert f"the changes were reverted: {first}: memory: 64 MiB → 128 MiB" in fixed
    assert kinds() == {"replicas": "undeclared"}
    until(lambda: not problem(), 60)
