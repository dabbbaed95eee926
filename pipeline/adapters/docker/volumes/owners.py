"""Whose a new volume is. Where the image has its folder, Docker copies that with its owner when it makes the container.
Where it has none, the volume would stay root's, and an application that runs as another user could not write to it."""

from __future__ import annotations

import io
import tarfile
from contextlib import closing, suppress

from pipeline.adapters.docker.containers import image_of
from pipeline.adapters.docker.volumes.docker_volumes import DockerVolumes
from pipeline.adapters.docker_api.errors import DockerRefused
from pipeline.adapters.volume_scripts import FOLDER
from pipeline.domain.engine_types import SlotSpec
from pipeline.domain.volumes import VolumeRef, volumes_of
from pipeline.lib.units import is_number
from pipeline.ports.clock import Deadline

_LARGEST = 1 << 20  # bytes of /etc/passwd or /etc/group
_WITHIN = 60.0  # seconds
_OWN = 'if [ -z "$(ls -A {folder})" ]; then chown {owner} {folder}; fi'


class OwnedVolumes(DockerVolumes):
    def _provide_volumes(self, spec: SlotSpec) -> None:
        """Every volume of the release is there, and a new one is its user's."""
        for ref in volumes_of(spec):
            self._provide_volume(ref, image_of(spec), spec.config.service.user)

    def _provide_volume(self, ref: VolumeRef, image: str, user: str = "") -> None:
        """``user``: "" for the image's own. The volume is new as long as no container has it, so that nothing is missed
        if a process dies in between."""
        self.ensure_volume(ref)
        found = self._api.image(image)
        user = user or str(((found or {}).get("Config") or {}).get("User") or "")
        if user.partition(":")[0] in ("", "0", "root") or self._users(self.volume_name(ref)):
            return
        with self._unstarted(ref, image) as container:
            owner = owner_of(user, self._text(container, "/etc/passwd"), self._text(container, "/etc/group"))
        if owner:
            with self._helper(ref, _OWN.format(owner=owner, folder=FOLDER)) as helper:
                self._run(helper, Deadline(self._clock, _WITHIN, f"Giving the volume {ref} its owner"))

    def _text(self, container: str, path: str) -> str:
        """A small file of a container; "" if there is none."""
        if not 0 < (self._api.size_of(container, path) or 0) <= _LARGEST:
            return ""
        with suppress(DockerRefused, tarfile.TarError), closing(self._api.archive(container, path)) as pieces:
            archive = tarfile.open(fileobj=io.BytesIO(b"".join(pieces)))  # noqa: SIM115 - in memory
            member = archive.next()
            content = archive.extractfile(member) if member and member.isreg() else None
            return content.read().decode(errors="replace") if content else ""
        return ""


def owner_of(user: str, passwd: str, group: str) -> str:
    """``uid:gid`` of what a container runs as, as Docker reads ``USER``; "" if its image does not say."""
    name, _, wanted = user.partition(":")
    users, groups = _rows(passwd), _rows(group)
    row = next((one for one in users if name in (one[0], one[2])), None)
    uid = name if is_number(name, 10) else row[2] if row else ""
    gid = "0" if row is None else row[3]
    if wanted and not is_number(wanted, 10):
        gid = next((one[2] for one in groups if one[0] == wanted), "")
    elif wanted:
        gid = wanted
    return f"{uid}:{gid}" if is_number(uid, 10) and is_number(gid, 10) else ""


def _rows(text: str) -> list[list[str]]:
    return [[*line.split(":"), "", "", "", ""] for line in text.splitlines()]
