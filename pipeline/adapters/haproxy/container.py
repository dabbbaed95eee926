"""HAProxy's container: one for each instance; found again, and diagnosed if it does not start."""

from __future__ import annotations

import errno
import socket
from functools import cached_property

from pipeline.adapters.docker_api.api import ClientFactory, DockerApi, Found
from pipeline.adapters.docker_api.errors import DockerRefused
from pipeline.adapters.docker_api.labels import INSTANCE, LOGS, ROLE, SPEC, Body
from pipeline.adapters.haproxy.config import FOLDER
from pipeline.adapters.haproxy.control import SOCKET, Control
from pipeline.adapters.haproxy.files import Folder, drops_to, service_user
from pipeline.adapters.haproxy.handover.base import Handover
from pipeline.adapters.haproxy.handover.local import LocalHandover
from pipeline.adapters.haproxy.open_files import launch
from pipeline.adapters.workload import fingerprint
from pipeline.config.https.listeners import listeners
from pipeline.config.settings import Settings
from pipeline.errors import EngineAway, EngineFailed
from pipeline.lib.retry import poll
from pipeline.ports.clock import Clock

STARTUP = 15.0  # seconds until it must answer; it takes about 0.4
HANGS = 3.0  # seconds after which one that runs but does not answer counts as hanging
LISTENS = "pushlive.listens"
_ROOT_CAPS = ["NET_BIND_SERVICE", "SETUID", "SETGID", "CHOWN", "FOWNER", "DAC_OVERRIDE"]


def listens(settings: Settings) -> dict[str, str]:
    """Every ADDRESS:PORT that the proxy binds, with the setting that names it."""
    found = {str(one): "PUSHLIVE_PROXY_HTTP" for one in listeners(settings.proxy_http)}
    found |= {str(one): "PUSHLIVE_PROXY_HTTPS" for one in listeners(settings.proxy_https)}
    found[f"127.0.0.1:{settings.preview_port}"] = "PUSHLIVE_PREVIEW_PORT"
    found.update({f"127.0.0.1:{port}": "PUSHLIVE_PORTS" for port in settings.port_range})
    return found


def proxy_body(settings: Settings, drop: tuple[int, int] | None, user: tuple[int, int]) -> Body:
    """The container; ``launch`` completes its command. ``drop``: HAProxy starts as root and becomes that uid and gid;
    otherwise it starts as ``user``."""
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
        """Makes it run. True if it ran already, possibly with files older than the state.

        Raises EngineFailed, which names a port in use, a missing image, or what HAProxy said.
        """
        body = self._body()
        found = self._settled()
        ran = bool(found and found["State"]["Running"])
        held = found["Config"]["Labels"].get(LISTENS, "").split(",") if found and ran else []
        if not ran or (found and found["Config"]["Labels"].get(SPEC) != body["Labels"][SPEC]):
            self._refuse_ports_in_use(held)
        if found and found["Config"]["Labels"].get(SPEC) != body["Labels"][SPEC]:
            self.remove()
            found, ran = None, False
        if ran and found and found["State"].get("Paused"):
            self.resume()
        if ran and self._answers_again():
            return True
        if ran:  # it uses another folder: the data folder was moved away, and one was restored in its place
            self.remove()
            found = None
        self._start(found, body)
        self._await()
        return False

    def _settled(self) -> Found | None:
        """The container, once a handover that was cut off has ended."""
        self.handover.settle(self._folder.structure())
        return self._find()

    def _body(self) -> Body:
        return proxy_body(self._settings, drops_to(self._settings), service_user())

    def _refuse_ports_in_use(self, held: list[str]) -> None:
        refuse_ports_in_use(self._settings, held, self._neighbours())

    def _neighbours(self) -> dict[str, str]:
        """What the proxies of other installations bind, by their instance."""
        found = self._api.containers(f"{ROLE}=proxy", all=False)
        return {one["Labels"].get(INSTANCE, "?"): one["Labels"].get(LISTENS, "") for one in found}

    def state(self) -> str:
        """The state in the folder that the running container has mounted, "" if there is none. It may be another folder
        than ours: then only a command in the container reaches it."""
        found = self._find()
        if found is None or not found["State"]["Running"]:
            return ""
        code, output = self._api.execute(self.name, ("cat", f"{FOLDER}/state.json"))
        return "" if code else output

    def began(self) -> str:
        """When it was started last, and which it is; "" if there is none."""
        found = self._find() or {}
        return f"{found.get('Id', '')[:12]} {found.get('State', {}).get('StartedAt', '')}".strip()

    def mounted(self) -> str:
        """The folder on the Engine's machine that it has mounted, "" if there is no such container."""
        mounts = (self._find() or {}).get("Mounts") or ()
        return next((str(one.get("Source", "")) for one in mounts if one.get("Destination") == FOLDER), "")

    def remove(self) -> bool:
        """Kills and removes it. Idempotent; False if there was none."""
        found = self._find()
        if found is not None:
            self._api.remove(found["Id"])
        self.handover.forget()
        return found is not None

    def replace(self) -> None:
        """Starts a second one beside the first, see ``Handover.start``."""
        self.handover.start(self._body(), self._environments)

    @cached_property
    def handover(self) -> Handover:
        return LocalHandover(self._api, self.name, self._folder.path, self._control, self._clock)

    @property
    def _environments(self) -> int:
        """How many it has to serve at most."""
        return len(self._settings.port_range)

    def has_state(self, name: str) -> bool:
        """True if it exists and is in that state of Docker's, for example ``Running`` or ``Paused``."""
        found = self._find()
        return bool(found and found["State"].get(name))

    def resume(self) -> None:
        """Lets a paused one go on. Idempotent."""
        self._api.resume(self.name)

    def restart(self) -> None:
        """Starts it again, and waits until it answers. Every connection ends. It comes back on the last wanted state.
        Raises EngineFailed if it does not start."""
        self._api.restart(self.name)
        self._await()

    def reachable(self) -> bool:
        """False if it may be this process that cannot ask."""
        return True

    def _find(self) -> Found | None:
        found = self._api.container(self.name)
        if found and found["Config"]["Labels"].get(INSTANCE) != self._settings.instance:
            raise EngineFailed(
                f"The container {self.name} is not managed by this installation of Pushlive.",
                advice="Rename it, or give this installation another name with PUSHLIVE_INSTANCE.",
            )
        return found

    def _start(self, found: Found | None, body: Body) -> None:
        try:
            known = found["Id"] if found else ""
            launch(self._api, self.name, body, self._environments, furnish=self._furnish, container=known)
        except DockerRefused as error:
            if error.status != 404:
                raise
            raise EngineFailed(
                f"The proxy's image {self._settings.proxy_image} is not on this machine.",
                advice=f"Run scripts/images, or `docker pull {self._settings.proxy_image}`.",
            ) from error

    def _furnish(self, container: str) -> None:
        """Gives it what it needs before it starts. On this machine its folder is mounted: nothing."""

    def _answers_again(self) -> bool:
        """True once it answers. False if its socket is not in this folder at all, so it can never be given commands.
        Otherwise raises EngineAway and leaves it alone: it may serve well though its socket hangs."""
        if poll(self._control.answers, 0.02, self._clock, timeout=HANGS):
            return True
        if not (self._folder.path / SOCKET).exists():
            return False
        raise self.no_commands()

    def no_commands(self) -> EngineAway:
        """The error if it runs, but accepts no commands."""
        return EngineAway(
            f"The proxy {self.name} runs, but its control socket does not answer.",
            advice=f"The service retries. If it stays so, run `docker restart {self.name}`.",
        )

    def _await(self) -> None:
        """Returns once it answers. Raises EngineFailed if it exits, or does not answer in time."""
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
        lines = [line for line in self._api.output(self.name, 20) if "NOTICE" not in line]
        return EngineFailed(
            f"The proxy {self.name} does not start. It said: {' · '.join(lines)[-600:] or 'nothing'}",
            advice=f"`docker logs {self.name}` shows all of it; its files are in {self._folder.path}.",
        )


def refuse_ports_in_use(settings: Settings, held: list[str], neighbours: dict[str, str]) -> None:
    """Raises EngineFailed for a port that another process listens on. ``held``: what our own container binds;
    ``neighbours``: what other installations bind, by instance."""
    for where, setting in listens(settings).items():
        if where not in held and in_use(where):
            other = next((name for name, binds in neighbours.items() if where in binds.split(",")), "")
            who = f"the Pushlive installation {other!r}" if other else "another program (`ss -ltnp` names it)"
            raise EngineFailed(
                f"{where} is in use by {who}.",
                advice=f"Stop it, or set {setting} to another value.",
            )


def in_use(where: str) -> bool:
    """True if a process listens on that ADDRESS:PORT."""
    one = listeners(where)[0]
    families = [socket.AF_INET6] if one.is_ipv6 else [socket.AF_INET]
    if one.both:
        families = [socket.AF_INET, socket.AF_INET6]
    return any(_refused(family, "" if one.both else one.host, one.port) for family in families)


def _refused(family: socket.AddressFamily, host: str, port: int) -> bool:
    try:
        with socket.socket(family, socket.SOCK_STREAM) as attempt:
            attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                attempt.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            attempt.bind((host, port))
    except OSError as error:
        # A port below 1024 is refused to this process, not to the container; a family may not be there at all.
        return error.errno == errno.EADDRINUSE
    return False
