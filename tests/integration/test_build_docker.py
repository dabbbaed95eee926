"""Builds on the real Docker Engine."""

import contextlib
import io
import resource
import tarfile
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

import docker
from pipeline.adapters.buildkit.builder import DockerBuilder
from pipeline.adapters.buildkit.dockerignore import filtered
from pipeline.adapters.docker_api.client import client
from pipeline.adapters.tar_stream import Reader
from pipeline.domain.measuring import missed
from pipeline.errors import AppFailed, Cancelled, EngineFailed, PushliveError, TimedOut, TryAgain
from pipeline.ports.clock import Deadline
from tests.support.build_images import CLOCK, Relay, Workshop
from tests.support.waiting import PATIENCE


@pytest.fixture(scope="module")
def workshop():
    one = Workshop()
    yield one
    one.close()


def running(mark):
    """Processes on this machine that have the mark in their arguments."""
    found = []
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = process.read_bytes()
        except OSError:
            continue
        if mark.encode() in command:
            found.append(command)
    return found


def wait_until(condition, seconds=10.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "not in time"
        time.sleep(0.02)


class Cut:
    """A watch that is cancelled as soon as a condition holds."""

    def __init__(self, condition):
        self._condition = condition
        self.looks = []

    def check(self):
        self.looks.append(time.monotonic())
        if self._condition():
            raise Cancelled("Somebody cancelled it.")

    def remaining(self):
        return 60.0

    def wait(self, seconds):
        time.sleep(seconds)
        self.check()


def test_steps_and_output_are_emitted_as_they_happen(workshop):
    image = workshop.build(
        workshop.request("FROM BASE\nCOPY a /a\nRUN cat /a && echo there\n"), {"a": b"hi\n"}
    )
    assert (image.reused, image.steps) == (False, 3)
    assert [text.partition("] ")[2].partition(" ")[0] for text in workshop.texts("vertex")] == [
        "FROM",
        "COPY",
        "RUN",
    ]
    lines = [event for event in workshop.events if event.kind == "line"]
    assert [line.text for line in lines] == ["hi", "there"]
    assert lines[0].data == {"vertex": "[3/3] RUN cat /a && echo there"}
    run = [event for event in workshop.events if event.kind == "vertex"][-1]
    assert run.data["cached"] is False
    assert run.data["seconds"] > 0
    labels = workshop.client.images.get(image.digest).labels
    assert set(labels) == {"pushlive.instance", "pushlive.pipeline", "pushlive.key"}


def test_the_same_key_and_base_reuse_the_image_fast_and_rebuild_does_not(workshop):
    request = workshop.request("FROM BASE\nRUN echo once\n")
    first = workshop.build(request)
    assert not workshop.build(request).reused  # nothing has accepted it yet
    workshop.builder.tag(first.digest, f"{workshop.name}/once", "1")

    def fail():
        raise AssertionError("the context was opened")

    times = []
    for _ in range(5):
        began = time.perf_counter()
        found = workshop.builder.build(request, fail, workshop.events.append, Deadline(CLOCK, 10))
        times.append(time.perf_counter() - began)
        assert (found.digest, found.reused) == (first.digest, True)
    assert min(times) < 0.05  # about 0.008 on an idle machine
    again = workshop.build(workshop.request("FROM BASE\nRUN echo once\n", key=request.key, rebuild=True))
    assert not again.reused
    assert workshop.texts("line") == ["once"]
    (said,) = workshop.texts("warning")
    assert said.startswith(
        f"The base image {workshop.base!r} could not be pulled, so the one on this machine is used: "
    )


def test_the_build_cache_is_given_back_and_what_was_used_last_is_kept(workshop):
    old, new = (workshop.request(f"FROM BASE\nRUN seq 200000 > /{name}\n") for name in ("old", "new"))
    for request in (old, new):
        workshop.build(request)
    for image in workshop.client.api.images(filters={"label": f"pushlive.instance={workshop.name}"}):
        workshop.client.api.remove_image(image["Id"], force=True)  # else their layers are no mere cache
    size = workshop.builder.cache_size()
    assert size > 1 << 20
    assert workshop.builder.trim_cache(size * 2) == 0
    assert workshop.builder.trim_cache(size - 1) > 0
    workshop.build(new)
    (step,) = [event for event in workshop.events if event.kind == "vertex" and "RUN" in event.text]
    assert step.data["cached"]


def test_another_base_under_the_same_name_is_another_image(workshop):
    request = workshop.request(f"FROM {workshop.name}-moving:1\nRUN echo x\n")
    workshop.client.images.get(workshop.base).tag(f"{workshop.name}-moving", "1")
    first = workshop.build(request)
    other = workshop.build(workshop.request("FROM BASE\nRUN echo other\n"))
    workshop.builder.tag(other.digest, f"{workshop.name}-moving", "1")
    second = workshop.build(request)
    assert not second.reused
    assert second.digest != first.digest
    workshop.client.api.remove_image(f"{workshop.name}-moving:1", noprune=True)


def test_arguments_target_dockerfile_and_ignored_files_are_used(workshop):
    text = "ARG B=none\nFROM $B AS one\nARG WHO\nRUN echo hello $WHO\nCOPY . /c\nRUN ls /c\nFROM no/where\n"
    request = workshop.request(
        text, ignore="*.log\n!keep.log\n", dockerfile="docker/File", target="one",
        args={"B": workshop.base, "WHO": "you"},
    )  # fmt: skip
    workshop.build(request, {"a": b"", "x.log": b"", "keep.log": b""})
    assert workshop.texts("line") == ["hello you", "a", "docker", "keep.log"]


def test_fault_18_a_dockerfile_outside_the_context_is_refused(workshop):
    for path in ("../Dockerfile", "/etc/Dockerfile", "a/../../Dockerfile"):
        request = workshop.request("FROM BASE\n", dockerfile="Dockerfile")
        request = type(request)(
            **{**vars(request), "build": request.build.model_copy(update={"dockerfile": path})}
        )
        with pytest.raises(AppFailed, match="outside"):
            workshop.build(request)


def test_fault_19_a_failing_step_is_named_with_its_last_lines(workshop):
    with pytest.raises(AppFailed, match=r"\[2/3\] RUN seq 1 30; exit 3.*exit code: 3") as caught:
        workshop.build(workshop.request("FROM BASE\nRUN seq 1 30; exit 3\nRUN echo never\n"))
    assert caught.value.evidence == tuple(str(n) for n in range(11, 31))
    assert workshop.events[-1].data["error"]


def test_fault_19_an_invalid_dockerfile_is_the_applications_failure(workshop):
    with pytest.raises(AppFailed, match=r"(?i)unknown instruction"):
        workshop.build(workshop.request("FROM BASE\nNONSENSE x\n"))
    with pytest.raises(AppFailed, match="missing"):
        workshop.build(workshop.request("FROM BASE\nCOPY missing /\n"))
    with pytest.raises(AppFailed) as caught:
        workshop.build(workshop.request("FROM BASE\nHEALTHCHECK --no-such-flag=5s CMD true\n"))
    version = workshop.client.version()["Version"]
    assert f"the BuildKit of Docker Engine {version}" in caught.value.advice


def test_fault_19_a_hanging_build_is_ended_in_time_and_nothing_is_left(workshop):
    began = time.monotonic()
    with pytest.raises(TimedOut):
        workshop.build(
            workshop.request("FROM BASE\nRUN sleep 98761\n"), watch=Deadline(CLOCK, 1.5, "The build")
        )
    assert time.monotonic() - began < 5 * PATIENCE
    wait_until(lambda: not running("98761"), 5)


def test_a_cancelled_build_ends_and_the_watch_is_checked_often(workshop):
    watch = Cut(lambda: running("98762"))
    with pytest.raises(Cancelled):
        workshop.build(workshop.request("FROM BASE\nRUN sleep 98762\n"), watch=watch)
    wait_until(lambda: not running("98762"), 5)
    gaps = [b - a for a, b in zip(watch.looks, watch.looks[1:], strict=False)]
    assert sorted(gaps)[len(gaps) // 2] <= 0.25
    assert not [t for t in threading.enumerate() if t.name.startswith("build-") and t.is_alive()]


def test_fault_20_a_flood_of_output_stays_bounded_and_says_where_it_was_cut(workshop):
    flood = "yes 0123456789012345678901234567890123456789 | head -c 30000000; exit 1"
    with pytest.raises(AppFailed) as caught:
        workshop.build(workshop.request(f"FROM BASE\nRUN {flood}\n"))
    assert sum(len(line) for line in workshop.texts("line")) <= 16 << 20
    assert 0 < len(caught.value.evidence) <= 20
    assert any(
        "clipped" in text or "cut here" in text for text in workshop.texts("line") + workshop.texts("note")
    )


def test_fault_22_too_little_disk_is_refused_before_the_build(workshop):
    full = DockerBuilder(client, CLOCK, instance=workshop.name, disk_free=1 << 60)
    with pytest.raises(EngineFailed, match=r"are free in /.*are required"):
        workshop.build(workshop.request("FROM BASE\nRUN echo x\n"), builder=full)


@pytest.mark.parametrize("cuts", [1, 2])
def test_fault_23_a_build_whose_connection_breaks_is_retried_once(workshop, tmp_path, cuts):
    relay = Relay(tmp_path / "docker.sock")
    cut_off = docker.DockerClient(base_url=relay.url, version="auto", max_pool_size=8)
    builder = DockerBuilder(lambda: cut_off, CLOCK, instance=workshop.name)
    mark = f"0.9876{cuts}"
    left = [cuts]

    class Watch(Cut):
        def check(self):
            if left[0] and running(mark) and len(workshop.texts("warning")) == cuts - left[0]:
                left[0] -= 1
                relay.cut()

    request = workshop.request(f"FROM BASE\nRUN sleep {mark}; echo done\n")
    try:
        if cuts == 1:
            assert workshop.build(request, builder=builder, watch=Watch(None)).digest
            assert workshop.texts("line") == ["done"]
        else:
            with pytest.raises(EngineFailed, match="cut off twice"):
                workshop.build(request, builder=builder, watch=Watch(None))
        assert "Retrying once" in workshop.texts("warning")[0]
    finally:
        cut_off.close()
        relay.close()
    wait_until(lambda: not running(mark), 5)


def test_fault_25_an_unavailable_base_image_is_named(workshop):
    with pytest.raises(PushliveError, match=r"base image 'localhost:1/no/such:7'.*refused") as caught:
        workshop.build(workshop.request("FROM localhost:1/no/such:7\n"))
    assert isinstance(caught.value, EngineFailed | AppFailed)
    with pytest.raises(PushliveError, match=r"`# syntax=` line"):
        workshop.build(workshop.request("# syntax=docker/dockerfile:no-such\nFROM BASE\n"))
    with pytest.raises(AppFailed, match="not a valid image name"):
        workshop.build(workshop.request("FROM UPPER/Case\n"))


def test_instructions_that_need_a_session_are_refused_before_the_build(workshop):
    with pytest.raises(AppFailed, match="line 2: secret and SSH mounts"):
        workshop.build(workshop.request("FROM BASE\nRUN --mount=type=secret,id=x true\n"))


def test_removing_the_last_tag_removes_the_image(workshop):
    builder, repository = workshop.builder, f"{workshop.name}/hello"
    image = workshop.build(workshop.request("FROM BASE\nRUN echo tags\n"))
    for _ in range(2):
        builder.tag(image.digest, repository, "r1")
        builder.tag(image.digest, repository, "abc1234")
    assert {d: set(t) for d, t in builder.images(repository).items()} == {image.digest: {"r1", "abc1234"}}
    container = workshop.client.api.create_container(image.digest, ["sh"])
    builder.untag(repository, "r1")
    builder.untag(repository, "r1")
    assert builder.images(repository) == {image.digest: ("abc1234",)}
    builder.untag(repository, "abc1234")
    assert builder.exists(image.digest)
    workshop.client.api.remove_container(container["Id"], force=True)
    builder.untag(repository, "abc1234")
    assert not builder.exists(image.digest)
    with pytest.raises(EngineFailed):
        builder.tag(image.digest, repository, "r1")


def test_fault_24_images_of_others_are_not_removed(workshop):
    name, _, tag = workshop.base.partition(":")
    workshop.builder.untag(name, tag)
    assert workshop.builder.exists(workshop.base)
    assert workshop.builder.images(name) == {}


def test_builds_are_limited_or_the_reason_is_given(workshop):
    said = DockerBuilder(client, CLOCK, instance=workshop.name, memory=3 << 30, cpu=1.5).cap_builds()
    written = Path("/sys/fs/cgroup/memory/docker/buildkit/memory.limit_in_bytes")
    if said:
        assert "Builds are not limited" in said
    elif written.exists():
        assert int(written.read_text()) == 3 << 30
    workshop.builder.cap_builds()


def test_an_engine_that_does_not_answer_raises_try_again(tmp_path, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nothing.sock")
    with pytest.raises(TryAgain, match="does not answer"):
        client()


def test_fault_18_the_engine_refuses_what_our_parser_might_miss(workshop, monkeypatch):
    """Even if our parser missed the flag, the Engine gives a build neither the machine's network nor privileges."""
    monkeypatch.setattr("pipeline.adapters.buildkit.builder.refuse_unsupported", lambda *_: None)
    monkeypatch.setattr("pipeline.adapters.buildkit.builder.refuse_hidden", lambda *_: None)
    for flag in ("--network=host", "--security=insecure"):
        with pytest.raises(PushliveError):
            workshop.build(workshop.request(f"FROM BASE\nRUN {flag} cat /proc/net/route\n"))
    for mount in ("secret,id=x,required=true", "ssh,required=true"):
        with pytest.raises(PushliveError):
            workshop.build(workshop.request(f"FROM BASE\nRUN --mount=type={mount} true\n"))


def test_fault_18_a_build_does_not_reach_the_machines_files(workshop):
    """A bind mount's source is inside the build's context, also with .. or through a link."""
    text = "FROM BASE\nRUN --mount=type=bind,source=../../etc,target=/x ls -A /x\n"
    with pytest.raises(PushliveError):
        workshop.build(workshop.request(text))
    with pytest.raises(PushliveError):
        workshop.build(workshop.request("FROM BASE\nCOPY ../../../etc/shadow /x\n"))


def test_another_pipelines_image_and_an_image_id_are_refused_as_base(workshop):
    other = workshop.build(workshop.request("FROM BASE\nRUN echo theirs\n"))
    workshop.builder.tag(other.digest, f"{workshop.name}-theirs", "r1")
    name = f"{workshop.name}-theirs:r1"
    for text in (f"FROM {name}\n", f"FROM BASE\nCOPY --from={name} /bin/sh /x\n", f"FROM {other.digest}\n"):
        request = replace(workshop.request(text), pipeline="stranger")
        with pytest.raises(AppFailed, match="belongs to the pipeline"):
            workshop.build(request)
    base = workshop.client.images.get(workshop.base).id
    for id_ in (base, base.removeprefix("sha256:")[:12]):
        with pytest.raises(AppFailed, match="an image id"):
            workshop.build(workshop.request(f"FROM {id_}\n"))
    workshop.client.api.remove_image(name, noprune=True)


@pytest.mark.parametrize(
    "text",
    [
        "FROM BASE\nCOPY --from=THEIRS /theirs /x\nRUN cat /x\n",
        "FROM BASE\nRUN --mount=type=bind,from=THEIRS,target=/x cat /x/theirs\n",
        "FROM THEIRS\nRUN cat /theirs\n",
    ],
)
def test_another_pipelines_image_is_refused_by_the_builds_own_record(workshop, monkeypatch, text):
    """Whatever our reader makes of the Dockerfile, such a build ends, shows nothing and leaves nothing to reuse."""
    monkeypatch.setattr("pipeline.adapters.buildkit.images.images", lambda *_: ())
    monkeypatch.setattr("pipeline.adapters.buildkit.builder.refuse_hidden", lambda *_: None)
    secret = "sesame"
    other = workshop.build(
        replace(workshop.request(f"FROM BASE\nRUN echo {secret} > /theirs\n"), pipeline="other")
    )
    name = f"{workshop.name}-{secret}:r1"
    workshop.builder.tag(other.digest, *name.split(":"))
    request = workshop.request(text.replace("THEIRS", name))
    for _ in range(2):
        with pytest.raises(AppFailed, match="belongs to the pipeline other"):
            workshop.build(request)
        assert secret not in workshop.texts("line")
    workshop.client.api.remove_image(name, noprune=True)


def test_a_cache_mount_is_kept_for_its_own_pipeline(workshop):
    write = "FROM BASE\nRUN --mount=type=cache,target=/cache{id} echo theirs > /cache/kept\n"
    read = "FROM BASE\nRUN --mount=type=cache,target=/cache{id} cat /cache/kept; true\n"
    for named in ("", ",id=shared", f",id={workshop.name}/hello/shared"):
        workshop.build(workshop.request(write.format(id=named)))
        own = workshop.request(read.format(id=named))
        workshop.build(own)
        assert "theirs" in workshop.texts("line")
        workshop.build(replace(own, pipeline="stranger", key=own.key + "2", rebuild=True))
        assert "theirs" not in workshop.texts("line")


@pytest.mark.parametrize("name", ["BUILDKIT_CACHE_MOUNT_NS", "BUILDKIT_SYNTAX"])
def test_build_arguments_cannot_set_up_the_builder(workshop, name):
    request = workshop.request("FROM BASE\n", args={name: f"{workshop.name}/hello"})
    with pytest.raises(AppFailed, match=name):
        workshop.build(request)


def test_fault_17_a_hundred_thousand_small_files_are_built_in_flat_memory(workshop):
    """Their headers are not kept, so memory does not grow with their number."""

    def context():
        def pieces():
            for number in range(100_000):
                member = tarfile.TarInfo(f"d{number % 300}/f{number}")
                yield member.tobuf()
            yield b"\0" * 1024

        return contextlib.nullcontext(io.BufferedReader(Reader(pieces())))

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seen = sum(len(piece) for piece in filtered(context().__enter__(), "*.log\n**/x*y*z*", "Dockerfile"))
    assert seen >= 100_000 * 512
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 60_000  # KiB


STAGES = """\
ARG VERSION=1
FROM BASE AS one
ARG NAME=x
WORKDIR /src
COPY a.txt \\
     b.txt /src/
ENV A=1
RUN echo here $NAME
FROM one AS two
RUN --mount=type=bind,source=sub,target=/m cat /m/c
FROM BASE
WORKDIR /x
COPY --from=two /src /src
COPY ["a.txt", "/y"]
LABEL of=me
ADD b.txt /z
RUN echo $VERSION && \\
    # a comment
    echo done
"""


def test_every_step_is_found_in_the_dockerfile(workshop):
    """This is how BuildKit names and numbers steps; a version that does it otherwise fails here."""
    files = {"a.txt": workshop.name.encode(), "b.txt": b"2", "sub/c": b"3"}
    image = workshop.build(workshop.request(STAGES), files)
    file = missed.read(STAGES.replace("BASE", workshop.base))
    found = {name: missed.first(file, [(name, 1.0)]) for name, _ in image.ran}
    steps = {name: one for name, one in found.items() if "] FROM " not in name}
    assert all(one and one.line for one in steps.values()), steps
    assert sorted(one.line for one in steps.values()) == [4, 5, 8, 10, 12, 13, 14, 16, 17]
    again = workshop.build(workshop.request(STAGES), {**files, "a.txt": b"other"})
    first = missed.first(file, again.ran)
    assert (first.line, first.text) == (5, "COPY a.txt b.txt /src/")
