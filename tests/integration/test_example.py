"""The example with a database, a worker, a job and uploads: pushed, changed, migrated and reverted with its data."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import docker
from tests.support.developer import Repository
from tests.support.paths import ROOT
from tests.support.service import Service, running
from tests.support.waiting import until

EXAMPLE = ROOT / "docker" / "examples" / "notes"
SECOND = """\
ALTER TABLE notes ADD COLUMN starred boolean NOT NULL DEFAULT false;
-- down
ALTER TABLE notes DROP COLUMN starred;
"""
LOCK = Path.home() / ".cache" / "pushlive" / "image.lock"
UPLOAD = "what was uploaded\n"
FORM = (
    "--boundary\r\nContent-Disposition: form-data; name=text\r\n\r\nthree short words\r\n"
    '--boundary\r\nContent-Disposition: form-data; name=file; filename="file.txt"\r\n'
    f"Content-Type: text/plain\r\n\r\n{UPLOAD}\r\n--boundary--\r\n"
)


@pytest.fixture(scope="module")
def images() -> None:
    provide_images()


def provide_images() -> None:
    """What the example is built from, and its database."""
    for name in ("python", "databases"):
        # The same lock as scripts/image: two at once would both unpack a Debian.
        command = ["flock", str(LOCK), str(ROOT / "scripts" / "images"), name]
        done = subprocess.run(command, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def service(docker_client: docker.DockerClient, base_images: None, images: None) -> Iterator[Service]:
    with running(docker_client, (EXAMPLE / "pipelines.yaml").read_text()) as one:
        yield one


@pytest.fixture(scope="module")
def repository(service: Service) -> Repository:
    return with_example(service.repository("notes"))


def with_example(one: Repository) -> Repository:
    """The example as its first commit, with its packages: a build here has no network."""
    shutil.copytree(EXAMPLE, one.folder, dirs_exist_ok=True)
    fetch = ["download", "-q", "--dest", "wheels", "--requirement", "requirements.txt"]
    subprocess.run([sys.executable, "-m", "pip", *fetch], cwd=one.folder, check=True, timeout=120)
    one.git("add", "--force", ".")
    one.git("commit", "-q", "-m", "First version")
    return one


def figures(service: Service) -> dict[str, Any]:
    return dict(json.loads(service.page(path="/figures", name="notes")))


def columns(service: Service) -> str:
    query = "SELECT string_agg(column_name, ' ') FROM information_schema.columns WHERE table_name = 'notes'"
    code = f'import database\nwith database.connect() as one: print(one.run("{query}")[0][0])'
    return service.pushlive("run", "notes", "live", "--", "python", "-c", code).out


def test_the_first_push_goes_live_with_a_database_in_each_environment(
    service: Service, repository: Repository
) -> None:
    repository.git("push", "pushlive", "main")
    assert service.run("notes#1")["outcome"] == "live", service.log("notes#1")
    assert figures(service) == {"notes": 0, "counted": 0, "digests": 0}


def test_a_note_with_an_upload_is_kept_and_the_worker_counts_it(service: Service) -> None:
    url = service.environments("notes")["live"]["url"] + "/notes"
    headers = {"Content-Type": "multipart/form-data; boundary=boundary"}
    with urllib.request.urlopen(urllib.request.Request(url, FORM.encode(), headers)) as answer:
        assert "three short words" in answer.read().decode()
    until(lambda: figures(service)["counted"] == 1, 30)


def test_a_second_version_is_migrated_and_reverted_and_the_data_stays(
    service: Service, repository: Repository
) -> None:
    repository.commit({"migrations/002-starred.sql": SECOND}, "Notes have stars")
    repository.git("push", "pushlive", "main")
    assert service.run("notes#2")["outcome"] == "live", service.log("notes#2")
    assert "starred" in columns(service)
    kept(service)
    service.pushlive("revert", "notes", "--env", "live", "--to", "r1", "--back", "--reason", "no stars")
    assert service.environments("notes")["live"]["release"] == 1
    assert "starred" not in columns(service)
    kept(service)


def kept(service: Service) -> None:
    assert figures(service)["counted"] == 1
    assert service.page(path="/notes/1/file", name="notes") == UPLOAD
