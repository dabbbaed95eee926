"""What containers on Docker print and use."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import partial
from typing import Any

import requests
import urllib3

from pipeline.adapters.docker.base import EngineBase
from pipeline.adapters.docker_api import labels
from pipeline.adapters.docker_api.api import DockerApi, Found, name_of
from pipeline.adapters.docker_api.container_calls import frames
from pipeline.domain.engine_types import SlotRef
from pipeline.domain.watching.usage import Measured
from pipeline.lib.parallel import together
from pipeline.ports.outputs import Source, Usage


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
        running = sorted(name_of(one) for one in self._whole_slot(ref) if one["State"] == "running")
        found = ((name, self._api.stats_at_once(name)) for name in running)
        return tuple(measured_of(name, stats) for name, stats in found if stats is not None)


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
