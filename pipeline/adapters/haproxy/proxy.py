"""The proxy in front of every environment: one HAProxy container, changed while it runs, never reloaded.

Each change is written to the folder first and sent to HAProxy second, so that a container that is killed at any time
comes back with the last wanted state.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from pipeline.adapters.docker_api.api import ClientFactory
from pipeline.adapters.haproxy import open_files, waiting
from pipeline.adapters.haproxy.applying import apply, apply_servers, shut_down
from pipeline.adapters.haproxy.certificates import Certificates
from pipeline.adapters.haproxy.changes import (
    added,
    asleep,
    noticed,
    paused,
    removed,
    routes_of,
    switched,
    with_slot,
)
from pipeline.adapters.haproxy.changes import sharing as with_share
from pipeline.adapters.haproxy.config import (
    Routes,
    Server,
    State,
    backend,
    server_name,
)
from pipeline.adapters.haproxy.container import ProxyContainer
from pipeline.adapters.haproxy.control import Control, Resting
from pipeline.adapters.haproxy.files import Folder
from pipeline.adapters.haproxy.handover.draining import MOST, limit
from pipeline.adapters.haproxy.health import ServerHealth, map_value, servers_health
from pipeline.adapters.haproxy.https import Schemes
from pipeline.adapters.haproxy.liveness import Liveness
from pipeline.adapters.haproxy.rules import maintenance, registry, sharing, sleeping
from pipeline.adapters.haproxy.rules.https import Https, decided
from pipeline.adapters.haproxy.rules.listening import without_ipv6
from pipeline.adapters.haproxy.timeouts import TIMEOUT
from pipeline.config.address.entries import hosts_in
from pipeline.config.https.policy import HostPolicy
from pipeline.config.settings import Settings
from pipeline.domain.engine_types import Answered
from pipeline.domain.environment import SLOTS, Slot
from pipeline.domain.judging.latency.times import Timed
from pipeline.domain.visitors.maintenance import Notice
from pipeline.errors import EngineAway, EngineFailed, PushliveError, TryAgain
from pipeline.lib.retry import poll
from pipeline.lib.sockets import DeadlineSocket
from pipeline.ports.clock import Clock
from pipeline.ports.sleep.sleeping import Activity

_RENEWED = "`pushlive doctor --fix` replaces it, and ends no request"
SHUTDOWN = 2.0  # seconds for sessions to end that were shut down


class Proxy:
    """Routes of all environments, by index. Every method is idempotent, and raises TryAgain if HAProxy does not answer
    in time, EngineFailed if it does not start or its folder cannot be written."""

    def __init__(self, client_factory: ClientFactory, settings: Settings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._seen = False
        self._told: Https | None = None  # what HAProxy was last told of hosts, by this process
        self.schemes = self._schemes()
        self._folder: Folder
        self._control: Control
        self._container: ProxyContainer
        self._folder, self._control, self._container = self._parts(client_factory)
        self._liveness = Liveness(self._container, self._control, self._connect, clock)

    def _parts(self, client_factory: ClientFactory) -> tuple[Folder, Control, ProxyContainer]:
        folder = Folder(self._settings)
        control = Control(folder.path)
        return folder, control, ProxyContainer(client_factory, self._settings, self._clock, folder, control)

    def _schemes(self) -> Schemes:
        return Schemes(self._settings, self._clock)

    def _connect(self) -> DeadlineSocket:
        """A connection to the preview port."""
        one = DeadlineSocket()
        try:
            one.connect(("127.0.0.1", self._settings.preview_port))
        except OSError:
            one.close()
            raise
        return one

    # --- the container

    def ensure(self) -> None:
        """Starts the container unless it runs, and waits until it answers. Raises EngineFailed for a port in use."""
        if self._seen and self._control.answers():
            return
        with self._folder.locked("start.lock"):
            with self._locked():
                self._folder.save(self._folder.load())
            if self._container.ensure():
                self._sync()
        self._seen = True

    def repair(self, *, by_hand: bool = False) -> list[str]:
        """Resumes one that is paused, and restarts one that hangs; what was done. See ``Liveness.repair``."""
        with self._folder.locked("start.lock"):
            return self._liveness.repair(by_hand=by_hand)

    def tend(self, drain: Callable[[], float], *, by_hand: bool = False) -> list[str]:
        """Removes one that was replaced and has ended what it had; what there is to report. ``by_hand``: see ``renew``,
        which may also have waited for that. ``drain``: the longest one of the applications, in seconds."""
        with self._folder.locked("start.lock"):
            ended = self._container.handover.finish()
        said = [ended] if ended else []
        return said if ended is None and not by_hand else [*said, *self.renew(drain())]

    def renew(self, drain: float) -> list[str]:
        """Replaces one that runs with the configuration of another version; what there is to report. The former one has
        ``drain`` seconds for the requests that it has, see ``draining.limit``. Raises EngineFailed if it could not be
        replaced, TryAgain if an earlier one still has requests: then it goes on as before."""
        self.ensure()
        with self._folder.locked("start.lock"), self._locked():
            state, handover = self._folder.load(), self._container.handover
            self._folder.save(state)
            if self._control.structure() == self._folder.structure():
                return []
            ended = handover.finish()
            if handover.first():
                raise TryAgain(
                    f"The proxy {self._container.name} still ends the connections that it had before it was last "
                    f"replaced, for {MOST / 60:.0f} minutes at most.",
                    advice="This version's configuration follows by itself once it has.",
                )
            self._container.replace()
            try:
                apply(self._control, self._settings, state, state.environments)
                handover.decide(limit(drain))
            except PushliveError:
                handover.undo()
                raise
            handover.retire()
        said = f"the proxy {self._container.name} was replaced by one with this version's configuration"
        return [ended, said] if ended else [said]

    def examine(self) -> str:
        """That it answers, in a few words. Raises EngineAway if it does not."""
        if problem := self._liveness.problem():
            raise problem
        outdated = self._control.structure() != self._folder.structure()
        more = f". It has another version's configuration: {_RENEWED}" if outdated else ""
        files, environments = int(self._control.info("ulimit-n") or 0), len(self._settings.port_range)
        room = open_files.report(self._container.name, files, environments)
        if alone := without_ipv6(self._settings.proxy_http, self._settings.proxy_https):
            more += f". {alone}"
        if self._container.handover.first():
            more += ". The one that it replaced still ends what it had"
        return f"{self._container.name} answers commands and requests; {room}{more}"

    def mounted(self) -> str:
        """The folder that its container serves from, as the Engine's machine has it; "" if there is none."""
        return self._container.mounted()

    def stop(self) -> bool:
        """Kills and removes the container; the folder stays. False if there was none."""
        self._seen = False
        return self._container.remove()

    @property
    def token(self) -> str:
        """The value of ``X-Pushlive-Probe`` for which the public routes say which server answered."""
        return self._state().token

    def refresh_certificates(self) -> tuple[list[str], list[str]]:
        """Loads new and changed PEM files of ``<data>/certificates`` and unloads removed ones. Returns the names of
        these files, and one line for each file that cannot be used. Nothing restarts, no connection ends."""
        if not self._settings.proxy_https:
            return [], []
        self.ensure()
        with self._locked():
            return self._certificates.refresh()

    def secure(self, policies: Mapping[str, HostPolicy]) -> tuple[list[str], list[str]]:
        """See ``refresh_certificates``; then, as the policies say, HTTP leads to HTTPS for the hosts that have a valid
        certificate. ``policies``: of each host that the configuration names for this proxy."""
        found = self.refresh_certificates()
        self.ensure()
        with self._locked():
            state = self._folder.load()
            hosts = hosts_in(
                host for routes in state.environments.values() for host in (*routes.hosts, *routes.wanted)
            )
            wanted = replace(state, https=decided(policies, hosts, self._certificates.served))
            if wanted != state:
                self._folder.save(wanted)
            if wanted.https != self._told:
                self._apply(wanted, [])
                self._told = wanted.https
        return found

    @property
    def _data(self) -> Path:
        """The service's data folder."""
        return self._settings.data

    @cached_property
    def _certificates(self) -> Certificates:
        return Certificates(self._data, self._folder.path / "certificates", self._control)

    # --- environments

    def add_environment(self, index: int, name: str, hosts: tuple[str, ...]) -> None:
        """Routes these hosts and the index's loopback port to the environment. A host that another environment serves
        stays there until this one's next switch. Ends no connection. Raises EngineFailed if another
        environment has that name, or if all ports are in use."""
        if not 0 <= index < len(self._settings.port_range):
            raise EngineFailed(
                f"All {len(self._settings.port_range)} loopback ports are in use: {name} cannot have one.",
                advice=f"Widen PUSHLIVE_PORTS (now {self._settings.ports}) and restart the proxy.",
            )
        known = self._state().environments.get(index)
        if known and (known.name, {*known.hosts, *known.wanted}) == (name, set(hosts)):
            return self.ensure()
        return self._change(index, lambda state: added(state, index, name, hosts))

    def join(self, index: int) -> None:
        """Gives the proxy access to the environment's network, which exists by now. On this machine it has access
        anyway."""

    def remove_environment(self, index: int) -> None:
        """Forgets the environment; its port answers 404 again."""
        if index in self._state().environments:
            self._change(index, lambda state: removed(state, index) if index in state.environments else state)

    def set_servers(
        self,
        index: int,
        slot: Slot,
        servers: list[Server],
        timeout: float = TIMEOUT,
        check: str = "",
        *,
        sticky: bool = False,
        rules: Mapping[str, str] | None = None,
    ) -> None:
        """Sets the addresses of the slot's containers; an empty list takes the slot out. ``timeout``: seconds that they
        may send nothing; ``check``: the request of their health check; ``sticky``: a visitor stays with one of them;
        ``rules``: see ``registry.values``. Raises EngineFailed if they keep people out and an earlier version started
        the HAProxy that runs, TryAgain while one that was replaced still has connections."""

        def change(state: State) -> State:
            known = routes_of(state, index)
            routes = with_slot(known, slot, tuple(servers), timeout, check, sticky=sticky, rules=rules)
            return state.with_routes(index, routes)

        if servers:
            self._insist_on(backend(index, slot), rules or {})
        if servers or index in self._state().environments:
            self._change(index, change)

    def _insist_on(self, slot: str, rules: Mapping[str, str]) -> None:
        names = registry.guarded(rules)
        if not names:
            return
        self.ensure()
        if any(self._control.map_value(name, slot) is None for name in names):
            raise EngineFailed(
                f"The proxy {self._container.name} would let in everyone: an earlier version started it, which does not"
                " know `http.basic` and `http.allow`.",
                advice=f"{_RENEWED}.",
            )
        first = self._container.handover.first()
        if first and any(first.map_value(name, slot) is None for name in names):
            raise TryAgain(
                f"The proxy {self._container.name} was replaced by one that knows `http.basic` and `http.allow`, and"
                f" still ends the connections that it had before, for {MOST / 60:.0f} minutes at most: those would be"
                " let in without a question."
            )

    def switch(self, index: int, slot: Slot | None) -> None:
        """In one atomic step, the environment's traffic goes to this slot, or to the explained 503. Hosts that it waits
        for come with the first slot, each in a step of its own. Raises RequestError if the slot has no servers."""
        known = self._state().environments.get(index)
        if slot is None and known is None:
            return
        if slot and known:
            self._insist_on(backend(index, slot), known.rules.get(slot, {}))
        try:
            self._change(index, lambda state: switched(state, index, slot))
        except TryAgain:  # the answer was lost, but the switch may have been made
            if self.serving(index) != slot:
                raise
        if self.serving(index) != slot:
            raise TryAgain(f"The proxy did not switch e{index} to {backend(index, slot)}.")

    def pause(self, index: int, seconds: float) -> bool:
        """From now on the environment's requests wait for its next switch, each for that long at most, and then get a
        503. False if all of them get it at once: HAProxy has no Lua, or an earlier version started it."""
        self._change(index, lambda state: paused(state, index, seconds))
        return waiting.can_wait(self._control.ask(waiting.CAN_WAIT))

    def share(self, index: int, shared: sharing.Shared | None) -> None:
        """From now on a part of the environment's new visitors goes to another slot than the one that serves, in one
        atomic step; None ends it. Raises RequestError if there is nothing to share or that slot has no servers, and
        EngineFailed if an earlier version started the HAProxy that runs."""
        if shared is None and index not in self._state().environments:
            return
        if shared:
            self._insist_on_map(sharing.MAP, "divide the traffic between two releases")
        self._change(index, lambda state: with_share(state, index, shared))
        if self.shared(index) != (shared and (shared.slot, shared.thousandths)):
            raise TryAgain(f"The proxy did not change the share of e{index}.")

    def _insist_on_map(self, name: str, purpose: str) -> None:
        """Raises EngineFailed if an HAProxy that answers requests does not have it. ``purpose``: what it is for."""
        self.ensure()
        first = self._container.handover.first()
        if any(one.map(name) is None for one in (self._control, first) if one):
            raise EngineFailed(
                f"The proxy {self._container.name} cannot {purpose}: an earlier version started it.",
                advice=f"{_RENEWED}.",
            )

    def sleep(self, index: int, seconds: float) -> None:
        """From now on the environment's requests wait for its next switch, and the service hears of it. Raises what
        ``insist_on_sleep`` does."""
        self.insist_on_sleep()
        self._change(index, lambda state: asleep(state, index, seconds))
        if not self.sleeps(index):
            raise TryAgain(f"The proxy did not let the requests of e{index} wait.")

    def insist_on_sleep(self) -> None:
        """Raises EngineFailed if the HAProxy that runs cannot let requests wake an environment."""
        self.ensure()
        if not sleeping.can_sleep(self._control.ask(sleeping.CAN_SLEEP)):
            raise EngineFailed(
                f"The proxy {self._container.name} cannot let requests wait until an environment was woken: its HAProxy"
                " has no Lua, or an earlier version started it.",
                advice="`pushlive doctor --fix` replaces one of an earlier version, and ends no request.",
            )

    def set_notice(self, index: int, notice: Notice | None) -> None:
        """From now on the environment's visitors get that notice, whichever slot serves; None ends it. Raises what
        ``insist_on_notices`` does."""
        if notice is None and index not in self._state().environments:
            return
        if notice:
            self.insist_on_notices()
        self._change(index, lambda state: noticed(state, index, notice))
        if not self.has_notice(index, notice):
            raise TryAgain(f"The proxy did not change what the visitors of e{index} read.")

    def insist_on_notices(self) -> None:
        """Raises EngineFailed if an earlier version started the HAProxy that runs."""
        self._insist_on_map(maintenance.MAP, "tell visitors of maintenance")

    # --- reading

    def has_notice(self, index: int, notice: Notice | None) -> bool:
        """True if visitors of the environment get exactly that notice, as HAProxy says itself."""
        key = f"e{index}"
        wanted = maintenance.entries(key, notice) if notice else {}
        running = {
            name: self._control.map_value(maintenance.MAP, name) or "" for name in (key, f"{key}.text")
        }
        kept = self._state().environments.get(index, Routes("")).notice
        return kept == notice and all(running[name] == wanted.get(name, "") for name in running)

    def sleeps(self, index: int) -> bool:
        """True if the environment's requests wait until it was woken, as HAProxy says itself."""
        return sleeping.is_asleep((self._control.map("active.map") or {}).get(f"e{index}", ""))

    def knocked(self, index: int) -> bool:
        """True if a request waits, or is answered, that found the environment asleep."""
        return waiting.open_now(self._control.ask(waiting.asked_count(index))) > 0

    def activity(self, index: int, slot: Slot) -> Activity | None:
        """What the slot's requests were so far, and those that are open. None while an earlier HAProxy ends what it
        has."""
        if self._container.handover.first():
            return None
        name = backend(index, slot)
        count, waits = self._control.answered(name).requests, self.waited(index)
        return Activity(f"{self._container.began()} {count} {waits}", self._control.sessions(name))

    def waited(self, index: int) -> int:
        """How many requests of the environment have waited since HAProxy started; a count that is a day old may start
        again."""
        return waiting.counted(self._control.ask(waiting.asked_count(index)))

    def serving(self, index: int) -> Slot | None:
        """The slot to which HAProxy sends the environment's traffic, as it says itself."""
        value = (self._control.map("active.map") or {}).get(f"e{index}", "none")
        return next((slot for slot in SLOTS if value == backend(index, slot)), None)

    def shared(self, index: int) -> tuple[Slot, int] | None:
        """The slot to which HAProxy sends a part of the environment's new visitors, and how many of a thousand, as it
        says itself."""
        value = self._control.map_value(sharing.MAP, f"e{index}") or ""
        slot = next((slot for slot in SLOTS if value.endswith(f".{backend(index, slot)}")), None)
        return (slot, sharing.thousandths(value)) if slot else None

    def routes(self, index: int) -> Routes | None:
        """The environment's routes as the folder has them, None if it has none. Asks no HAProxy and starts none. If the
        whole data folder was lost, a proxy that still has its own tells them, and the folder keeps them again."""
        state = self._state()
        if not state.environments and self._folder.take_up(self._container.state()):
            state = self._state()
        return state.environments.get(index)

    def servers(self, index: int, slot: Slot) -> tuple[Server, ...]:
        """The slot's servers that get requests."""
        running = self._control.servers(backend(index, slot))
        return tuple(running[number][0] for number in sorted(running) if number and running[number][1])

    def checks_as(self, index: int, slot: Slot, request: str) -> bool:
        """True if the slot's servers are checked by that request, as far as the proxy has a health check."""
        known = self._state().environments.get(index, Routes("")).checks.get(slot)
        running = self._control.map_value("health.map", backend(index, slot))
        return known == request and running in (None, map_value(request))

    def health(self, index: int, slot: Slot, asked: str) -> dict[int, ServerHealth]:
        """What the checks found of the slot's servers, by number from 1. ``asked``: "GET /healthz"."""
        name = backend(index, slot)
        return servers_health(self._control.ask(f"show stat {name} 4 -1"), name, asked)

    def resting(self, index: int, slot: Slot) -> Resting:
        """For taking the slot's servers out of the traffic one by one."""
        return Resting(self._control, backend(index, slot))

    def names(self, index: int, slot: Slot) -> tuple[str, ...]:
        """The slot's servers as ``X-Pushlive-Server`` names them."""
        servers = routes_of(self._state(), index).servers.get(slot, ())
        return tuple(server_name(index, slot, server) for server in servers)

    def sessions(self, index: int, slot: Slot) -> int:
        """How many requests and tunnels the slot serves now."""
        return self._control.sessions(backend(index, slot)) + self._sessions_of_first(index, slot)

    def _sessions_of_first(self, index: int, slot: Slot) -> int:
        """The same in a proxy that was replaced and has not ended all yet."""
        first = self._container.handover.first()
        try:
            return first.sessions(backend(index, slot)) if first else 0
        except EngineAway:
            return 0

    def answered(self, index: int, slot: Slot) -> Answered:
        """What the slot has answered since HAProxy started."""
        return self._control.answered(backend(index, slot))

    def sent(self, index: int, slot: Slot) -> int:
        """How many bytes of answers went out since HAProxy started."""
        return self._control.sent(backend(index, slot))

    def timed(self, index: int, slot: Slot) -> Timed | None:
        """How long the slot's answers took since HAProxy started; None if an earlier version started it."""
        return self._control.timed(backend(index, slot))

    def shutdown_sessions(self, index: int, slot: Slot) -> None:
        """Closes what the slot still serves.

        Its servers are removed meanwhile: otherwise HAProxy would repeat a GET that was cut off, in the same slot.
        """
        with self._locked():
            servers = self._state().environments.get(index, Routes("")).servers.get(slot, ())
            if first := self._container.handover.first():
                with suppress(TryAgain):
                    self._shut_down_all(first, backend(index, slot), servers)
            self._shut_down_all(self._control, backend(index, slot), servers)

    def _shut_down_all(self, control: Control, name: str, servers: tuple[Server, ...]) -> None:
        apply_servers(control, name, ())
        poll(lambda: shut_down(control, name), 0.01, self._clock, timeout=SHUTDOWN)
        apply_servers(control, name, servers)

    # --- changing

    def _locked(self) -> AbstractContextManager[None]:
        return self._folder.locked()

    def _state(self) -> State:
        return self._folder.load()  # files are replaced atomically: reading one needs no lock

    def _change(self, index: int, change: Callable[[State], State]) -> None:
        self.ensure()
        with self._locked():
            state = self._folder.load()
            wanted = change(state)
            if wanted != state:
                self._folder.save(wanted)
            self._apply(wanted, [index])

    def _sync(self) -> None:
        """Brings an HAProxy that ran meanwhile to the state."""
        with self._locked():
            state = self._folder.load()
            self._apply(state, list(state.environments))

    def _apply(self, state: State, indexes: list[int]) -> None:
        apply(self._control, self._settings, state, indexes)
        if first := self._container.handover.first():
            with suppress(TryAgain):  # it may have ended by itself
                apply(first, self._settings, state, indexes)
