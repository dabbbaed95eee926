"""The handover on a remote Docker Engine, which publishes the proxy's port for one container only.

So the second HAProxy is a second process in the container of the first one, where both bind the same ports. The first
one is the container's main process: it stays when it has ended all that it had, and does nothing. When the container is
started again, its main process reads the files, and is a proxy as any other. If the second one ends, it takes the
container with it, and the Engine starts that again.

Each takes commands on a port of its own. Which of them serves is in a file in the container, and is looked up there
with each command, so that no process of the service talks to one that no longer serves. If nothing listens on the port
in the file, the container was started again, and its main process serves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from pipeline.adapters.docker_api.api import DockerApi
from pipeline.adapters.docker_api.labels import Body
from pipeline.adapters.haproxy import last_resort
from pipeline.adapters.haproxy.applying import apply_servers, shut_down
from pipeline.adapters.haproxy.config import FOLDER, backend
from pipeline.adapters.haproxy.control import Control
from pipeline.adapters.haproxy.handover.base import START, Handover, close, connections
from pipeline.adapters.haproxy.handover.draining import LEAST, Draining, Mark
from pipeline.adapters.haproxy.open_files import command
from pipeline.domain.environment import SLOTS
from pipeline.errors import EngineAway
from pipeline.lib.retry import poll
from pipeline.ports.clock import Clock

HOST = "127.0.0.1"  # inside the container
MAIN = 9901  # where its main process takes commands, and the proxies of all earlier versions
OTHERS = (9902, 9903)  # where those take commands that took over
_VARIABLE = "PUSHLIVE_CONTROL"
ADDRESS = f'"{HOST}:${{{_VARIABLE}-{MAIN}}}"'  # as HAProxy's configuration has it
UNCLAIMED = 60  # seconds after which a second one ends that was not made the one that serves
GONE = 2.0  # seconds for one that was told to end

_FILE = f"{FOLDER}/control"
_LISTENS = 'grep -q ":$(printf %04X "$p") 00000000:0000 0A" /proc/net/tcp'
_FOUND = f"p=$(cat {_FILE} 2>/dev/null) && {_LISTENS}"
CHOOSE = f'{_FOUND} && set -- "$1" "$p"\n'  # see ``Tunnel.open``
_SERVING = f"{_FOUND} || p={MAIN}; echo $p"
_IS_THERE = f'p=$1; {_LISTENS} && echo "$p"'
_NAME = f'printf %s "$1" >{_FILE}.new && mv -f {_FILE}.new {_FILE}'
_EACH = f"cd {FOLDER}; for one in {' '.join(last_resort.SOCKETS)}; do"
_KEEP = f"{_EACH} rm -f before-$one; ln $one before-$one; done"
_RESTORE = f"{_EACH} mv -f before-$one $one; done"
_FORGET = f"{_EACH} rm -f before-$one; done"
# Its port and its command. What it says goes where the main process says it. That one is ended by a soft stop, which it
# does at once as it has nothing left: the kernel gives a container's main process no signal that it does not handle.
_SECOND = f"""\
[ -w /proc/1/fd/1 ] && exec >/proc/1/fd/1 2>&1
{_KEEP}
serves() {{ [ "$(cat control)" = "$1" ]; }}
{_VARIABLE}=$1 sh -c "$2" &
second=$!
(
    sleep {UNCLAIMED}
    if serves "$1"; then {_FORGET}; else {_RESTORE}; kill $second; fi
) &
guard=$!
wait $second
kill $guard
if serves "$1"; then kill -USR1 1; fi
"""


class RemoteHandover(Handover):
    """``at``: commands for the process in the container that has that port; ``environments``: the indexes of those that
    the proxy knows. See ``Handover``."""

    def __init__(
        self,
        api: DockerApi,
        name: str,
        mark: Mark,
        clock: Clock,
        at: Callable[[int], Control],
        environments: Callable[[], Iterable[int]],
    ) -> None:
        super().__init__(api, name, mark, clock)
        self._at, self._environments = at, environments
        self._former = self._second = MAIN

    def start(self, body: Body, environments: int) -> None:  # noqa: ARG002 - its container is there
        """See ``Handover.start``."""
        self._former = self._second = self._serving()
        self._name_serving(self._former)  # the file may name the port that the second one gets
        code, said = self._api.execute(self._name, ["haproxy", "-c", "-f", f"{FOLDER}/haproxy.cfg"])
        if code:
            raise self._failed(tuple(said.splitlines()))
        second = next(port for port in OTHERS if port != self._former)
        self._kill(second)
        self._second = second
        try:
            script = ["sh", "-c", _SECOND, "second", str(second), command(environments)]
            self._await(self._api.execute_detached(self._name, script))
            self._name_serving(second)
        except Exception:
            self.undo()
            raise

    def _await(self, command: str) -> None:
        """Returns once the second one takes commands."""

        def answers() -> bool:
            if not self._api.executes(command):
                raise self._failed(self._api.output(self._name, 20))
            return self._at(self._second).answers()

        if not poll(answers, 0.1, self._clock, timeout=START):
            raise self._failed(self._api.output(self._name, 20))

    def undo(self) -> None:
        """See ``Handover.undo``."""
        self._name_serving(self._former)
        if self._second != self._former:
            self._kill(self._second)
            self._shell(_RESTORE)

    def decide(self, seconds: float) -> None:
        """See ``Handover.decide``."""
        self._decide(self._former, seconds)

    def retire(self) -> None:
        """See ``Handover.retire``."""
        if draining := self._mark.read():
            close(self._control_of(draining))

    def settle(self, wanted: str) -> None:  # noqa: ARG002 - it is decided by the file in the container
        """See ``Handover.settle``. One that takes connections, and does not serve, ends what it has."""
        if self._mark.read():
            return
        serving = self._serving()
        for port in (MAIN, *OTHERS):
            if port != serving and self._takes_connections(port):
                self._decide(port, LEAST)
                self.retire()

    def _control_of(self, draining: Draining) -> Control:
        return self._at(draining.control)

    def _connections(self, draining: Draining) -> int:
        if self._is_over(draining):
            return 0
        self.retire()  # again, if the Engine did not answer in time
        return connections(self._control_of(draining))

    def _end(self, draining: Draining) -> None:
        if self._is_over(draining):
            return
        if draining.control == MAIN:
            self._silence(self._control_of(draining))
        else:
            self._kill(draining.control)

    def _is_over(self, draining: Draining) -> bool:
        """True if the container was started again since."""
        return draining.control == self._serving() or not self._shell(_IS_THERE, str(draining.control))

    def _silence(self, control: Control) -> None:
        """The main process has nothing left, checks no servers, and counts as one that does not answer: an earlier
        version of the service, which knows this port only, must not take it for the one that serves."""
        for name in (backend(index, slot) for index in self._environments() for slot in SLOTS):
            apply_servers(control, name, ())
            shut_down(control, name)
        control.ask(f"clear map {FOLDER}/active.map")

    def _decide(self, former: int, seconds: float) -> None:
        self._mark.write(Draining(self._clock.monotonic() + seconds, seconds, former))

    def _serving(self) -> int:
        return int(self._shell(_SERVING).strip() or MAIN)

    def _name_serving(self, port: int) -> None:
        self._shell(_NAME, str(port))

    def _takes_connections(self, port: int) -> bool:
        try:
            return ",OPEN," in self._at(port).ask("show stat hosts 1 -1")
        except EngineAway:
            return False

    def _kill(self, port: int) -> None:
        """Ends the process that takes commands there, if there is one."""
        try:
            process = self._at(port).info("Pid")
        except EngineAway:
            return
        self._shell('kill "$1"', process)
        poll(lambda: not self._at(port).answers(), 0.05, self._clock, timeout=GONE)

    def _shell(self, script: str, *words: str) -> str:
        """What it printed."""
        return self._api.execute(self._name, ["sh", "-c", script, "handover", *words])[1]
