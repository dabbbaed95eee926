"""The proxy of a Docker Engine on another machine: the same HAProxy, told everything through that Engine's API.

What differs from the one on this machine: its files are sent into a volume instead of being mounted; it joins each
environment's network, and only its public port is the machine's; commands reach it through a tunnel, on an address that
nobody outside its container can see. The state's own folder stays here.
"""

from __future__ import annotations

import hashlib
import io
import tarfile
from dataclasses import replace
from typing import Any

from pipeline.adapters.docker_api.addresses import subnet
from pipeline.adapters.docker_api.api import ClientFactory, DockerApi, Found
from pipeline.adapters.docker_api.client import explanation, status_of, translate
from pipeline.adapters.docker_api.exec_tunnel import Tunnel
from pipeline.adapters.docker_api.labels import INDEX, INSTANCE, LOGS, ROLE, SPEC, Body
from pipeline.adapters.haproxy.config import FOLDER, State, files
from pipeline.adapters.haproxy.container import LISTENS, ProxyContainer
from pipeline.adapters.haproxy.control import Control
from pipeline.adapters.haproxy.files import Folder
from pipeline.adapters.haproxy.proxy import Proxy
from pipeline.adapters.workload import fingerprint
from pipeline.config.settings import Settings
from pipeline.errors import EngineFailed, PushliveError, TryAgain

INSIDE = 8080  # where the published port leads to
COMMANDS = ("127.0.0.1", 9901)  # inside the container
USER = 65534
ANSWER = 10.0  # seconds for a whole answer, over whatever lies between
OWN = 62  # its address in an environment's network: the last one, which no container is dealt


def own_settings(settings: Settings, host: str) -> Settings:
    """The service's settings as they hold for that Engine: a folder of its own, no HTTPS."""
    name = hashlib.sha256(host.encode()).hexdigest()[:12]
    return replace(settings, data=settings.data / "engines" / name, proxy_https="")


def proxy_body(settings: Settings) -> Body:
    """The container. It is never root: its low ports are the Engine's to bind."""
    host, _, port = settings.proxy_http.rpartition(":")
    body: Body = {
        "Image": settings.proxy_image,
        "Entrypoint": ["haproxy"],
        "Cmd": ["-db", "-f", f"{FOLDER}/haproxy.cfg"],
        "User": f"{USER}:{USER}",
        "ExposedPorts": {f"{INSIDE}/tcp": {}},
        "HostConfig": {
            "Binds": [f"{settings.instance}-proxy:{FOLDER}"],
            "PortBindings": {f"{INSIDE}/tcp": [{"HostIp": "" if host == "*" else host, "HostPort": port}]},
            "RestartPolicy": {"Name": "unless-stopped"},
            "LogConfig": LOGS,
            "SecurityOpt": ["no-new-privileges"],
            "CapDrop": ["ALL"],
        },
    }
    own = {INSTANCE: settings.instance, ROLE: "proxy", LISTENS: settings.proxy_http, SPEC: fingerprint(body)}
    return {**body, "Labels": own}


class _Folder(Folder):
    """Here, and sent there with every change."""

    def __init__(self, settings: Settings, api: DockerApi, container: str) -> None:
        super().__init__(settings)
        self._api, self._container = api, container

    def save(self, state: State) -> None:
        super().save(state)
        try:
            self.send(self._container)
        except EngineFailed as error:
            if status_of(error) != 404:  # it is sent before the container starts
                raise

    def send(self, container: str) -> None:
        """All files, before HAProxy is told of any change: whenever it starts again, it finds what was last wanted."""
        with translate("sending the proxy its files"):
            self._api.sdk.put_archive(container, "/", self._tar())

    def _tar(self) -> bytes:
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w") as archive:
            folder = tarfile.TarInfo(FOLDER.strip("/"))
            folder.type, folder.mode, folder.uid, folder.gid = tarfile.DIRTYPE, 0o700, USER, USER
            archive.addfile(folder)
            for name, text in self._files(self.load()).items():
                member = tarfile.TarInfo(f"{FOLDER.strip('/')}/{name}")
                content = text.encode()
                member.size, member.mode, member.uid, member.gid = len(content), 0o600, USER, USER
                archive.addfile(member, io.BytesIO(content))
        return out.getvalue()

    def _files(self, state: State) -> dict[str, str]:
        inside = replace(self._settings, proxy_http=f"*:{INSIDE}")
        return files(state, inside, control="{}:{}".format(*COMMANDS))


class _Control(Control):
    """Talks to HAProxy from inside its container."""

    def __init__(self, tunnel: Tunnel, container: str) -> None:
        self._tunnel, self._container = tunnel, container

    def ask(self, command: str) -> str:
        """See ``Control.ask``."""
        try:
            answer = self._ask(command)
        except (OSError, PushliveError) as error:
            said = error.message if isinstance(error, PushliveError) else str(error or "timeout")
            raise TryAgain(f"{self._container} did not answer `{command[:80]}` ({said}).") from error
        if not answer:  # HAProxy ends each with a newline at least
            raise TryAgain(f"{self._container} did not answer `{command[:80]}`: it takes no commands yet.")
        return answer

    def _ask(self, command: str) -> str:
        with self._tunnel.open(*COMMANDS).near as connection:
            connection.settimeout(ANSWER)
            connection.sendall(command.encode() + b"\n")
            parts = []
            while part := connection.recv(1 << 16):
                parts.append(part)
        return b"".join(parts).decode(errors="replace")


class _Container(ProxyContainer):
    """``<instance>-proxy`` there."""

    def _body(self) -> Body:
        return proxy_body(self._settings)

    def _refuse_taken(self, held: list[str]) -> None:
        """A port that somebody has there is found out by Docker."""

    def _furnish(self, container: str) -> None:
        assert isinstance(self._folder, _Folder)  # noqa: S101 - made together
        self._folder.send(container)
        for network in self.networks():
            self.connect(network)

    def _start(self, found: dict[str, Any] | None, body: Body) -> None:
        try:
            super()._start(found, body)
        except EngineFailed as error:
            said = explanation(error.__cause__ or error)
            if "address already in use" in said or "already allocated" in said:
                raise EngineFailed(
                    f"{self._settings.proxy_http} is taken on the Engine's machine: {said}",
                    advice="End who has it there, or set PUSHLIVE_PROXY_HTTP to something else.",
                ) from error
            raise

    def _await_again(self) -> bool:
        """It may serve well while the way to it is broken: it is left alone."""
        if not self._control.answers():
            raise TryAgain(f"The proxy {self.name} runs, but does not take commands.")
        return True

    def remove_volume(self) -> None:
        """Its files there; those here stay. Twice."""
        try:
            with translate("removing the proxy's volume"):
                self._api.sdk.remove_volume(self.name)
        except EngineFailed as error:
            if status_of(error) != 404:
                raise

    def networks(self) -> list[Found]:
        """Those of this instance's environments."""
        with translate("listing networks"):
            found: list[Found] = self._api.sdk.networks(
                filters={"label": f"{INSTANCE}={self._settings.instance}"}
            )
        return [one for one in found if INDEX in one["Labels"]]

    def connect(self, network: Found) -> None:
        """From now on it reaches that network's containers. Twice."""
        address = str(subnet(self._settings, int(network["Labels"][INDEX])).network_address + OWN)
        try:
            with translate(f"joining {network['Name']}"):
                self._api.sdk.connect_container_to_network(self.name, network["Id"], ipv4_address=address)
        except EngineFailed as error:
            if "already exists" not in explanation(error.__cause__ or error):
                raise

    def disconnect(self, network: Found) -> None:
        """So that the network can be removed. Twice."""
        try:
            with translate(f"leaving {network['Name']}"):
                self._api.sdk.disconnect_container_from_network(self.name, network["Id"], force=True)
        except EngineFailed as error:
            if status_of(error) not in (404, 500):  # 500: it is not connected
                raise


class RemoteProxy(Proxy):
    """See ``Proxy``. ``settings``: those of ``own_settings``."""

    def _adapters(self, client_factory: ClientFactory) -> tuple[Folder, Control, ProxyContainer]:
        name = f"{self._settings.instance}-proxy"
        api = DockerApi(client_factory)
        self.tunnel = Tunnel(api, name)
        folder, control = _Folder(self._settings, api, name), _Control(self.tunnel, name)
        self._there = _Container(client_factory, self._settings, self._clock, folder, control)
        return folder, control, self._there

    @property
    def settings(self) -> Settings:
        """Those that hold there."""
        return self._settings

    def stop(self) -> None:
        """Ends and removes the container and its volume."""
        super().stop()
        self._there.remove_volume()

    def join(self, index: int) -> None:
        """See ``Proxy.join``."""
        for network in self._networks(index):
            self._there.connect(network)

    def remove_environment(self, index: int) -> None:
        """See ``Proxy.remove_environment``; its network is left, too."""
        super().remove_environment(index)
        for network in self._networks(index):
            self._there.disconnect(network)

    def _networks(self, index: int) -> list[Found]:
        return [one for one in self._there.networks() if one["Labels"][INDEX] == str(index)]
