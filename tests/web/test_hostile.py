"""What a stranger, or a person who may push, can send to the real server and the real git."""

from __future__ import annotations

import contextlib
import gzip
import http.client
import os
import resource
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.web.test_server import DEVELOPER, VIEWER, Service, git, remotes, serving, until
from webhooks.security.intake import STREAMS_BY_TOKEN


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with serving(tmp_path_factory.mktemp("hostile"), pace=0.01) as running:
        yield running


@pytest.fixture
def work(tmp_path: Path) -> Path:
    git("init", "-q", "-b", "main", cwd=tmp_path)
    git("commit", "-q", "--allow-empty", "-m", os.urandom(8).hex(), cwd=tmp_path)
    return tmp_path


def ask(service: Service, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, bytes]:
    """Sends the path as it is; other clients would normalise it."""
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=30)
    try:
        connection.putrequest(method, path, skip_host="Host" in headers, skip_accept_encoding=True)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            connection.putheader(name.replace("_", "-"), value)
        connection.endheaders(body)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


BASIC = "Basic " + __import__("base64").b64encode(f"me:{DEVELOPER}".encode()).decode()
REFS = "/git/hello.git/info/refs?service=git-upload-pack"
PATHS = [
    "/git/../../../../etc/passwd", "/git/%2e%2e%2f%2e%2e%2fetc/info/refs?service=git-upload-pack",
    "/git/hello.git/config", "/git/hello.git/HEAD", "/git/hello.git/objects/info/packs",
    "/git/hello.git/../hello.git/info/refs?service=git-upload-pack", "/git/hello.git/info/refs",
    "/git/hello.git/info/refs?service=git-upload-archive", "/git/hello.git/info/refs?service=--upload-pack=x",
    "/git/-hello.git/info/refs?service=git-upload-pack", "/git/hello.git%00/info/refs?service=git-upload-pack",
    "/git/hello.git%0d%0aX:y/info/refs?service=git-upload-pack",
    "/git/" + "a" * 3000 + "/info/refs?service=git-upload-pack",
    "/static/../app.py", "/static/%2e%2e/app.py", "/static/..%2f..%2fpyproject.toml", "/static//etc/passwd",
    "/runs/..%2f..%2f/1/log", "/runs/hello/..%2f..%2fweb.key", "/api/runs/hello/%2e%2e/log", "/hooks/../api/status",
    "//evil.example/", "/\\\\evil.example", "/%00", "/internal/post-receive", "http://evil.example/api/status",
]  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
def test_fault_15_no_path_leaves_the_served_folders(service, path):
    status, body = ask(service, "GET", path, Authorization=BASIC)
    assert 300 <= status < 500, (status, body[:200])
    for secret in (b"root:", b"[core]", b"import ", b"[project]", b"ref: refs"):
        assert secret not in body


def test_fault_47_a_path_cannot_forge_lines_of_the_log(service):
    forged = "/api/pipelines/%0a%1b[2J2026-01-01%2000:00:00,000%20pushlive.web:%20all%20is%20well/output"
    service.process.send_signal(signal.SIGUSR1)
    until(lambda: service.get("/healthz")[0] == 503)
    assert ask(service, "GET", forged, Authorization=f"Bearer {VIEWER}")[0] == 503
    service.process.send_signal(signal.SIGUSR1)
    until(lambda: service.get("/healthz")[0] == 200)
    lines = service.log().split("\n")
    assert any("\\n\\x1b[2J2026-01-01" in line for line in lines)
    assert not any(line.startswith("2026-01-01") for line in lines)


@pytest.mark.parametrize("path", ["/", "/api/status", "/static/pushlive.css", REFS])
@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("Authorization", "Basic bWU6\xa5", 400),
        ("Host", ".localhost", 421),
        ("Host", "a" * 70, 421),
        ("Host", "a/b", 421),
    ],
)
def test_fault_04_a_header_that_cannot_be_read_is_refused(service, path, name, value, wanted):
    assert ask(service, "GET", path, **{name: value})[0] == wanted


def test_fault_15_a_request_line_of_any_length_is_limited(service):
    for path in ("/" + "a" * 100_000, "/?" + "b=c&" * 30_000):
        with contextlib.suppress(ConnectionError):
            assert 400 <= ask(service, "GET", path)[0] < 500
    with contextlib.suppress(ConnectionError):
        assert 400 <= ask(service, "GET", "/", X_A="a" * 100_000)[0] < 500
    assert service.get("/healthz")[0] == 200


@pytest.mark.parametrize(
    "ref", ["pushlive/r1", "mirrored/main", "replace/COMMIT", "notes/x", "remotes/origin/main"]
)
def test_fault_16_only_branches_and_tags_can_be_pushed(service, work, ref):
    """A commit that replaces itself would make git refuse every later push."""
    url = service.url("/git/hello.git", DEVELOPER)
    ref = ref.replace("COMMIT", git("rev-parse", "HEAD", cwd=work).stdout.strip())
    refused = git("push", "-f", url, "main", f"main:refs/{ref}", cwd=work, check=False)
    assert refused.returncode != 0
    assert "hidden ref" in refused.stderr
    repository = service.data / "repositories" / "hello.git"
    assert ref not in git("-C", str(repository), "for-each-ref", cwd=work).stdout
    git("commit", "-q", "--allow-empty", "-m", "the next", cwd=work)
    assert remotes(git("push", "-f", url, "main", cwd=work).stderr)[-1].startswith("To revert")


def test_fault_16_a_repository_with_a_replaced_commit_takes_pushes(service, work):
    """An earlier version took such refs."""
    url = service.url("/git/hello.git", DEVELOPER)
    git("push", "-qf", url, "main", cwd=work)
    head = git("rev-parse", "HEAD", cwd=work).stdout.strip()
    repository = str(service.data / "repositories" / "hello.git")
    git("--no-replace-objects", "-C", repository, "update-ref", f"refs/replace/{head}", head, cwd=work)
    try:
        git("commit", "-q", "--allow-empty", "-m", "the next", cwd=work)
        assert remotes(git("push", url, "main", cwd=work).stderr)[-1].startswith("To revert")
        git("--no-replace-objects", "-C", repository, "update-ref", "refs/pushlive/r1", head, cwd=work)
        shown = git("ls-remote", url, cwd=work).stdout.split()[1::2]
        assert "refs/heads/main" in shown
        assert not [ref for ref in shown if not ref.startswith(("HEAD", "refs/heads/", "refs/tags/"))]
    finally:
        git("--no-replace-objects", "-C", repository, "update-ref", "-d", f"refs/replace/{head}", cwd=work)


def test_fault_16_a_push_that_unpacks_to_much_more_takes_little_memory(service, work):
    """300 MiB of zeros are 300 KiB on their way."""
    with (work / "zeros").open("wb") as file:
        file.truncate(300 << 20)
    git("add", ".", cwd=work)
    git("commit", "-qm", "zeros", cwd=work)
    peaks: dict[str, int] = {}  # MiB by command
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.01):
            for process in service.processes():
                with contextlib.suppress(OSError, StopIteration):
                    lines = (process / "status").read_text().splitlines()
                    peak = next(line for line in lines if line.startswith("VmHWM"))
                    command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                    peaks[command] = int(peak.split()[1]) >> 10

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        git("push", "-qf", service.url("/git/hello.git", DEVELOPER), "main", cwd=work)
    finally:
        over.set()
        watching.join()
    assert peaks, "git was never seen at work"
    assert max(peaks.values()) < 100, peaks


def test_fault_15_a_ref_with_a_line_separator_does_not_hide_others(service, work):
    """U+2028 and U+0085 are allowed in a ref, and some parsers treat them as line ends."""
    url = service.url("/git/hello.git", DEVELOPER)
    told = git("push", "-f", url, "main:refs/heads/a\u2028b", "main:refs/heads/c\x85d", "main", cwd=work)
    assert remotes(told.stderr)[-1].startswith("To revert")


NAMES = [
    "ümlaut-🚀", "a" * 200, "a/b/c/d/e", "x;touch${IFS}pwned", "$(touch${IFS}pwned)", "`id`", "a'b\"c", "<script>",
    "é" * 60,
]  # fmt: skip


def test_fault_15_odd_branch_names_are_kept_and_harmless(service, work):
    url = service.url("/git/hello.git", DEVELOPER)
    told = git("push", "-f", url, *(f"main:refs/heads/odd/{name}" for name in NAMES), cwd=work)
    assert "stored but not deployed" in told.stderr
    assert not list(service.data.rglob("pwned"))
    assert not (work / "pwned").exists()
    git("push", url, *(f":refs/heads/odd/{name}" for name in NAMES), cwd=work)


def test_fault_09_two_thousand_refs_in_one_push_are_summed_up(service, work):
    head = git("rev-parse", "HEAD", cwd=work).stdout.strip()
    packed = "# pack-refs with: peeled fully-peeled sorted\n"
    packed += "".join(f"{head} refs/heads/many/{number:05}\n" for number in range(2_000))
    (work / ".git" / "packed-refs").write_text(packed)
    url = service.url("/git/hello.git", DEVELOPER)
    told = git("push", "-qf", url, "refs/heads/many/*:refs/heads/many/*", "main", cwd=work)
    lines = remotes(told.stderr)
    assert any("and 1995 more refs that are not deployed" in line for line in lines)
    assert lines[-1].startswith("To revert")
    assert len(lines) < 100
    until(lambda: service.children() == [])


def test_fault_07_the_deployed_branch_may_be_deleted_and_comes_back(service, work):
    url = service.url("/git/hello.git", DEVELOPER)
    git("push", "-qf", url, "main", cwd=work)
    repository = service.data / "repositories" / "hello.git"
    git(
        "-C", str(repository), "config", "receive.denyDeleteCurrent", "ignore", cwd=work
    )  # as init_repository sets it
    told = git("push", url, ":main", cwd=work)
    assert "refs/heads/main was deleted; there is nothing to deploy." in remotes(told.stderr)
    assert remotes(git("push", url, "main", cwd=work).stderr)[-1].startswith("To revert")


def test_fault_16_push_options_are_not_obeyed(service, work):
    url = service.url("/git/hello.git", DEVELOPER)
    repository = service.data / "repositories"
    git("push", "-qf", url, "main", cwd=work)
    git("-C", str(repository / "hello.git"), "config", "receive.advertisePushOptions", "true", cwd=work)
    git("commit", "-q", "--allow-empty", "-m", "x", cwd=work)
    told = git("push", "-o", "--exec=touch pwned", "-o", "$(touch pwned)", "-f", url, "main", cwd=work)
    assert remotes(told.stderr)[-1].startswith("To revert")
    assert not list(service.data.rglob("pwned"))


def test_fault_17_a_blob_that_expands_uses_no_memory_of_the_service(service, work):
    """300 MB of zeros are 300 kB in a pack: they pass the limit of a push and are refused before a build."""
    with (work / "zeros").open("wb") as file:
        file.truncate(300 << 20)
    git("add", ".", cwd=work)
    git("commit", "-qm", "bomb", cwd=work)
    before = memory(service.process.pid)
    told = git("push", "-f", service.url("/git/hello.git", DEVELOPER), "main:bomb", cwd=work, check=False)
    assert told.returncode == 0, told.stderr
    assert memory(service.process.pid) - before < 50 << 20
    assert service.get("/healthz")[0] == 200
    until(lambda: service.children() == [])


def memory(pid: int) -> int:
    """Resident bytes of the server and its worker, without git's own processes."""
    pids = [pid, *map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]
    texts = (Path(f"/proc/{one}/status").read_text() for one in pids)
    return sum(int(text.partition("VmRSS:")[2].split()[0]) << 10 for text in texts)


GARBAGE = {
    "nothing": b"", "text": b"hello", "flush": b"0000", "long": b"ffff" + b"x" * 70_000, "nul": b"\0" * 5000,
    "option": b"0032" + b"0" * 40 + b" " + b"a" * 5,
    "no pack": b"00a4" + b"0" * 40 + b" " + b"a" * 40 + b" refs/heads/main\0 report-status"
    + b" " * 49 + b"0000PACKjunk",
}  # fmt: skip


@pytest.mark.parametrize("body", GARBAGE.values(), ids=GARBAGE)
@pytest.mark.parametrize("kind", ["upload", "receive"])
def test_fault_04_a_request_that_is_not_git_is_answered_and_leaves_nothing(service, work, body, kind):
    git("push", "-qf", service.url("/git/hello.git", DEVELOPER), "main", cwd=work)
    headers = {"Content_Type": f"application/x-git-{kind}-pack-request", "Authorization": BASIC}
    status, _ = ask(service, "POST", f"/git/hello.git/git-{kind}-pack", body, **headers)
    assert status < 500
    assert service.get("/healthz")[0] == 200
    until(lambda: service.children() == [])
    heads = git("ls-remote", service.url("/git/hello.git", VIEWER), "refs/heads/main", cwd=work).stdout
    assert heads.startswith(git("rev-parse", "HEAD", cwd=work).stdout.strip())


def test_fault_02_a_compressed_body_that_expands_is_limited(service, work):
    git("push", "-qf", service.url("/git/hello.git", DEVELOPER), "main", cwd=work)
    bomb = gzip.compress(b"0009done\n" + b"0000" * (50 << 18), 9)
    headers = {"Content_Type": "application/x-git-upload-pack-request", "Content_Encoding": "gzip"}
    before = memory(service.process.pid)
    ask(service, "POST", "/git/hello.git/git-upload-pack", bomb, Authorization=BASIC, **headers)
    assert memory(service.process.pid) - before < 50 << 20
    until(lambda: service.children() == [])


@pytest.mark.parametrize(
    ("length", "sent"),
    [("Transfer-Encoding: chunked", b"no chunk\r\n"), ("Content-Length: 100", b"half")],
    ids=["chunked", "cut-off"],
)
def test_fault_04_a_streamed_body_that_breaks_off_is_refused(
    service: Service, length: str, sent: bytes
) -> None:
    path = "/api/volumes/hello/live/files/files"
    lines = [
        f"PUT {path} HTTP/1.1",
        "Host: localhost",
        "Authorization: Bearer maintainer-token",
        length,
        "",
        "",
    ]
    with socket.create_connection(("127.0.0.1", service.port), timeout=20) as connection:
        connection.sendall("\r\n".join(lines).encode() + sent)
        connection.shutdown(socket.SHUT_WR)
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        body = answer.read()
    assert (answer.status, b"did not arrive" in body) == (408, True), body


def test_streams_are_limited_and_other_requests_are_served(tmp_path):
    """A token can occupy a limited number of threads; the others serve everyone else."""
    with serving(tmp_path, pace=30) as service:
        service.get("/api/pipelines/hello/deploy", b"{}")
        line = "GET /api/runs/hello/latest/events HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n\r\n"
        held = []
        try:
            for token in (*[VIEWER] * STREAMS_BY_TOKEN, DEVELOPER):
                held.append(service.connect())
                held[-1].sendall(line.format(token).encode())
                assert held[-1].recv(12) == b"HTTP/1.1 200"
            refused = service.connect()
            held.append(refused)
            refused.sendall(line.format(VIEWER).encode())
            answer = refused.recv(4096)
            assert answer.startswith(b"HTTP/1.1 503")
            assert b"Retry-After" in answer
            assert service.get("/healthz")[0] == 200
            assert service.get("/api/status")[0] == 200
        finally:
            for sock in held:
                sock.close()


def test_many_silent_connections_block_no_one(tmp_path):
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    with serving(tmp_path) as service:
        held = [service.connect() for _ in range(min(600, limit - 100))]
        try:
            assert service.get("/healthz")[0] == 200
        finally:
            for sock in held:
                sock.close()
