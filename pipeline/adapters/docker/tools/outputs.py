"""What containers on Docker print and use."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import requests
import urllib3

from pipeline.adapters.docker.base import EngineBase
from pipeline.adapters.docker.tools import cgroups
from pipeline.adapters.docker_api import labels
from pipeline.adapters.docker_api.api import DockerApi, Found, name_of
from pipeline.adapters.docker_api.container_calls import frames
from pipeline.config.engines import kind_of
from pipeline.domain.engine_types import SlotRef
from pipeline.domain.watching.usage import Measured
from pipeline.lib.parallel import together
from pipeline.ports.outputs import Source, Usage

AT_ONCE = 20  # containers that an Engine is asked about at a time: each answer comes with its next tick


class DockerOutputs(EngineBase):
    """See ``ports.Outputs``."""

    def sources(self, ref: SlotRef) -> tuple[Source, ...]:
        found = sorted(self._whole_slot(ref), key=name_of)
        return tuple(
            Source(
                name_of(one), _label(one), one["Labels"].get(labels.PROCESS, ""), one["State"] == "running"
            )
            for one in found
        )

    def output_of(self, name: str, *, lines: int, since: float, follow: bool) -> DockerOutput:
        inspected = self._api.container(name)
        terminal = bool(inspected and inspected["Config"].get("Tty"))
        return DockerOutput(self._api.stream_output(name, lines, since, follow=follow), terminal)

    def usage(self, ref: SlotRef) -> tuple[Usage, ...]:
        running = [name_of(one) for one in self._whole_slot(ref) if one["State"] == "running"]
        found: dict[str, Usage] = {}
        together([partial(_measure, self._api, name, found) for name in running])
        return tuple(found[name] for name in sorted(found))

    def measured(self, ref: SlotRef) -> tuple[Measured, ...]:
        running = [one for one in self._whole_slot(ref) if one["State"] == "running"]
        found = measured_at_once(self._api, running, here=is_here(self._key))
        return tuple(one for _, one in sorted(found.items()))


def is_here(key: str) -> bool:
    """Whether the Engine with that ``Where.key`` is on this machine."""
    return kind_of(key).local and os.environ.get("DOCKER_HOST", "unix://").startswith("unix://")


def measured_at_once(api: DockerApi, running: Sequence[Found], *, here: bool) -> dict[str, Measured]:
    """By name; without those that have ended meanwhile. ``here``: their Engine is on this machine."""
    found = dict[str, Measured]()
    for one in running if here else ():
        if by_files := cgroups.measured(name_of(one), str(one["Id"])):
            found[name_of(one)] = by_files
    asked = [name for name in map(name_of, running) if name not in found]
    for first in range(0, len(asked), AT_ONCE):
        together([partial(_measure_at_once, api, name, found) for name in asked[first : first + AT_ONCE]])
    return found


def _measure_at_once(api: DockerApi, name: str, found: dict[str, Measured]) -> None:
    stats = api.stats_at_once(name)
    if stats is not None:
        found[name] = measured_of(name, stats)


def measured_of(name: str, stats: dict[str, Any]) -> Measured:
    one = usage_of(name, stats)
    return Measured(name, one.memory, one.limit, spent=_used(stats.get("cpu_stats", {})) / 1e9)


def _label(one: Found) -> str:
    process = one["Labels"].get(labels.PROCESS)
    return f"{process}.{name_of(one).rpartition('-')[2]}" if process else str(one["Labels"][labels.REPLICA])


def _measure(api: DockerApi, name: str, found: dict[str, Usage]) -> None:
    stats = api.stats(name)
    if stats is not None:
        found[name] = usage_of(name, stats)


def usage_of(name: str, stats: dict[str, Any]) -> Usage:
    """As ``docker stats`` reckons. A container that has just started has no figures for the time before."""
    now, before = stats.get("cpu_stats", {}), stats.get("precpu_stats", {})
    busy = _used(now) - _used(before)
    whole = now.get("system_cpu_usage", 0) - before.get("system_cpu_usage", 0)
    memory = stats.get("memory_stats", {})
    cache = memory.get("stats", {}).get("inactive_file", 0) or memory.get("stats", {}).get(
        "total_inactive_file", 0
    )
    cores = busy / whole * (now.get("online_cpus") or 1) if whole > 0 else 0.0
    return Usage(
        name, max(0.0, cores), max(0, int(memory.get("usage", 0)) - int(cache)), int(memory.get("limit", 0))
    )


def _used(cpu: dict[str, Any]) -> int:
    return int(cpu.get("cpu_usage", {}).get("total_usage", 0))


class DockerOutput:
    """See ``ports.Output``."""

    def __init__(self, response: requests.Response, terminal: bool) -> None:
        self._response: Any = response
        self._terminal = terminal

    def pieces(self) -> Iterator[bytes]:
        with contextlib.suppress(*STREAM_ERRORS):
            if self._terminal:
                while piece := self._response.raw.read1():
                    yield piece
            else:
                for _, data in frames(self._response.raw.read):
                    yield data

    def close(self) -> None:
        shut_down(self._response)


# Of an answer whose connection ends, or is ended by another thread.
STREAM_ERRORS = (OSError, ValueError, AttributeError, requests.RequestException, urllib3.exceptions.HTTPError)


def shut_down(response: Any) -> None:
    """Ends a streamed answer that another thread may be reading."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        response.raw._fp.fp.raw._sock.shutdown(2)
    with contextlib.suppress(OSError, ValueError):
        response.close()
