"""The example with a database, a worker, a job and uploads on a cluster: pushed, migrated, reverted with its data."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

import docker
from pipeline.adapters.kubernetes.api.client import connect
from pipeline.adapters.kubernetes.api.kube_api import KubeApi
from pipeline.adapters.kubernetes.names import ACCESSORY
from pipeline.adapters.kubernetes.probe import proxy_path
from tests.conftest import push
from tests.integration.test_example import EXAMPLE, SECOND, provide_images, with_example
from tests.support.clusterbench import end_namespace, local_volume, make_namespace
from tests.support.service import Service, running
from tests.support.waiting import until

DATABASE = "postgres:15"
CLAIMS = ("db-live-data", "db-live-before-upgrade", "store-live-data", "live-uploads")
COUNT = ("psql", "-U", "postgres", "-tAc", "select count(*) from notes")
UPLOAD = "what was uploaded"
# Inside a container of the release: the API server's proxy passes on what is asked, and no form.
NOTE = f"""
import app
client = app.app.test_client()
from io import BytesIO
data = {{"text": "three short words", "file": (BytesIO(b"{UPLOAD}"), "file.txt")}}
print(client.post("/notes", data=data, content_type="multipart/form-data").status_code)
"""


class Notes:
    """The service, with the example in one environment on the cluster."""

    def __init__(self, service: Service, api: KubeApi) -> None:
        self.service, self.api = service, api

    def page(self, path: str) -> str:
        where = proxy_path(self.api, "notes-live") + path
        answer = self.api.raw("GET", where, "asking", headers={"Accept": "*/*"})
        assert answer.status == 200, answer.data
        return str(answer.data.decode())

    def serves(self) -> bool:
        where = proxy_path(self.api, "notes-live") + "/figures"
        return self.api.raw("GET", where, "asking", headers={"Accept": "*/*"}).status == 200

    def figures(self) -> dict[str, Any]:
        return dict(json.loads(self.page("/figures")))

    def database(self, name: str = "notes-db") -> dict[str, Any]:
        [found] = self.api.find("Pod", {ACCESSORY: name})
        return found

    def image(self) -> str:
        return str(self.database()["spec"]["containers"][0]["image"])

    def counted(self, name: str = "notes-db") -> int:
        """As its database says."""
        return int(self.service.pushlive("accessory", "exec", name, "live", "--", *COUNT).out)


def config(registry: str, space: str, image: str) -> str:
    """One environment of the example, on the cluster."""
    text = (EXAMPLE / "pipelines.yaml").read_text().replace(DATABASE, image)
    text = text.replace("  notes:\n", f"  notes:\n    registry: {registry}/{space}-notes\n", 1)
    text = text.replace("command: [python, worker.py]", "command: [python, worker.py], settle: 500ms")
    before, _, _ = text.partition("    environments:\n")
    return f"{before}    environments:\n      live: {{engine: {{namespace: {space}}}, keep_warm: 1s}}\n"


@pytest.fixture(scope="module")
def notes(
    docker_client: docker.DockerClient,
    base_images: None,
    namespace: str,
    registry: str,
    pushed_app: str,
    instance: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Notes]:
    provide_images()
    image, space = push(docker_client, DATABASE, f"{registry}/{instance}-postgres"), f"{instance}-notes"
    administrator = KubeApi(lambda: connect("", "default"))
    make_namespace(administrator, space)
    text, folder = config(registry, space, image), tmp_path_factory.mktemp("disks")
    try:
        with (
            running(docker_client, text, PUSHLIVE_VOLUME_IMAGE=pushed_app, down=False) as service,
            ExitStack() as stack,
        ):
            for name in CLAIMS:
                claim = f"{service.instance}-notes-{name}"
                stack.enter_context(local_volume(space, claim, folder / name))
            yield Notes(service, KubeApi(lambda: connect("", space)))
    finally:
        end_namespace(administrator, space)


def test_it_goes_live_with_its_database_and_keeps_its_data_through_a_migration_and_back(
    notes: Notes,
) -> None:
    service = notes.service
    repository = with_example(service.repository("notes"))
    repository.git("push", "pushlive", "main")
    assert service.run("notes#1")["outcome"] == "live", service.log("notes#1")
    assert service.pushlive("exec", "notes", "live", "--", "python", "-c", NOTE).out == "303\n"
    until(lambda: notes.figures()["counted"] == 1, 30)
    pod = notes.database()["metadata"]["uid"]

    repository.commit({"migrations/002-starred.sql": SECOND}, "Notes have stars")
    repository.git("push", "pushlive", "main")
    assert service.run("notes#2")["outcome"] == "live", service.log("notes#2")
    service.pushlive("revert", "notes", "--env", "live", "--to", "r1", "--back", "--reason", "no stars")
    assert service.environments("notes")["live"]["release"] == 1
    assert notes.figures() == {"notes": 1, "counted": 1, "digests": 0}
    assert notes.page("/notes/1/file") == UPLOAD
    assert notes.database()["metadata"]["uid"] == pod


def test_its_database_gets_another_image_and_goes_back_with_the_data_of_before(
    notes: Notes, docker_client: docker.DockerClient, registry: str, instance: str
) -> None:
    service, before, text = notes.service, notes.image(), notes.service.config.read_text()
    dockerfile, tag = io.BytesIO(b"FROM postgres:15\nLABEL next=1\n"), f"{instance}-postgres:15-next"
    list(docker_client.api.build(fileobj=dockerfile, tag=tag, rm=True))
    newer = push(docker_client, tag, f"{registry}/{instance}-postgres")
    docker_client.api.remove_image(tag)
    service.config.write_text(text.replace(before, newer))
    said = service.pushlive("accessory", "upgrade", "notes-db", "live").out
    assert f"notes-db/live: image: {before} → {newer}\n" in said
    assert (notes.image(), notes.counted()) == (newer, 1)
    until(notes.serves, 30)
    assert notes.figures()["notes"] == 1
    delete = ("psql", "-U", "postgres", "-c", "delete from notes")
    service.pushlive("accessory", "exec", "notes-db", "live", "--", *delete)
    service.pushlive("accessory", "upgrade", "notes-db", "live", "--back", "--yes", "notes-db/live")
    assert (notes.image(), notes.counted()) == (before, 1)
    assert "before-upgrade" not in service.pushlive("volume", "list").out
    service.config.write_text(text)


def test_its_files_are_backed_up_and_restored_while_it_is_stopped(notes: Notes) -> None:
    service, file = notes.service, str(notes.service.folder / "files.tar")
    refused = service.pushlive("volume", "restore", "notes-db/live/data", "--from", file, code=None)
    assert refused.code != 0
    service.pushlive("accessory", "stop", "notes-db", "live")
    service.pushlive("volume", "backup", "notes-db/live/data", "--to", file)
    service.pushlive("volume", "restore", "notes-db/live/data", "--from", file)
    service.pushlive("accessory", "start", "notes-db", "live")
    assert notes.counted() == 1


def test_its_database_keeps_its_data_and_its_address_under_another_name(notes: Notes) -> None:
    service = notes.service
    service.config.write_text(service.config.read_text().replace("notes-db", "notes-store"))
    service.pushlive("accessory", "mv", "notes-db", "live", "notes-store", "--yes", "notes-db/live")
    assert notes.counted("notes-store") == 1
    until(notes.serves, 30)  # it has the new address, which is the old one, in its /etc/hosts
    assert notes.figures()["notes"] == 1
    assert notes.api.find("Pod", {ACCESSORY: "notes-db"}) == []
    volumes = service.pushlive("volume", "list").out
    assert "notes-store/live/data" in volumes
    assert "notes-db" not in volumes


def test_releases_from_before_that_start_again_and_are_reverted_to(notes: Notes) -> None:
    service = notes.service
    service.pushlive("restart", "notes", "live")
    until(notes.serves, 60)
    assert notes.figures()["notes"] == 1
    service.pushlive("resume", "notes", "--env", "live")
    service.pushlive("deploy", "notes", "--config", str(service.config))
    assert service.environments("notes")["live"]["release"] == 3
    assert "notes-store" in service.pushlive("accessory", "status").out
    service.pushlive("revert", "notes", "--env", "live", "--to", "r1", "--reason", "it knows the former name")
    assert service.environments("notes")["live"]["release"] == 1
    assert (notes.figures()["notes"], notes.counted("notes-store")) == (1, 1)
    assert notes.api.find("Pod", {ACCESSORY: "notes-db"}) == []
