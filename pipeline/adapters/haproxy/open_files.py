"""How many files HAProxy may have open, and so how many connections it takes at once: two for each.

By itself HAProxy does not start if the limit is too low for all that is declared, though little of that is ever open:
an environment declares 24 servers, each with a check. So it is told to start (``no strict-limits``), and to take as
many connections as the limit leaves. The Engine sets the limit, if it may: one that is in a container itself may not.
"""

from __future__ import annotations

from collections.abc import Callable

from pipeline.adapters.docker_api.api import DockerApi
from pipeline.adapters.docker_api.errors import DockerRefused
from pipeline.adapters.docker_api.labels import Body
from pipeline.adapters.haproxy.config import FOLDER, SERVERS
from pipeline.domain.environment import SLOTS

CONNECTIONS = 8192  # at most
FEWEST = 1024  # connections that are to be left
EACH = 3  # files of an environment: its port, and a check under way in each of its slots
OTHER = 400  # files: the other ports, control connections, maps, certificates

_COMMAND = """\
files=$(ulimit -Hn)
[ "$files" = unlimited ] && files=1000000
connections=$(( (files - {reserved}) / 2 ))
[ "$connections" -gt {most} ] && connections={most}
[ "$connections" -lt 100 ] && connections=100
exec haproxy -db -n "$connections" -f {folder}/haproxy.cfg
"""


def wanted(environments: int) -> int:
    """The files for which HAProxy finds no fault with its limit."""
    return 2 * CONNECTIONS + (len(SLOTS) * SERVERS + 2) * environments + OTHER


def room(files: int) -> int:
    """The number of environments for which such a limit leaves ``FEWEST`` connections."""
    return max(0, (files - OTHER - 2 * FEWEST) // EACH)


def report(name: str, files: int, environments: int) -> str:
    """Whether the limit of a running HAProxy is enough for so many environments, in words."""
    fit = room(files)
    text = f"its limit of {files} open files is enough for {fit} environments"
    if fit >= environments:
        return text
    return (
        f"{text}, and PUSHLIVE_PORTS has {environments}: few connections are left. Raise the Docker daemon's own limit"
        f" (`LimitNOFILE` of its systemd unit) to {wanted(environments)}, then `docker rm -f {name}`: the service"
        " starts it again, and every connection ends. Or make PUSHLIVE_PORTS smaller"
    )


def command(environments: int) -> str:
    """Becomes HAProxy, in a shell."""
    return _COMMAND.format(reserved=OTHER + EACH * environments, most=CONNECTIONS, folder=FOLDER)


def launch(
    api: DockerApi,
    name: str,
    body: Body,
    environments: int,
    *,
    furnish: Callable[[str], None] = lambda _: None,
    container: str = "",
) -> None:
    """Starts HAProxy with the limit that it needs, or with the Engine's own. ``container``: one that exists;
    ``furnish`` gives it what it needs before it starts. Raises DockerRefused."""
    limited, plain = _bodies(body, environments)
    container = container or api.create(name, limited)
    furnish(container)
    try:
        api.start(container)
    except DockerRefused:
        api.remove(container)
        container = api.create(name, plain)
        furnish(container)
        api.start(container)


def _bodies(body: Body, environments: int) -> tuple[Body, Body]:
    plain = {**body, "Entrypoint": ["sh", "-c"], "Cmd": [command(environments)]}
    files = wanted(environments)
    limits = [{"Name": "nofile", "Soft": files, "Hard": files}]
    return {**plain, "HostConfig": {**body["HostConfig"], "Ulimits": limits}}, plain
