"""The keys that say what a container is given: good values are read, and bad ones refused with what to write."""

from __future__ import annotations

import pytest

from pipeline.config.lint import warnings
from pipeline.config.loading import load, problems
from pipeline.config.models import Service

TEXT = "pipelines: {a: {service: {%s}, environments: {live: }}}"


def read(keys: str) -> Service:
    return load(TEXT % keys).pipelines["a"].render("live").service


def refused(keys: str) -> str:
    """What is said of the only problem that these keys make, after its line."""
    (one,) = problems(TEXT % keys)
    return f"{one.path.removeprefix('pipelines.a.service.')}: {one.message}"


def test_good_values_are_read() -> None:
    service = read("shm: 1GiB, working_dir: /srv/app")
    assert service.shm == 1 << 30
    assert service.working_dir == "/srv/app"
    assert read("working_dir: /").working_dir == "/"


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        (
            "shm: 0MiB",
            "shm: '0MiB' is too small; write a size such as 128MiB or 1GiB, from 1 MiB to 1024 GiB",
        ),
        ("shm: 9000GiB", "is too large; write a size"),
        ("shm: 64", "shm: '64'"),
        ("shm: -1MiB", "shm: '-1MiB'"),
        ("working_dir: app", "working_dir: 'app' is not a folder in the container; write an absolute path"),
        ("working_dir: /a/../../etc", "is not a folder in the container"),
        ("working_dir: //srv", "is not a folder in the container"),
        ('working_dir: "/a\\0b"', "is not a folder in the container"),
        (f"working_dir: /{'a' * 1100}", "is longer than 1024 characters; write an absolute path"),
    ],
)
def test_bad_values_are_refused_with_what_to_write(keys: str, says: str) -> None:
    assert says in refused(keys)


def test_more_shared_memory_than_memory_has_a_warning() -> None:
    says = "shm: 1 GiB is more than memory (256 MiB), which counts what is in it"
    assert any(says in line for line in warnings(load(TEXT % "shm: 1GiB")))
    assert not any(".shm" in line for line in warnings(load(TEXT % "memory: 32MiB")))
