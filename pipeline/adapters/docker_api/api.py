"""All that Pushlive asks of a Docker Engine."""

from __future__ import annotations

from typing import Any

from pipeline.adapters.docker_api.connection import ClientFactory
from pipeline.adapters.docker_api.container_calls import NEVER, ContainerCalls, Found, name_of
from pipeline.adapters.docker_api.errors import translate
from pipeline.adapters.docker_api.image_calls import ImageCalls
from pipeline.adapters.docker_api.network_calls import NetworkCalls
from pipeline.adapters.docker_api.session_calls import SessionCalls
from pipeline.adapters.docker_api.ssh_forward import SshClient
from pipeline.adapters.docker_api.volume_calls import VolumeCalls

__all__ = ["NEVER", "ClientFactory", "DockerApi", "Found", "name_of"]


class DockerApi(ContainerCalls, ImageCalls, NetworkCalls, SessionCalls, VolumeCalls):
    """One Engine. Every method raises TryAgain if the Engine does not answer, and EngineFailed (mostly DockerRefused)
    if it refuses. ``sdk`` and ``client`` are for ``docker_api`` alone."""

    def info(self) -> dict[str, Any]:
        """What the Engine says of itself and of its machine."""
        with translate("Asking Docker about the machine"):
            return dict(self.sdk.info())

    def memory(self) -> int:
        """Bytes of memory that the Engine's machine has."""
        return int(self.info()["MemTotal"])

    def ping(self) -> None:
        """Returns if the Engine answers."""
        with translate("Waiting for Docker"):
            self.sdk.ping()

    @property
    def is_local(self) -> bool:
        """True if the Engine runs on this machine: its socket is here, and no ssh leads away from it."""
        unix = self.sdk.base_url.startswith("http+docker://localhost")
        return unix and not isinstance(self.client, SshClient)
