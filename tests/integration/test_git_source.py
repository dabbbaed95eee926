"""GitSource with the real git: remotes on disk, on a web server, and on servers that misbehave."""

import hashlib
import http.server
import io
import itertools
import os
import re
import socket
import subprocess
import tarfile
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipeline.adapters.git.bundle import load_bundle, save_bundle
from pipeline.adapters.git.source import GitSource, heads, init_repository
from pipeline.config.models import Source
from pipeline.config.settings import load
from pipeline.errors import EngineFailed, NotFound, RepositoryFailed, RequestError, TimedOut
from pipeline.ports.clock import Deadline, SystemClock
from tests.support.dripping import Says, dripping
from tests.support.waiting import PATIENCE

CLOCK = SystemClock()
ME = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org", "-c", "protocol.file.allow=always")


def git(where, *arguments, **kwargs):
    environment = {**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1"}
    done = subprocess.run(
        ["git", "-C", str(where), *ME, *arguments], capture_output=True, check=True, env=environment, **kwargs
    )
    return done.stdout.decode().strip()


class World:
    """A repository on the built-in server, a work tree that pushes to it, and sources."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bare = folder / "git" / "hello.git"
        init_repository(self.bare)
        self.work = folder / "work"
        self.work.mkdir()
        git(self.work, "init", "-q", "-b", "main")
        self.source = GitSource(folder / "git", folder / "mirrors", CLOCK, (f"file://{folder}", "127.0.0.1"))
        self.here = Source(repository="hello")
        self.away = Source(url=f"file://{self.bare}")

    def commit(self, message="change", branch="main", **files):
        for name, content in files.items():
            path = self.work / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        git(self.work, "add", "-A")
        git(self.work, "commit", "-q", "--allow-empty", "-F", "-", input=message.encode())
        git(self.work, "push", "-q", "-f", str(self.bare), f"HEAD:refs/heads/{branch}")
        return git(self.work, "rev-parse", "HEAD")

    def fetch(self, source, seconds=20.0):
        return self.source.fetch("hello", source, Deadline(CLOCK, seconds, "The fetch"))

    def left_running(self):
        found = []
        for process in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                command = process.read_bytes()
            except OSError:
                continue
            if str(self.folder).encode() in command and b"git" in command:
                found.append(command)
        return found


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


@contextmanager
def served(handler):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def answering(status, **headers):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    return Handler


def with_equal_digits(parent: str, count: int = 7) -> tuple[bytes, bytes]:
    """Two commits as git stores them, whose ids begin with the same digits."""
    tree, seen = "4b825dc642cb6eb9a060e54bf8d69288fbee4904", {}
    for number in itertools.count():
        body = (
            f"tree {tree}\nparent {parent}\nauthor A <a@b> 1 +0000\ncommitter A <a@b> 1 +0000\n\n{number}\n"
        ).encode()
        id_ = hashlib.sha1(b"commit %d\0" % len(body) + body, usedforsecurity=False).hexdigest()
        other = seen.setdefault(id_[:count], body)
        if other != body:
            return other, body
    raise AssertionError


def test_a_branch_or_tag_that_is_called_like_a_short_id_is_not_meant(world):
    wanted = world.commit("wanted", a=b"1")
    other = world.commit("other", a=b"2")
    for folder in ("heads", "tags"):
        git(world.bare, "update-ref", f"refs/{folder}/{wanted[:7]}", other)
    git(world.bare, "update-ref", f"refs/heads/{wanted}", other)
    for digits in (wanted[:7], wanted[:12], wanted):
        found = world.source.commit("hello", world.here, digits)
        assert (found.id, found.message) == (wanted, "wanted")
    assert world.source.read("hello", world.here, wanted, "a") == b"1"
    with world.source.archive("hello", world.here, wanted, ".") as stream:
        assert unpack(stream.read(), world.folder / "unpacked")["a"][-1] == b"1"


def test_a_name_alone_is_no_commit_and_the_message_says_so(world):
    head = world.commit("first", a=b"1")
    git(world.bare, "update-ref", "refs/heads/abcdef0", head)
    git(world.bare, "update-ref", "refs/tags/abcdef1", head)
    for name, kind in (("abcdef0", "branch"), ("abcdef1", "tag")):
        with pytest.raises(
            NotFound, match=f"commit {name} is not in the repository hello. There is a {kind} of that"
        ):
            world.source.commit("hello", world.here, name)
    for name in ("main", "HEAD", "abcdef", "refs/heads/main", "HEAD~1", head[:7] + "^", head.upper()):
        with pytest.raises(NotFound, match="is not a commit id"):
            world.source.commit("hello", world.here, name)
    for act in (world.source.tree, world.source.read):
        with pytest.raises(NotFound, match="not a whole commit id"):
            act("hello", world.here, head[:12], ".")
    with pytest.raises(NotFound, match="not a whole commit id"):
        world.source.keep("hello", world.here, head[:12], "r1")


def test_what_is_no_commit_is_not_found_and_a_short_id_must_be_unique(world):
    head = world.commit("first", a=b"1")
    git(world.work, "tag", "-a", "v1", "-m", "v1")
    git(world.work, "push", "-q", str(world.bare), "v1")
    tag = git(world.work, "rev-parse", "v1")
    tree = git(world.work, "rev-parse", "HEAD^{tree}")
    for digits in (tag, tag[:9], tree, tree[:9], head + "0" * 24, head + "0"):
        with pytest.raises(NotFound, match="is not in the repository"):
            world.source.commit("hello", world.here, digits)
    one, two = (
        git(world.bare, "hash-object", "-t", "commit", "-w", "--stdin", input=body)
        for body in with_equal_digits(head)
    )
    with pytest.raises(RequestError) as error:
        world.source.commit("hello", world.here, one[:7])
    assert f"2 commits in the repository hello have ids that begin with {one[:7]}" in str(error.value)
    assert one in str(error.value)
    assert two in str(error.value)
    assert world.source.commit("hello", world.here, one).id == one


@pytest.mark.parametrize("kind", ["here", "away"])
def test_a_commit_is_fetched_and_read(world, kind):
    source = getattr(world, kind)
    first = world.commit("first\n\nbody", **{"Dockerfile": b"FROM x\n", "app/main.py": b"1\n"})
    assert world.fetch(source) == world.fetch(source) == first
    second = world.commit("second", **{"app/main.py": b"2\n"})
    assert world.fetch(source) == second
    git_source = world.source
    found = git_source.commit("hello", source, first)
    assert (found.id, found.message, found.author) == (first, "first", "Ada")
    assert git_source.commit("hello", source, first[:8]).id == first
    assert git_source.tree("hello", source, second, ".") == git(world.work, "rev-parse", "HEAD^{tree}")
    assert git_source.tree("hello", source, second, "./app/") == git(world.work, "rev-parse", "HEAD:app")
    assert git_source.read("hello", source, first, "app/main.py") == b"1\n"
    assert git_source.read("hello", source, second, "./app/main.py") == b"2\n"
    assert git_source.read("hello", source, first, "nothing") is None
    assert git_source.read("hello", source, first, "app") is None
    assert git_source.unsupported("hello", source, second, ".") == ""
    git_source.keep("hello", source, first, "r1")
    git_source.keep("hello", source, first, "r1")


def test_a_mirror_that_is_forgotten_is_gone_and_fetched_anew(world):
    commit, mirrors = world.commit(), world.folder / "mirrors"
    for _ in range(2):
        assert world.fetch(world.away) == commit
        assert (mirrors / "hello.git").is_dir()
        world.source.forget("hello")
        assert not (mirrors / "hello.git").exists()
    world.source.forget("hello")
    assert world.fetch(world.here) == commit  # what was pushed here is no mirror


def test_a_forced_push_to_an_older_commit_is_the_new_head(world):
    first = world.commit("first", a=b"1")
    world.commit("second", a=b"2")
    world.fetch(world.away)
    git(world.work, "push", "-q", "-f", str(world.bare), f"{first}:refs/heads/main")
    assert world.fetch(world.away) == world.fetch(world.here) == first
    assert heads(world.bare) == {"main": first}


def test_kept_commits_survive_gits_garbage_collection(world):
    first = world.commit("first", a=b"1")
    world.fetch(world.here)
    world.source.keep("hello", world.here, first, "run-1")
    git(world.work, "checkout", "-q", "--orphan", "other")
    world.commit("other", b=b"2")
    git(world.bare, "gc", "-q", "--prune=now")
    assert world.source.commit("hello", world.here, first).message == "first"


def test_missing_repositories_branches_and_commits_are_named(world):
    commit = world.commit(a=b"1")
    for source in (world.here, world.away):
        with pytest.raises(RequestError, match="no branch 'other'"):
            world.fetch(source.model_copy(update={"branch": "other"}))
    with pytest.raises(NotFound):
        world.source.commit("hello", world.here, "0" * 40)
    with pytest.raises(NotFound):
        world.source.commit("hello", world.here, "--all")
    with pytest.raises(NotFound):
        world.source.keep("hello", world.here, "0" * 40, "r1")
    with pytest.raises(RequestError, match="folder 'nope'"):
        world.source.tree("hello", world.here, commit, "nope")
    with pytest.raises(NotFound, match="'elsewhere'"):
        world.fetch(Source(repository="elsewhere"))
    for name in ("../hello", "a/b", "-x"):
        with pytest.raises(RequestError):
            world.fetch(Source.model_construct(repository=name, url="", branch="main"))
    for path in ("../x", "/etc/passwd", "a/../../b"):
        with pytest.raises(RequestError, match="leads out"):
            world.source.read("hello", world.here, commit, path)


def test_fault_13_a_branch_like_an_option_is_refused(world):
    world.commit(a=b"1")
    for source in (world.here, world.away):
        with pytest.raises(RequestError, match="option"):
            world.fetch(source.model_copy(update={"branch": f"--upload-pack=touch {world.folder}/pwned"}))
    assert not (world.folder / "pwned").exists()


def test_fault_15_branches_that_exclude_each_other_as_files_are_fetched(world):
    for branch in ("a", "b/c", "🚀/ü", "x" * 230):
        commit = world.commit(branch, branch=branch)
        assert world.fetch(world.away.model_copy(update={"branch": branch})) == commit
    git(world.bare, "update-ref", "-d", "refs/heads/a")
    commit = world.commit("below", branch="a/b")
    assert world.fetch(world.away.model_copy(update={"branch": "a/b"})) == commit


def test_messages_are_one_clean_line(world):
    commit = world.commit("evil \x1b[31mred\x07\u202e\t" + "x" * 500)
    message = world.source.commit("hello", world.here, commit).message
    assert message.startswith("evil red x")
    assert len(message) == 200
    assert message.isprintable()


def unpack(data, where):
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        archive.extractall(where, filter="fully_trusted")  # noqa: S202
    return listing(where)


def listing(where):
    found = {}
    for path in sorted(where.rglob("*")):
        name = str(path.relative_to(where))
        if name.split("/")[0] == ".git":
            continue
        if path.is_symlink():
            found[name] = path.readlink()
        else:
            found[name] = (path.stat().st_mode & 0o777, path.read_bytes() if path.is_file() else None)
    return found


@pytest.mark.parametrize("kind", ["here", "away"])
@pytest.mark.parametrize("folder", [".", "sub", "sub/deep"])
def test_an_archive_equals_a_checkout(world, kind, folder):
    attributes = b"[attr]private export-ignore\n*.key private\nsub export-ignore\n*.txt export-subst\n"
    attributes += b"*.bat text eol=crlf\n/sub/anchored.sh text eol=crlf\n"
    (world.work / "sub").mkdir()
    (world.work / "sub" / "link").symlink_to("../../../../etc/passwd")
    (world.work / "sub" / "run.sh").write_bytes(b"#!/bin/sh\n")
    (world.work / "sub" / "run.sh").chmod(0o755)
    (world.work / ".gitattributes").write_bytes(attributes)
    commit = world.commit(**{
        "a.txt": b"$Format:%H$\n", "b.key": b"k\n", "sub/x.bat": b"1\n2\n", "sub/anchored.sh": b"1\n",
        "top.bat": b"1\n",
        "sub/.gitattributes": b"c.md export-ignore\n", "sub/c.md": b"c\n", "sub/deep/ü.bat": b"1\n",
        "sub/deep/" + "n" * 120 + "/" + "m" * 120: b"long\n",
    })  # fmt: skip
    world.fetch(getattr(world, kind))
    with world.source.archive("hello", getattr(world, kind), commit, folder) as stream:
        archived = unpack(stream.read(), world.folder / "unpacked")
    checkout = world.folder / "checkout"
    git(world.folder, "clone", "-q", str(world.bare), str(checkout))
    assert archived == listing(checkout / folder)
    assert archived
    assert world.left_running() == []


def test_an_archive_that_is_not_read_to_its_end_leaves_no_process(world):
    commit = world.commit(big=os.urandom(8 << 20))
    with world.source.archive("hello", world.here, commit, ".") as stream:
        assert len(stream.read(1000)) == 1000
    with pytest.raises(ZeroDivisionError), world.source.archive("hello", world.here, commit, "."):
        _ = 1 / 0
    assert world.left_running() == []


def test_an_archive_that_git_could_not_finish_is_an_error(world):
    commit = world.commit(a=b"1")
    with (
        pytest.raises(EngineFailed, match=r"git exited with status 128"),
        world.source.archive("hello", world.here, commit[::-1], ".") as stream,
    ):
        assert stream.read() == b""


def test_fault_16_symbolic_links_are_not_followed(world):
    (world.work / "Dockerfile").symlink_to("/etc/passwd")
    (world.work / "out").symlink_to("/etc")
    commit = world.commit()
    with pytest.raises(RequestError, match="symbolic link"):
        world.source.read("hello", world.here, commit, "Dockerfile")
    with pytest.raises(RequestError, match="symbolic link"):
        world.source.read("hello", world.here, commit, "out/passwd")
    with pytest.raises(RequestError):
        world.source.tree("hello", world.here, commit, "out")


def test_fault_16_submodules_are_refused(world):
    other = world.folder / "other"
    git(world.folder, "init", "-q", "-b", "main", str(other))
    git(other, "commit", "-q", "--allow-empty", "-m", "x")
    git(world.work, "submodule", "--quiet", "add", str(other), "vendor/other")
    commit = world.commit()
    for source in (world.here, world.away):
        world.fetch(source)
        assert "submodule" in world.source.unsupported("hello", source, commit, ".")


def test_fault_16_hooks_and_configuration_of_repositories_are_not_executed(world):
    commit = world.commit(a=b"1")
    world.fetch(world.away)
    second = world.commit(a=b"2")
    mark = world.folder / "pwned"
    for bare in (world.bare, world.folder / "mirrors" / "hello.git"):
        for name in ("reference-transaction", "post-checkout", "pre-auto-gc", "post-rewrite"):
            hook = bare / "hooks" / name
            hook.write_text(f"#!/bin/sh\ntouch {mark}\n")
            hook.chmod(0o755)
    for source in (world.here, world.away):
        assert world.fetch(source) == second
        world.source.keep("hello", source, commit, "r1")
    assert not mark.exists()


def test_fault_17_lfs_pointers_are_refused_and_unused_rules_are_not(world):
    commit = world.commit(**{".gitattributes": b"*.psd filter=lfs diff=lfs merge=lfs -text\n", "a": b"1"})
    assert world.source.unsupported("hello", world.here, commit, ".") == ""
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 12345\n"
    commit = world.commit(**{"x.psd": pointer})
    assert "'x.psd' is in Git LFS" in world.source.unsupported("hello", world.here, commit, ".")


def test_fault_17_a_repository_over_the_limit_is_refused(world):
    world.commit(big=os.urandom(3 << 20))
    small = GitSource(world.folder / "git", world.folder / "m2", CLOCK, (f"file://{world.folder}",), 1 << 20)
    with pytest.raises(RepositoryFailed, match=r"larger than the limit of 1 MiB"):
        small.fetch("hello", world.away, Deadline(CLOCK, 20))


def test_fault_17_a_large_file_is_not_read(world):
    commit = world.commit(Dockerfile=b"#" * ((1 << 20) + 1))
    with pytest.raises(RequestError, match="at most 1 MiB"):
        world.source.read("hello", world.here, commit, "Dockerfile")


def test_fault_17_a_hanging_remote_is_given_up_in_time(world):
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/x.git"
        began = time.monotonic()
        with pytest.raises(TimedOut):
            world.fetch(Source(url=url), seconds=0.5)
        assert time.monotonic() - began < 2.5 * PATIENCE
    assert world.left_running() == []


def line(text: bytes) -> bytes:
    """A packet of git's protocol."""
    return b"%04x%s" % (len(text) + 4, text)


ENDLESS = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-git-upload-pack-%s\r\nConnection: close\r\n\r\n"
HEADS = b"".join(
    [line(b"# service=git-upload-pack\n"), b"0000", line(b"1" * 40 + b" HEAD\0side-band-64k\n"),
     line(b"1" * 40 + b" refs/heads/main\n"), b"0000"]
)  # fmt: skip


def pack_drips(request: bytes) -> Says:
    if request.startswith(b"GET"):
        return ENDLESS % b"advertisement" + HEADS, b""
    return ENDLESS % b"result" + line(b"NAK\n"), line(b"\2.")


DRIPPING = {
    "head": lambda _: (b"HTTP/1.1 200 OK\r\nX: ", b"y"),
    "branches": lambda _: (ENDLESS % b"advertisement", b"0"),
    "pack": pack_drips,
}


@pytest.mark.parametrize("answer", DRIPPING.values(), ids=DRIPPING)
def test_fault_52_a_remote_that_drips_is_given_up_in_time(world, answer):
    with dripping(answer) as address:
        began = time.monotonic()
        with pytest.raises(TimedOut):
            world.fetch(Source(url=f"http://{address}/x.git"), seconds=0.5)
        assert time.monotonic() - began < 2.5 * PATIENCE
    assert world.left_running() == []


def test_fault_17_a_remote_that_asks_for_a_password_gets_no_prompt(world):
    handler = answering(401, WWW_Authenticate='Basic realm="x"')
    with served(handler) as url, pytest.raises(EngineFailed, match="requires a login"):
        world.fetch(Source(url=f"{url}/x.git"), seconds=5)


def test_fault_14_a_redirect_is_not_followed(world):
    asked = []

    class Target(answering(404)):
        def do_GET(self):
            asked.append(self.path)
            super().do_GET()

    with (
        served(Target) as target,
        served(answering(302, Location=f"{target}/info/refs?service=git-upload-pack")) as url,
        pytest.raises(EngineFailed, match="redirect"),
    ):
        world.fetch(Source(url=f"{url}/x.git"), seconds=5)
    assert asked == []


def test_no_process_list_shows_the_password_of_a_fetch_over_http(world):
    commit = world.commit(a=b"1")
    git(world.bare, "update-server-info")
    seen, listed = set(), []

    class Files(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments):
            super().__init__(*arguments, directory=str(world.folder / "git"))

        def do_GET(self):
            seen.add(self.headers["Authorization"])
            for process in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    listed.append(process.read_bytes())
                except OSError:
                    continue
            super().do_GET()

        def log_message(self, *_):
            pass

    with served(Files) as url:
        login = url.replace("http://", "http://ada:t0psecret@")
        (world.folder / "git-credentials").write_text(f"https://x:y@elsewhere\n{login}\n")
        assert world.fetch(Source(url=f"{url}/hello.git")) == commit
    assert seen == {"Basic YWRhOnQwcHNlY3JldA=="}
    assert listed
    assert not any(b"t0psecret" in command or b"YWRhOnQ" in command for command in listed)


def test_leftovers_of_a_killed_git_do_not_block(world):
    world.commit(a=b"1")
    world.fetch(world.away)
    mirror = world.folder / "mirrors" / "hello.git"
    for left in ("refs/mirrored/main.lock", "packed-refs.lock", "shallow.lock", "objects/pack/tmp_pack_x"):
        (mirror / left).write_bytes(b"")
    commit = world.commit(a=b"2")
    assert world.fetch(world.away) == commit
    assert not (mirror / "objects/pack/tmp_pack_x").exists()


def test_concurrent_fetches_wait_for_each_other(world):
    commit = world.commit(a=b"1")
    found = []
    threads = [threading.Thread(target=lambda: found.append(world.fetch(world.away))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [commit] * 4


def test_the_server_checks_what_is_pushed(world):
    assert git(world.bare, "config", "receive.fsckObjects") == "true"
    assert git(world.bare, "config", "receive.maxInputSize") == str(2 << 30)
    init_repository(world.bare)
    assert (world.bare / "HEAD").read_text() == "ref: refs/heads/main\n"


PEOPLE = (  # as a commit names its author, what fsck calls it
    (b"A <a@b> 1313584730 +051800", "badTimezone"),
    (b"A <a@b> 99999999999999999999 +0000", "badDateOverflow"),
    (b"A <a@b> 0123 +0000", "zeroPaddedDate"),
    (b"A <a@b> today +0000", "badDate"),
    (b"A <a@b>1 +0000", "missingSpaceBeforeDate"),
    (b"A<a@b> 1 +0000", "missingSpaceBeforeEmail"),
    (b"<a@b> 1 +0000", "missingNameBeforeEmail"),
    (b"A 1 +0000", "missingEmail"),
    (b"A > <a@b> 1 +0000", "badName"),
    (b"A <a <b> 1 +0000", "badEmail"),
)


def stored(world, kind: str, content: bytes) -> str:
    """The object as it is, without git's own checks."""
    return git(world.bare, "hash-object", "-t", kind, "-w", "--stdin", "--literally", input=content)


def committed(world, tree: str, author: bytes = b"A <a@b> 1 +0000") -> str:
    """Such a commit, and on it the branch's head."""
    head = b"tree %b\nauthor %b\ncommitter A <a@b> 1 +0000\n\nold\n" % (tree.encode(), author)
    old = stored(world, "commit", head)
    new = git(world.bare, "commit-tree", "-p", old, "-m", "new", tree)
    git(world.bare, "update-ref", "refs/heads/main", new)
    return old


@pytest.mark.parametrize(("author", "finding"), PEOPLE)
def test_an_old_commit_with_an_odd_author_or_date_is_fetched_read_and_restored(world, author, finding):
    world.commit(a=b"1")
    old = committed(world, git(world.bare, "rev-parse", "main^{tree}"), author)
    checked = subprocess.run(["git", "-C", str(world.bare), "fsck"], capture_output=True, text=True)
    assert finding in checked.stderr
    head = world.fetch(world.away)
    assert world.source.commit("hello", world.away, old).message == "old"
    with world.source.archive("hello", world.away, old, ".") as stream, reading(stream) as tar:
        assert tar.getnames()
    assert save_bundle(world.bare, world.folder / "b")
    load_bundle(world.folder / "b", world.folder / "again.git", push_limit=1 << 20)
    assert heads(world.folder / "again.git") == {"main": head}


def test_a_tree_that_would_harm_a_checkout_is_still_refused_unless_a_maintainer_says_so(world):
    world.commit(a=b"1")
    blob = bytes.fromhex(git(world.bare, "rev-parse", "main:a"))
    committed(world, stored(world, "tree", b"100644 .GIT\0" + blob))
    with pytest.raises(RepositoryFailed, match="git refuses an object of its history") as caught:
        world.fetch(world.away)
    name, _, value = re.search(r"(PUSHLIVE_\w+)=(\w+)", caught.value.advice)[0].partition("=")
    settings = load({name: value})
    allowed = GitSource(
        world.folder / "git", world.folder / "mirrors", CLOCK, (f"file://{world.folder}",),
        ignored=settings.git_fsck_ignore,
    )  # fmt: skip
    assert allowed.fetch("hello", world.away, Deadline(CLOCK, 20)) == heads(world.bare)["main"]


def imported(world, *files: bytes, mark: bytes = b"") -> str:
    """A commit of many files, by fast-import: a work tree would take long."""
    head = (
        b"commit refs/heads/main\ncommitter a <a@b> 1 +0000\ndata 1\nx\nfrom refs/heads/main^0\ndeleteall\n"
    )
    world.commit("first", a=b"1")
    stream = b"blob\nmark :1\ndata %d\n%b\n" % (len(mark), mark) + head + b"".join(files) + b"\ndone\n"
    git(world.bare, "fast-import", "--quiet", "--done", "--force", input=stream)
    return heads(world.bare)["main"]


def test_fault_17_a_quarter_of_a_million_files_are_too_many_and_some_less_are_not(world):
    files = [b"M 100644 :1 d%d/f%d\n" % (number % 500, number) for number in range(250_001)]
    commit = imported(world, *files)
    with pytest.raises(RequestError, match="more than 250,000 files"):
        world.source.unsupported("hello", world.here, commit, ".")
    commit = imported(world, *files[:50_000])
    assert world.source.unsupported("hello", world.here, commit, ".") == ""
    assert world.left_running() == []


def test_fault_17_a_tree_that_contains_itself_is_refused_at_once(world):
    """Ten levels, each with the same folder ten times: ten thousand million files in a few hundred bytes."""
    world.commit("first", a=b"1")
    tree = git(world.bare, "rev-parse", "main^{tree}")
    for _ in range(10):
        lines = "".join(f"040000 tree {tree}\td{number}\n" for number in range(10))
        tree = git(world.bare, "mktree", input=lines.encode())
    commit = git(world.bare, "commit-tree", "-m", "bomb", tree)
    began = time.monotonic()
    with pytest.raises(RequestError, match="more than 250,000 files"):
        world.source.unsupported("hello", world.here, commit, ".")
    assert time.monotonic() - began < 60
    assert world.left_running() == []


def test_fault_17_files_too_large_in_all_are_not_built(world):
    """A blob of zeros is small in a pack, but its unpacked size counts."""
    small = GitSource(world.folder / "git", world.folder / "m2", CLOCK, (), 1 << 20)
    commit = world.commit(zeros=bytes(3 << 20))
    with pytest.raises(RequestError, match="larger than 1 MiB in all"):
        small.unsupported("hello", world.here, commit, ".")
    assert world.source.unsupported("hello", world.here, commit, ".") == ""


def test_fault_16_a_submodule_that_would_run_a_command_is_refused_unread(world):
    mark = world.folder / "pwned"
    text = b'[submodule "x"]\n\tpath = x\n\turl = ext::sh -c touch% ' + str(mark).encode() + b"\n"
    commit = imported(world, b"M 100644 :1 .gitmodules\n", b"M 160000 %b x\n" % (b"a" * 40), mark=text)
    assert "submodule" in world.source.unsupported("hello", world.here, commit, ".")
    assert not mark.exists()


def reading(stream):
    return tarfile.open(fileobj=stream, mode="r|")


def test_fault_16_filters_and_settings_of_a_repository_run_nothing(world):
    """Settings that would run commands here if they got into a repository's own configuration."""
    mark = world.folder / "pwned"
    rules = b"* filter=evil diff=evil merge=evil export-subst export-ignore ident\n"
    commit = world.commit(**{".gitattributes": rules, "a": b"$Format:%H$\n"})
    world.fetch(world.away)
    touch = f"touch {mark}"
    for bare in (world.bare, world.folder / "mirrors" / "hello.git"):
        for name in ("core.fsmonitor", "core.sshCommand", "core.askPass", "core.pager", "core.alternateRefsCommand",
                     "filter.evil.smudge", "filter.evil.clean", "filter.evil.process", "diff.evil.textconv",
                     "diff.external", "uploadpack.packObjectsHook"):  # fmt: skip
            git(bare, "config", name, touch)
    for source in (world.here, world.away):
        world.fetch(source)
        assert world.source.unsupported("hello", source, commit, ".") == ""
        with world.source.archive("hello", source, commit, ".") as stream, reading(stream) as archive:
            names = archive.getnames()
        assert set(names) == {".gitattributes", "a"}
    assert not mark.exists()


def test_fault_16_links_that_lead_out_stay_links_in_the_archive(world):
    for name, target in (("up", "../../etc/passwd"), ("root", "/etc"), ("loop", "loop")):
        (world.work / name).symlink_to(target)
    commit = world.commit()
    world.fetch(world.here)
    with world.source.archive("hello", world.here, commit, ".") as stream, reading(stream) as archive:
        members = list(archive)
    assert {m.name for m in members if m.issym()} == {"up", "root", "loop"}
    assert all(m.size == 0 for m in members if m.issym())


@pytest.mark.parametrize("branch", ["--upload-pack=touch pwned", "-x", "a..b", "a\nb", "a\0b", "x" * 100_000, "@{-1}",
                                    "refs/../../x", "a.lock", "~x", "a:b", "\udcff"])  # fmt: skip
def test_fault_13_no_branch_name_reaches_git_as_an_option_or_path(world, branch):
    world.commit(a=b"1")
    for kind in ("here", "away"):
        source = getattr(world, kind).model_copy(update={"branch": branch})
        with pytest.raises(RequestError) as caught:
            world.fetch(source)
        assert len(str(caught.value)) < 400
    assert not list(world.folder.rglob("pwned"))


@pytest.mark.parametrize("commit", ["--output=pwned", "-1", "HEAD", "main", "a" * 65, "a" * 100_000, "abc", "0" * 40,
                                    "aaaaaaa\n", "aaaaaaa;x", "٣٣٣٣٣٣٣"])  # fmt: skip
def test_fault_13_no_commit_reaches_git_that_is_not_hexadecimal(world, commit):
    world.commit(a=b"1")
    for ask in (
        lambda: world.source.commit("hello", world.here, commit),
        lambda: world.source.tree("hello", world.here, commit, "."),
        lambda: world.source.read("hello", world.here, commit, "a"),
        lambda: world.source.unsupported("hello", world.here, commit, "."),
        lambda: world.source.keep("hello", world.here, commit, "r1"),
        lambda: world.source.archive("hello", world.here, commit, "."),
    ):
        with pytest.raises(NotFound) as caught:
            ask()
        assert len(str(caught.value)) < 300


@pytest.mark.parametrize("which", ["here", "away"])
def test_a_commit_contains_its_history_and_nothing_else(world, which):
    source = getattr(world, which)
    first, second = world.commit(a=b"1"), world.commit(a=b"2")
    world.fetch(source)
    git(world.work, "reset", "-q", "--hard", first)
    third = world.commit(a=b"3")  # forced
    world.fetch(source)

    def contains(commit, other):
        return world.source.contains("hello", source, commit, other)

    assert [contains(third, one) for one in (third, first, second)] == [True, True, False]
    assert contains(second, first)
    assert not contains(first, third)
    assert not contains(third, "f" * 40)
    assert not contains("f" * 40, third)


@pytest.mark.parametrize("which", ["here", "away"])
def test_the_history_between_two_commits_is_newest_first_and_bounded(world, which):
    source, ids = getattr(world, which), [world.commit(f"number {n}\n\nmore") for n in range(4)]
    world.fetch(source)

    def history(commit, since, limit=10):
        return [one.message for one in world.source.history("hello", source, commit, since, limit)]

    assert history(ids[3], ids[1]) == ["number 3", "number 2"]
    assert history(ids[3], ids[0], 2) == ["number 3", "number 2"]
    assert history(ids[1], ids[3]) == []
    with pytest.raises(EngineFailed):
        history(ids[3], "f" * 40)


@pytest.mark.parametrize("which", ["here", "away"])
def test_what_changed_between_two_commits_below_a_folder(world, which):
    source = getattr(world, which)
    first = world.commit(**{"app/a": b"1", "app/b c": b"1", "app/[x]": b"1", "apple": b"1"})
    second = world.commit("two", **{"app/a": b"2", "app/b c": b"1", "app/[x]": b"1", "apple": b"2"})
    third = world.commit("three", **{"app/a": b"2", "app/b c": b"3", "app/[x]": b"3", "apple": b"2"})
    world.fetch(source)

    def changed(commit, since, path="app"):
        return world.source.changed("hello", source, commit, since, path)

    assert changed(third, first) == ("[x]", "a", "b c")
    assert changed(first, third) == ("[x]", "a", "b c")
    assert changed(second, first, ".") == ("app/a", "apple")
    assert changed(third, third) == ()
    assert changed(third, first, "no/such") == ()
    with pytest.raises(EngineFailed):
        changed(third, "f" * 40)
    with pytest.raises(RequestError):
        changed(third, first, "../x")


@pytest.mark.parametrize("which", ["here", "away"])
def test_the_commit_that_changed_a_file_last(world, which):
    source = getattr(world, which)
    first, second = world.commit("one", a=b"1", b=b"1"), world.commit("two", a=b"2", b=b"1")
    third = world.commit("three", a=b"2", b=b"3")
    world.fetch(source)

    def by(commit, since, path):
        found = world.source.changed_by("hello", source, commit, since, path)
        return found.message if found else None

    assert (by(third, first, "a"), by(third, first, "b"), by(third, second, "a")) == ("two", "three", None)
    assert by(first, third, "a") is None
    assert by(third, first, "*") is None
    with pytest.raises(EngineFailed):
        by(third, "f" * 40, "a")
