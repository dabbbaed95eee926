"""What the engine asks of Docker, one method for each act: translated errors, silent about what is gone."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

from docker.types import CancellableStream, IPAMConfig, IPAMPool

import docker
from pipeline.adapters.docker_api.client import explanation, status_of, translate
from pipeline.adapters.docker_api.labels import ADDRESS, MEMORY, PORT, RELEASE, STOP, Body
from pipeline.domain.engine_types import Replica
from pipeline.errors import AppFailed, EngineFailed
from pipeline.ports.clock import Watch

Found = dict[str, Any]  # a container as the Engine lists or inspects it
ClientFactory = Callable[[], docker.DockerClient]

# Until somebody stops it. (The SDK's stubs know a narrower type than the SDK takes.)
ALWAYS: Any = {"Name": "unless-stopped"}
NEVER = "0001-01-01T00:00:00Z"
ENTRY = 16 << 10  # bytes: the Engine keeps a longer line in several entries
_STAMP = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d) ")
_STATES = {"created": "created", "running": "running", "restarting": "starting", "paused": "starting"}


class DockerApi:
    """Docker, for one process at a time: a forked one gets connections of its own."""

    def __init__(self, client_factory: ClientFactory) -> None:
        self._factory = client_factory
        self._client: docker.DockerClient | None = None
        self._owner = 0

    @property
    def sdk(self) -> docker.APIClient:
        """The SDK's low-level client."""
        if self._client is None or self._owner != os.getpid():
            self._client, self._owner = self._factory(), os.getpid()
        return self._client.api

    def list(self, *labels: str, all: bool = True) -> list[Found]:
        """Containers that carry all of these labels (``name`` or ``name=value``)."""
        with translate("listing containers"):
            found: list[Found] = self.sdk.containers(all=all, filters={"label": list(labels)})
        return found

    def inspect(self, name: str) -> Found | None:
        """One container, None where there is none."""
        found: Found | None = self._unless_gone(
            f"looking at {name}", lambda: self.sdk.inspect_container(name)
        )
        return found

    def image(self, name: str) -> Found | None:
        """One image, None where it is not there."""
        sdk: Any = self.sdk
        found: Found | None = self._unless_gone(
            f"looking at the image {name[:19]}", lambda: sdk.inspect_image(name)
        )
        return found

    def remove_image(self, name: str) -> None:
        """Removes one image, unless a container uses it. Twice."""
        try:
            self._unless_gone(f"removing the image {name}", lambda: self.sdk.remove_image(name))
        except EngineFailed as error:
            if status_of(error) != 409:
                raise

    def create(self, name: str, body: Body) -> str:
        """Makes a container; its id. Raises EngineFailed where the image is gone or the name is taken."""
        try:
            with translate(f"making {name}"):
                return str(self.sdk.create_container_from_config(body, name)["Id"])  # type: ignore[no-untyped-call]
        except EngineFailed as error:
            if status_of(error) == 404:
                raise EngineFailed(
                    f"{name}: its image {body['Image'][:19]} is not on this machine any more.",
                    advice="Deploy the commit again (`pushlive deploy --commit …`).",
                ) from error
            raise

    def start(self, name: str) -> None:
        """Starts a container. Raises AppFailed where its command cannot be executed."""
        try:
            with translate(f"starting {name}"):
                self.sdk.start(name)
        except EngineFailed as error:
            if status_of(error) == 400:
                said = explanation(error.__cause__ or error)
                raise AppFailed(
                    f"{name} cannot be started: its command cannot be executed.",
                    advice="Look at ENTRYPOINT and CMD in the Dockerfile and `command` in pipelines.yaml.",
                    evidence=(said,),
                ) from error
            raise

    def end(self, found: Found) -> None:
        """Stops a container (SIGTERM, then SIGKILL after its stop limit) and removes it. Twice."""
        limit = int(found["Labels"].get(STOP) or 10)
        name = found["Id"]
        if found["State"] in ("running", "restarting", "paused"):
            self._unless_gone(f"stopping {name_of(found)}", lambda: self.sdk.stop(name, timeout=limit))
        self.remove(name)

    def remove(self, name: str) -> None:
        """Removes a container, running or not. Twice."""
        try:
            self._unless_gone(f"removing {name}", lambda: self.sdk.remove_container(name, force=True, v=True))
        except EngineFailed as error:
            if status_of(error) != 409:  # 409: its removal is under way already
                raise

    def restart_always(self, name: str) -> None:
        """From now on Docker starts it again by itself, after a crash and after a reboot."""
        with translate(f"setting the restart policy of {name}"):
            self.sdk.update_container(name, restart_policy=ALWAYS)

    def output(self, name: str, lines: int, times: bool = False) -> tuple[str, ...]:
        """Its last output lines, each whole; with ``times`` each begins with its time."""
        raw = self._unless_gone(
            f"reading the output of {name}", lambda: self.sdk.logs(name, tail=lines + 1, timestamps=True)
        )
        found = [_entries(line) for line in (raw or b"").split(b"\n") if line]
        if sum(len(entries) for entries in found) > lines:
            del found[0]  # where more was left behind, this may be the end of a line only
        texts = (b"".join(entries) for entries in found)
        whole = (text if times else text.partition(b" ")[2] for text in texts)
        return tuple(text.decode(errors="replace").rstrip("\r") for text in whole)

    def follow(self, name: str) -> CancellableStream[bytes]:
        """Its output as it comes, in pieces of bytes; ends with the container."""
        with translate(f"following the output of {name}"):
            stream: CancellableStream[bytes] = self.sdk.logs(name, stream=True, follow=True)
        return stream

    def memory(self) -> int:
        """Bytes of memory that the Engine's machine has."""
        with translate("asking Docker about the machine"):
            return int(self.sdk.info()["MemTotal"])

    def network(self, name: str) -> Found | None:
        """One network, None where there is none."""
        found: Found | None = self._unless_gone(
            f"looking at the network {name}", lambda: self.sdk.inspect_network(name)
        )
        return found

    def create_network(self, body: Body) -> None:
        """Makes a network. Raises EngineFailed where its addresses are in use; silent where it is there."""
        pools = [
            IPAMPool(subnet=p["Subnet"], iprange=p["IPRange"], gateway=p["Gateway"])
            for p in body["IPAM"]["Config"]
        ]
        ipam = IPAMConfig(driver="default", pool_configs=pools)
        try:
            with translate(f"making the network {body['Name']}"):
                self.sdk.create_network(
                    body["Name"], driver="bridge", ipam=ipam, check_duplicate=True, labels=body["Labels"]
                )
        except EngineFailed as error:
            if status_of(error) == 409:
                return
            if status_of(error) in (403, 500):  # an overlapping pool, an address in use
                raise EngineFailed(
                    f"The network {body['Name']} cannot have {pools[0]['Subnet']}: "
                    f"{explanation(error.__cause__ or error)}.",
                    advice="Set PUSHLIVE_SUBNETS to addresses that nothing else uses (see `ip route`).",
                ) from error
            raise

    def remove_network(self, name: str) -> None:
        """Removes a network. Twice."""
        self._unless_gone(f"removing the network {name}", lambda: self.sdk.remove_network(name))

    def _unless_gone(self, doing: str, act: Callable[[], Any]) -> Any:
        try:
            with translate(doing):
                return act()
        except EngineFailed as error:
            if status_of(error) in (304, 404):
                return None
            raise


def _entries(line: bytes) -> list[bytes]:
    """What the Engine keeps one line in, the time before the first alone: with times asked for it puts one before
    each, in the middle of the text."""
    stamp, space, text = line.partition(b" ")
    pieces = [stamp + space + text[:ENTRY]]
    rest = text[ENTRY:]
    while rest:
        time = _STAMP.match(rest)
        rest = rest[time.end() :] if time else rest
        pieces.append(rest[:ENTRY])
        rest = rest[ENTRY:]
    return pieces


def name_of(found: Found) -> str:
    """The name of a listed or inspected container."""
    return str(found.get("Name") or found["Names"][0]).lstrip("/")


def replica_of(found: Found, inspected: Found | None) -> Replica:
    """A listed container as a Replica; ``inspected`` is needed for its exit code alone."""
    state = inspected["State"] if inspected else {}
    return Replica(
        name=name_of(found),
        address=found["Labels"].get(ADDRESS, ""),
        port=int(found["Labels"].get(PORT) or 0),
        release=int(found["Labels"].get(RELEASE) or 0),
        state=_STATES.get(found["State"], "exited"),
        exit_code=state.get("ExitCode"),
        out_of_memory=bool(state.get("OOMKilled")),
    )


def memory_of(found: Iterable[Found]) -> int:
    """The sum of the containers' memory limits, in bytes."""
    return sum(int(one["Labels"].get(MEMORY) or 0) for one in found)


def together(acts: list[Callable[[], None]], watch: Watch | None = None) -> None:
    """Does all of them at once; the first error is raised once all have ended."""
    if not acts:
        return
    with ThreadPoolExecutor(len(acts)) as pool:
        futures = [pool.submit(act) for act in acts]
        while watch and wait(futures, timeout=0.2).not_done:
            watch.check()
    for future in futures:
        future.result()
