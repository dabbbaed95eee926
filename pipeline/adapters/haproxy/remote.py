"""The proxy of a Docker Engine on another machine: the same HAProxy, managed through that Engine's API.

It differs from the local one in three ways. Its files are copied into a volume instead of being mounted. It is
connected to each environment's network, and publishes only its public port. Commands reach it through a tunnel, on an
address that is not reachable from outside its container. The folder with the state stays here.
"""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Callable, Iterable
from functools import cached_property

from pipeline.adapters.docker_api.addresses import subnet
from pipeline.adapters.docker_api.api import ClientFactory, DockerApi, Found
from pipeline.adapters.docker_api.errors import DockerRefused
from pipeline.adapters.docker_api.exec_tunnel import Tunnel
from pipeline.adapters.docker_api.labels import INDEX, INSTANCE, LOGS, ROLE, SPEC, Body
from pipeline.adapters.haproxy.config import FOLDER, State, files
from pipeline.adapters.haproxy.container import LISTENS, ProxyContainer
from pipeline.adapters.haproxy.control import Control
from pipeline.adapters.haproxy.files import Folder
from pipeline.adapters.haproxy.handover.base import Handover
from pipeline.adapters.haproxy.handover.draining import Mark
from pipeline.adapters.haproxy.handover.remote import ADDRESS, CHOOSE, HOST, MAIN, RemoteHandover
from pipeline.adapters.haproxy.proxy import Proxy
from pipeline.adapters.workload import fingerprint
from pipeline.config.https.listeners import listeners
from pipeline.config.settings import Settings
from pipeline.errors import ConfigError, EngineAway, EngineFailed, PushliveError
from pipeline.lib.sockets import DeadlineSocket, receive_all, within

INSIDE = 8080  # the port in the container that is published
USER = 65534
ANSWER = 10.0  # seconds for a whole answer over the network
OWN = 62  # its address in an environment's network: the last one, which no container gets


def remote_settings(settings: Settings, host: str) -> Settings:
    """The service's settings for that Engine: a folder of its own, no HTTPS, and not the service itself."""
    name = hashlib.sha256(host.encode()).hexdigest()[:12]
    return settings.model_copy(
        update={"data": settings.data / "engines" / name, "proxy_https": "", "serve_public": False}
    )


def proxy_body(settings: Settings) -> Body:
    """The container. It is never root: the Engine binds the low ports."""
    body: Body = {
        "Image": settings.proxy_image,
        "Entrypoint": ["haproxy"],
        "Cmd": ["-db", "-f", f"{FOLDER}/haproxy.cfg"],
        "User": f"{USER}:{USER}",
        "ExposedPorts": {f"{INSIDE}/tcp": {}},
        "HostConfig": {
            "Binds": [f"{settings.instance}-proxy:{FOLDER}"],
            "PortBindings": {f"{INSIDE}/tcp": _published(settings.proxy_http)},
            "RestartPolicy": {"Name": "unless-stopped"},
            "LogConfig": LOGS,
            "SecurityOpt": ["no-new-privileges"],
            "CapDrop": ["ALL"],
        },
    }
    own = {INSTANCE: settings.instance, ROLE: "proxy", LISTENS: settings.proxy_http, SPEC: fingerprint(body)}
    return {**body, "Labels": own}


def _published(value: str) -> list[dict[str, str]]:
    """Where the Engine listens."""
    return [
        {"HostIp": "" if one.host == "*" else one.host, "HostPort": str(one.port)} for one in listeners(value)
    ]


class _Folder(Folder):
    """The local folder, copied to the container with every change."""

    def __init__(self, settings: Settings, api: DockerApi, container: str) -> None:
        super().__init__(settings)
        self._api, self._container = api, container

    def save(self, state: State) -> None:
        super().save(state)
        try:
            self.send(self._container)
        except DockerRefused as error:
            if error.status != 404:  # there is no container yet; it gets the files before it starts
                raise

    def send(self, container: str) -> None:
        """Copies all files, before HAProxy is told of a change: when it restarts, it finds the last wanted state."""
        self._api.put_files(container, self._tar())

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
        inside = self._settings.model_copy(update={"proxy_http": f"0.0.0.0:{INSIDE}", "access_log": "off"})
        return files(state, inside, control=ADDRESS)


class _Control(Control):
    """Talks to HAProxy through a tunnel into its container. ``port``: to the process that takes commands there; 0: to
    the one that serves."""

    def __init__(self, tunnel: Tunnel, container: str, port: int = 0) -> None:
        self._tunnel, self._container, self._port = tunnel, container, port

    def ask(self, command: str) -> str:
        """See ``Control.ask``."""
        try:
            answer = self._ask(command)
        except (OSError, PushliveError) as error:
            said = error.message if isinstance(error, PushliveError) else str(error or "timeout")
            raise EngineAway(f"{self._container} did not answer `{command[:80]}` ({said}).") from error
        if not answer:  # HAProxy ends every answer with a newline
            raise EngineAway(
                f"{self._container} did not answer `{command[:80]}`: it does not accept commands yet."
            )
        return answer

    def _ask(self, command: str) -> str:
        port, choose = (self._port, "") if self._port else (MAIN, CHOOSE)
        with within(ANSWER), self._tunnel.open(HOST, port, choose).near as connection:
            connection.sendall(command.encode() + b"\n")
            return receive_all(connection).decode(errors="replace")


class _Container(ProxyContainer):
    """``<instance>-proxy`` on the remote Engine."""

    tunnel: Tunnel

    @cached_property
    def handover(self) -> Handover:
        """See ``ProxyContainer.handover``."""
        mark = Mark(self._folder.path)
        return RemoteHandover(self._api, self.name, mark, self._clock, self._at, self._known)

    def _at(self, port: int) -> Control:
        return _Control(self.tunnel, self.name, port)

    def _known(self) -> Iterable[int]:
        return self._folder.load().environments

    def _settled(self) -> Found | None:
        """A handover is in the container, and ends with it."""
        found = self._find()
        if not found or not found["State"]["Running"]:
            self.handover.forget()
        elif not found["State"]["Paused"]:
            return super()._settled()
        return found

    def _body(self) -> Body:
        return proxy_body(self._settings)

    def _refuse_ports_in_use(self, held: list[str]) -> None:
        """Only Docker can tell, when the container starts."""

    def _furnish(self, container: str) -> None:
        assert isinstance(self._folder, _Folder)  # noqa: S101 - made together
        self._folder.send(container)
        for network in self.networks():
            self.connect(network)

    def _start(self, found: Found | None, body: Body) -> None:
        try:
            super()._start(found, body)
        except DockerRefused as error:
            if error.port_in_use:
                raise EngineFailed(
                    f"{self._settings.proxy_http} is already in use on the Engine's machine: {error.said}",
                    advice="Stop the process that uses it, or set PUSHLIVE_PROXY_HTTP to another value.",
                ) from error
            raise

    def _answers_again(self) -> bool:
        """Otherwise it is left alone: it may serve well though this machine cannot reach it."""
        if not self._control.answers():
            raise self.no_commands()
        return True

    def no_commands(self) -> EngineAway:
        """See ``ProxyContainer.no_commands``."""
        return EngineAway(f"The proxy {self.name} runs, but does not accept commands.")

    def reachable(self) -> bool:
        """True if the Engine runs commands in its container, on which every connection to it depends."""
        code, _ = self._api.execute(self.name, ["sh", "-c", "command -v nc || command -v bash"])
        return code == 0

    def remove_volume(self) -> None:
        """Removes its files there; those here stay. Idempotent."""
        self._api.remove_volume(self.name)

    def networks(self) -> list[Found]:
        """Those of this instance's environments."""
        found = self._api.networks(f"{INSTANCE}={self._settings.instance}")
        return [one for one in found if INDEX in one["Labels"]]

    def connect(self, network: Found) -> None:
        """Gives it access to that network's containers. Idempotent."""
        address = str(subnet(self._settings, int(network["Labels"][INDEX])).network_address + OWN)
        self._api.connect(self.name, network, address)

    def disconnect(self, network: Found) -> None:
        """Takes that access away, so that the network can be removed. Idempotent."""
        self._api.disconnect(self.name, network)


class RemoteProxy(Proxy):
    """See ``Proxy``. ``settings``: from ``remote_settings``."""

    _tried = False  # to replace one that an earlier version started

    def insist_on_sleep(self) -> None:
        raise ConfigError(
            f"The proxy {self._container.name} is on another machine and cannot tell this service of requests.",
            advice="Only what runs on this machine or on a cluster can be put to sleep.",
        )

    def _parts(self, client_factory: ClientFactory) -> tuple[Folder, Control, ProxyContainer]:
        name = f"{self._settings.instance}-proxy"
        api = DockerApi(client_factory)
        self.tunnel = Tunnel(api, name)
        folder, control = _Folder(self._settings, api, name), _Control(self.tunnel, name)
        self._remote = _Container(client_factory, self._settings, self._clock, folder, control)
        self._remote.tunnel = self.tunnel
        return folder, control, self._remote

    def _connect(self) -> DeadlineSocket:
        return self.tunnel.open("127.0.0.1", self._settings.preview_port).near

    @property
    def settings(self) -> Settings:
        """The settings for that Engine."""
        return self._settings

    def stop(self) -> bool:
        """Kills and removes the container, and removes its volume. False if there was no container."""
        found = super().stop()
        self._remote.remove_volume()
        return found

    def tend(self, drain: Callable[[], float], *, by_hand: bool = False) -> list[str]:
        """See ``Proxy.tend``. Nothing waits for this Engine when the service starts, so one with the configuration of
        another version is replaced here, in the first round in which it runs."""
        said = super().tend(drain, by_hand=by_hand)
        if self._tried or not self._remote.has_state("Running"):
            return said
        try:
            said += self.renew(drain())
        except EngineFailed as error:
            said.append(str(error))
        self._tried = True
        return said

    def join(self, index: int) -> None:
        """See ``Proxy.join``."""
        for network in self._networks(index):
            self._remote.connect(network)

    def remove_environment(self, index: int) -> None:
        """See ``Proxy.remove_environment``; disconnects from its network as well."""
        super().remove_environment(index)
        for network in self._networks(index):
            self._remote.disconnect(network)

    def _networks(self, index: int) -> list[Found]:
        return [one for one in self._remote.networks() if one["Labels"][INDEX] == str(index)]
