"""Whose a new volume is, for images that do not run as root, on the real Docker Engine."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

import docker
from pipeline.adapters.docker.volumes.owners import owner_of
from pipeline.domain.engine_types import SlotSpec
from pipeline.domain.volumes import VolumeRef
from tests.conftest import Bench
from tests.support.build_images import tar

PASSWD = "root:x:0:0::/root:/bin/sh\nweb:x:10003:10004::/:/bin/sh\n"
KEPT = "/srv/kept"  # the sample application's image has no such folder


def owned(uid: int) -> bytes:
    """A tar archive with that folder, which is the user's."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        folder = tarfile.TarInfo(KEPT.strip("/"))
        folder.type, folder.mode, folder.uid, folder.gid = tarfile.DIRTYPE, 0o755, uid, uid
        archive.addfile(folder)
    return out.getvalue()


@pytest.fixture
def built(bench: Bench, docker_client: docker.DockerClient) -> Iterator[Callable[..., SlotSpec]]:
    """A spec with a volume, of an image with these lines."""
    made: list[str] = []

    def build(*lines: str, **service: object) -> SlotSpec:
        dockerfile = "\n".join((f"FROM {bench.image}", "LABEL volumes=1", *lines)).encode()
        context = io.BytesIO(
            tar({"Dockerfile": dockerfile, "passwd": PASSWD.encode(), "kept.tar": owned(10002)})
        )
        image, _ = docker_client.images.build(fileobj=context, custom_context=True, rm=True)
        made.append(image.id)
        return replace(bench.spec(volumes={"kept": KEPT}, **service), image=image.id)

    bench.engine.prepare(bench.ref(), ())
    yield build
    bench.engine.remove(bench.ref())
    bench.engine.remove_volume(VolumeRef(bench.name, "live", "kept"))
    for image in set(made) - {bench.image}:
        docker_client.api.remove_image(image, force=True)


def seen(bench: Bench, spec: SlotSpec, name: str = "look") -> str:
    argv = ("sh", "-c", f"stat -c %u:%g {KEPT}; touch {KEPT}/{name} && echo wrote; true")
    output = bench.engine.command(spec, name, argv, {}, bench.events.append, bench.watch()).output
    bench.engine.forget_command(spec, name)
    return output


@pytest.mark.parametrize(
    ("lines", "service", "owner"),
    [
        (("COPY passwd /etc/passwd", "USER web"), {}, "10003:10004"),
        ((f"VOLUME {KEPT}", "USER 10001"), {}, "10001:0"),
        ((), {"user": "10005"}, "10005:0"),
    ],
    ids=["name", "VOLUME", "user"],
)
def test_a_new_volume_is_the_users_where_the_image_has_no_folder(
    bench: Bench, built: Callable[..., SlotSpec], lines: tuple[str, ...], service: dict[str, str], owner: str
) -> None:
    spec = built(*lines, **service)
    assert seen(bench, spec) == f"{owner}\nwrote\n"


def test_the_images_own_folder_decides_and_an_existing_volume_stays_whose_it_is(
    bench: Bench, built: Callable[..., SlotSpec], docker_client: docker.DockerClient
) -> None:
    assert seen(bench, built("ADD kept.tar /", "USER 10002")) == "10002:10002\nwrote\n"
    assert seen(bench, built("USER 10001"), "other").count("10002:10002\n") == 1
    left = {"label": [f"pushlive.instance={bench.engine._settings.instance}", "pushlive.role=helper"]}
    assert docker_client.api.containers(all=True, filters=left) == []


def test_what_an_image_says_of_its_users() -> None:
    group = "www:x:33:\n"
    assert owner_of("web", PASSWD, group) == "10003:10004"
    assert owner_of("10003", PASSWD, group) == "10003:10004"
    assert owner_of("web:www", PASSWD, group) == "10003:33"
    assert owner_of("7:8", "", "") == "7:8"
    for unknown in ("nobody", "web:nobody", "$(id)", "7:8:9;", "-1"):
        assert owner_of(unknown, PASSWD, group) == ""
