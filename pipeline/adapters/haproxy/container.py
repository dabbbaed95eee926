"""HAProxy's container: made once for each instance, found again, and looked at when it does not come up."""

from __future__ import annotations

import errno
import socket
from typing import Any

from pipeline.adapters.docker_api.api import ClientFactory, DockerApi
from pipeline.adapters.docker_api.client import status_of, translate
from pipeline.adapters.docker_api.labels import INSTANCE, LOGS, ROLE, SPEC, Body
from pipeline.adapters.haproxy.config import FOLDER
from pipeline.adapters.haproxy.control import SOCKET, Control
from pipeline.adapters.haproxy.files import Folder, drops_to, service_user
from pipeline.adapters.workload import fingerprint
from pipeline.config.settings import Settings
from pipeline.errors import EngineFailed, TryAgain
from pipeline.lib.retry import poll
from pipeline.ports.clock import Clock

STARTUP = 15.0  # seconds until it must answer; it takes about 0.4
HANGS = 3.0  # seconds that one which runs already is given before it counts as hanging
LISTENS = "pushlive.listens"
_ROOT_CAPS = ["NET_BIND_SERVICE", "SETUID", "SETGID", "CHOWN", "FOWNER", "DAC_OVERRIDE"]


def listens(settings: Settings) -> dict[str, str]:
    """Every ADDRESS:PORT that the proxy binds, with the setting that says so."""
    found = {settings.proxy_http: "PUSHLIVE_PROXY_HTTP"}
    if settings.proxy_https:
        found[settings.proxy_https] = "PUSHLIVE_PROXY_HTTPS"
    found[f"127.0.0.1:{settings.preview_port}"] = "PUSHLIVE_PREVIEW_PORT"
    found.update({f"127.0.0.1:{port}": "PUSHLIVE_PORTS" for port in settings.port_range})
    return found


def proxy_body(settings: Settings, drop: tuple[int, int] | None, user: tuple[int, int]) -> Body:
    """The container. ``drop``: HAProxy starts as root and becomes that; else it starts as ``user``."""
    body: Body = {
        "Image": settings.proxy_image,
        "Entrypoint": ["haproxy"],
        "Cmd": ["-db", "-f", f"{FOLDER}/haproxy.cfg"],
        "User": "0:0" if drop else f"{user[0]}:{user[1]}",
        "HostConfig": {
            "NetworkMode": "host",
            # No init: HAProxy handles its signals, and an init as root could not pass them on to it.
            "Binds": [f"{settings.data / 'proxy'}:{FOLDER}"],
            "RestartPolicy": {"Name": "unless-stopped"},
            "LogConfig": LOGS,
            "SecurityOpt": ["no-new-privileges"],
            "CapDrop": ["ALL"],
            "CapAdd": _ROOT_CAPS if drop else [],
        },
    }
    bound = ",".join(listens(settings))
    own = {INSTANCE: settings.instance, ROLE: "proxy", LISTENS: bound, SPEC: fingerprint({**body, "": bound})}
    return {**body, "Labels": own}


class ProxyContainer:
    """``<instance>-proxy``."""

    def __init__(
        self,
        client_factory: ClientFactory,
        settings: Settings,
        clock: Clock,
        folder: Folder,
        control: Control,
    ) -> None:
        self._api = DockerApi(client_factory)
        self._settings = settings
        self._clock = clock
        self._folder = folder
        self._control = control
        self.name = f"{settings.instance}-proxy"

    def ensure(self) -> bool:
        """Makes it run. True where it ran already, on files that may be older than the state.

        Raises EngineFailed that names a port taken by somebody else, a missing image, or HAProxy's own words.
        """
        body = self._body()
        found = self._find()
        ran = bool(found and found["State"]["Running"])
        held = found["Config"]["Labels"].get(LISTENS, "").split(",") if found and ran else []
        if not ran or (found and found["Config"]["Labels"].get(SPEC) != body["Labels"][SPEC]):
            self._refuse_taken(held)
        if found and found["Config"]["Labels"].get(SPEC) != body["Labels"][SPEC]:
            self.remove()
            found, ran = None, False
        if ran and self._await_again():
            return True
        if ran:  # its folder is not ours any more: moved away, and another restored in its place
            self.remove()
            found = None
        self._start(found, body)
        self._await()
        return False

    def _body(self) -> Body:
        return proxy_body(self._settings, drops_to(self._settings), service_user())

    def _refuse_taken(self, held: list[str]) -> None:
        refuse_taken(self._settings, held, self._neighbours())

    def _neighbours(self) -> dict[str, str]:
        """What other installations' proxies bind, by their instance."""
        found = self._api.list(f"{ROLE}=proxy", all=False)
        return {one["Labels"].get(INSTANCE, "?"): one["Labels"].get(LISTENS, "") for one in found}

    def remove(self) -> None:
        """Ends it at once and removes it. Silent about what is gone already."""
        found = self._find()
        if found is None:
            return
        with translate(f"removing the proxy's container {self.name}"):
            self._api.sdk.remove_container(found["Id"], force=True, v=True)

    def _find(self) -> dict[str, Any] | None:
        try:
            with translate(f"looking for the proxy's container {self.name}"):
                found: dict[str, Any] = self._api.sdk.inspect_container(self.name)
        except EngineFailed as error:
            if status_of(error) == 404:
                return None
            raise
        if found["Config"]["Labels"].get(INSTANCE) != self._settings.instance:
            raise EngineFailed(
                f"There is a container {self.name} that is not Pushlive's.",
                advice="Rename it, or give this installation another name with PUSHLIVE_INSTANCE.",
            )
        return found

    def _start(self, found: dict[str, Any] | None, body: Body) -> None:
        sdk = self._api.sdk
        try:
            with translate("starting the proxy"):
                container = found or sdk.create_container_from_config(body, self.name)  # type: ignore[no-untyped-call]
                self._furnish(container["Id"])
                sdk.start(container["Id"])
        except EngineFailed as error:
            if status_of(error) != 404:
                raise
            raise EngineFailed(
                f"The proxy's image {self._settings.proxy_image} is not on this machine.",
                advice=f"Run scripts/images, or `docker pull {self._settings.proxy_image}`.",
            ) from error

    def _furnish(self, container: str) -> None:
        """What it needs before it starts; on this machine its folder is mounted."""

    def _await_again(self) -> bool:
        """It runs: it is left alone, as it may serve well though its socket hangs. False where it has no socket
        in our folder at all: nothing could ever be told to it."""
        if poll(self._control.answers, 0.02, self._clock, timeout=HANGS):
            return True
        if not (self._folder.path / SOCKET).exists():
            return False
        raise TryAgain(
            f"The proxy {self.name} runs, but its control socket does not answer.",
            advice=f"The service repeats it. If it stays so: `docker restart {self.name}`.",
        )

    def _await(self) -> None:
        """Polls until it answers; an exit or the end of patience says what HAProxy said."""
        restarts: int | None = None

        def answers() -> bool:
            nonlocal restarts
            if self._control.answers():
                return True
            found = self._find()
            restarts = found["RestartCount"] if found and restarts is None else restarts
            if not found or found["RestartCount"] > (restarts or 0) + 1 or not found["State"]["Running"]:
                raise self._does_not_start()
            return False

        if not poll(answers, 0.02, self._clock, timeout=STARTUP):
            raise self._does_not_start()

    def _does_not_start(self) -> EngineFailed:
        return EngineFailed(
            f"The proxy {self.name} does not come up. It said: {self._last_words() or 'nothing'}",
            advice=f"`docker logs {self.name}` has all of it; its files are in {self._folder.path}.",
        )

    def _last_words(self) -> str:
        with translate("reading the proxy's log"):
            output = self._api.sdk.logs(self.name, tail=20)
        lines = output.decode(errors="replace").splitlines()
        return " · ".join(line for line in lines if "NOTICE" not in line)[-600:]


def refuse_taken(settings: Settings, held: list[str], neighbours: dict[str, str]) -> None:
    """Raises EngineFailed naming a port that somebody else has. ``held``: what our own container binds;
    ``neighbours``: the same of other installations, by instance."""
    for where, setting in listens(settings).items():
        if where not in held and taken(where):
            other = next((name for name, binds in neighbours.items() if where in binds.split(",")), "")
            who = f"the Pushlive installation {other!r}" if other else "another program (`ss -ltnp` names it)"
            raise EngineFailed(
                f"{where} is taken by {who}.",
                advice=f"End that one, or set {setting} to something else.",
            )


def taken(where: str) -> bool:
    """True when somebody listens on that ADDRESS:PORT already."""
    host, _, port = where.rpartition(":")
    host = host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as attempt:
        attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            attempt.bind(("" if host == "*" else host, int(port)))
        except OSError as error:
            return error.errno == errno.EADDRINUSE  # ports below 1024 are refused to us, not to the container
    return False
