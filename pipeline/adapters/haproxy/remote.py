"""The proxy of a Docker Engine on another machine: the same HAProxy, managed through that Engine's API.

It differs from the local one in three ways. Its files are copied into a volume instead of being mounted. It is
connected to each environment's network, and publishes only its public ports. Commands reach it through a tunnel, on an
address that is not reachable from outside its container. The folder with the state stays here.
"""

from __future__ import annotations

import hashlib
import io
import re
import tarfile
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from pathlib import Path

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
from pipeline.adapters.haproxy.https import Schemes
from pipeline.adapters.haproxy.proxy import Proxy
from pipeline.adapters.workload import fingerprint
from pipeline.config.https.listeners import listeners
from pipeline.config.https.policy import HostPolicy
from pipeline.config.settings import Settings
from pipeline.errors import ConfigError, EngineAway, EngineFailed, PushliveError
from pipeline.lib.sockets import DeadlineSocket, receive_all, within

INSIDE = 8080  # the ports in the container that are published: HTTP
INSIDE_HTTPS = 8443
REFRESHED = 60.0  # seconds after which HAProxy is asked for its certificates though no file has changed
USER = 65534
ANSWER = 10.0  # seconds for a whole answer over the network
OWN = 62  # its address in an environment's network: the last one, which no container gets


_CERTIFICATES = "certificates"
_KEEP = (
    f'cd {FOLDER}/{_CERTIFICATES} || exit; for f in *; do k=; for n in "$@"; do [ "$n" = "$f" ] && k=1; done; '
    '[ "$k" ] || rm -f -- "$f"; done'
)


def remote_settings(settings: Settings, host: str) -> Settings:
    """The service's settings for that Engine: a folder of its own, in ``engines``, and not the service itself."""
    name = hashlib.sha256(host.encode()).hexdigest()[:12]
    changes = {"data": settings.data / "engines" / name, "serve_public": False}
    return settings.model_copy(update=changes)


def proxy_body(settings: Settings) -> Body:
    """The container. It is never root: the Engine binds the low ports."""
    published = {f"{INSIDE}/tcp": _published(settings.proxy_http)}
    if settings.proxy_https:
        published[f"{INSIDE_HTTPS}/tcp"] = _published(settings.proxy_https)
    body: Body = {
        "Image": settings.proxy_image,
        "Entrypoint": ["haproxy"],
        "Cmd": ["-db", "-f", f"{FOLDER}/haproxy.cfg"],
        "User": f"{USER}:{USER}",
        "ExposedPorts": {port: {} for port in published},
        "HostConfig": {
            "Binds": [f"{settings.instance}-proxy:{FOLDER}"],
            "PortBindings": published,
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
            secret = tarfile.TarInfo(f"{FOLDER.strip('/')}/{_CERTIFICATES}")
            secret.type, secret.mode, secret.uid, secret.gid = tarfile.DIRTYPE, 0o700, USER, USER
            archive.addfile(secret)
            for name, text in {**self._files(self.load()), **self._certificates()}.items():
                member = tarfile.TarInfo(f"{FOLDER.strip('/')}/{name}")
                content = text.encode()
                member.size, member.mode, member.uid, member.gid = len(content), 0o600, USER, USER
                archive.addfile(member, io.BytesIO(content))
        return out.getvalue()

    def _files(self, state: State) -> dict[str, str]:
        inside = f"0.0.0.0:{INSIDE}", f"0.0.0.0:{INSIDE_HTTPS}"
        quiet = self._settings.model_copy(update={"access_log": "off"})
        return files(state, quiet, control=ADDRESS, inside=inside)

    def _certificates(self) -> dict[str, str]:
        """Copies of those that HAProxy has accepted."""
        found = sorted((self.path / _CERTIFICATES).glob("*.*"))
        return {f"{_CERTIFICATES}/{path.name}": path.read_text() for path in found}

    def send_certificates(self) -> None:
        """Copies them, and removes those that are no longer there."""
        self.send(self._container)
        names = [name.partition("/")[2] for name in self._certificates()]
        self._api.execute(self._container, ["sh", "-c", _KEEP, "keep", *names])


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
        """One that an earlier version made, or that did not get its port for HTTPS, stays as it is: only another
        container can publish one more port, and every connection would end."""
        found, plain = self._find(), self._plain()
        labels = found["Config"]["Labels"] if found else {}
        return plain if labels.get(SPEC) == plain["Labels"][SPEC] else proxy_body(self._settings)

    def _plain(self) -> Body:
        """Without HTTPS."""
        return proxy_body(self._settings.model_copy(update={"proxy_https": ""}))

    def serves_https(self) -> bool:
        """Whether its port for HTTPS is published."""
        found = self._find() or {}
        return f"{INSIDE_HTTPS}/tcp" in (found.get("HostConfig", {}).get("PortBindings") or {})

    def send_certificates(self) -> None:
        """Copies them into the container, for its next start."""
        assert isinstance(self._folder, _Folder)  # noqa: S101 - made together
        self._folder.send_certificates()

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
            if error.port_in_use and self._can_do_without_https(error):
                self.remove()
                return self._start(None, self._plain())
            if error.port_in_use:
                raise EngineFailed(
                    f"{self._settings.proxy_http} is already in use on the Engine's machine: {error.said}",
                    advice="Stop the process that uses it, or set PUSHLIVE_PROXY_HTTP to another value.",
                ) from error
            raise
        return None

    def _can_do_without_https(self, error: DockerRefused) -> bool:
        """True if it is a port for HTTPS alone that is in use there: something else may end TLS on that machine."""
        ports = [str(one.port) for one in listeners(self._settings.proxy_https)]
        http = [str(one.port) for one in listeners(self._settings.proxy_http)]
        return any(re.search(rf":{port}\b", error.said) for port in ports if port not in http) and not any(
            re.search(rf":{port}\b", error.said) for port in http
        )

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
    _seen_before: tuple[object, str] | None = None  # with which certificates and which container all was well
    _until = 0.0  # on the monotonic clock
    _problems: list[str] = []  # noqa: RUF012 - replaced, never changed

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
    def _data(self) -> Path:
        return self._settings.data.parents[1]

    def _schemes(self) -> Schemes:
        return Schemes(self._settings, self._clock, lambda: self._state().https.https)

    def secure(self, policies: Mapping[str, HostPolicy]) -> tuple[list[str], list[str]]:
        """See ``Proxy.secure``. One that does not run is left alone."""
        if not self._remote.has_state("Running"):
            return [], []
        try:
            return super().secure(policies)
        except EngineFailed as error:
            return [], [str(error)]

    def refresh_certificates(self) -> tuple[list[str], list[str]]:
        """See ``Proxy.refresh_certificates``. Each question goes over the network: nothing is asked while all is as it
        was a minute ago."""
        if not self._settings.proxy_https or not self._remote.serves_https():
            self._certificates.served = {}
            return [], []
        now, seen = self._clock.monotonic(), (self._certificates.seen(), self._remote.began())
        if seen == self._seen_before and now < self._until:
            return [], self._problems
        changed, self._problems = super().refresh_certificates()
        with self._locked():
            if changed or seen != self._seen_before:
                self._remote.send_certificates()
        self._seen_before, self._until = seen, now + REFRESHED
        return changed, self._problems

    def examine(self) -> str:
        """See ``Proxy.examine``."""
        found = super().examine()
        if not self._settings.proxy_https or self._remote.serves_https():
            return found
        return (
            f"{found}. It serves no HTTPS: an earlier version made its container, or PUSHLIVE_PROXY_HTTPS is in use"
            f" there. `docker rm -f {self._container.name}` on that machine: the service makes it again, and every"
            " connection ends"
        )

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
