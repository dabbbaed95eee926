"""What the machines behind a configuration have, for ``pushlive check``: each engine that it names is asked."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pipeline.config import lint
from pipeline.config.address import public
from pipeline.config.engines import where_of
from pipeline.config.lint import Warned
from pipeline.config.models import Config
from pipeline.config.promotion import shift_rules
from pipeline.config.settings import Settings
from pipeline.config.workload import machine_lint
from pipeline.errors import PushliveError
from pipeline.lib.bounded import Late, TooManyLeft, bounded
from pipeline.lib.text import one_line
from pipeline.ports.inspection import Inspection, NodeSize

LIMIT = 4.0  # seconds that an engine may take to answer; all are asked at the same time


def unfit(
    config: Config, settings: Settings, inspection: Inspection, limit: float = LIMIT
) -> tuple[list[Warned], list[str]]:
    """What the settings, this machine and the engines do not let start; and which engines were not asked, with the
    reason."""
    allowed = (*lint.devices(config, settings.devices), *machine_lint.folders(config, settings.binds))
    found = [*allowed, *machine_lint.object_store(config), *_here(config, settings)]
    engines = (p.environment(name).engine.key for p in config.pipelines.values() for name in p.environments)
    keys = sorted(set(engines))
    if not keys:
        return found, []
    left = list[str]()
    with ThreadPoolExecutor(len(keys)) as pool:
        answers = pool.map(partial(_asked, inspection, config, limit), keys)
        for key, answer in zip(keys, answers, strict=True):
            if isinstance(answer, str):
                left.append(f"not asked what it has: {key}: {one_line(answer)}")
            else:
                found += machine_lint.networks(config, key, answer.networks)
                found += answer.other
                if answer.size:
                    found += lint.beyond_engine(config, key, answer.size.cores, answer.size.memory)
                else:
                    left.append(f"not asked what it has: {key}: this account may not list the nodes")
    return found, left


def _here(config: Config, settings: Settings) -> Iterator[Warned]:
    networks = 1 << max(0, 26 - ipaddress.IPv4Network(settings.subnets).prefixlen)
    yield from (Warned(path, text) for path, text in public.taken(config, settings))
    yield from lint.beyond_machine(config, min(len(settings.port_range), networks), _most_processes())


def _most_processes() -> int:
    """How many processes this machine's kernel can have; 0 if the Engine is on another one."""
    if not os.environ.get("DOCKER_HOST", "unix://").startswith("unix://"):
        return 0
    try:
        return int(Path("/proc/sys/kernel/pid_max").read_text())
    except (OSError, ValueError):
        return 0


@dataclass(frozen=True)
class _Has:
    """``size``: None if this account may not ask; ``networks``: those that are to be joined there and cannot be, with
    the reason; ``other``: what else it cannot do."""

    size: NodeSize | None
    networks: dict[str, str]
    other: tuple[Warned, ...] = ()


def _asked(inspection: Inspection, config: Config, limit: float, key: str) -> _Has | str:
    """What it has, or why that is not known."""
    try:
        return bounded(lambda: _look(inspection, config, key), limit, name=f"the size of {key}")
    except Late:
        return f"it has not answered within {limit:g} s"
    except TooManyLeft:
        return "too many engines have not answered"
    except PushliveError as error:
        return error.message


def _look(inspection: Inspection, config: Config, key: str) -> _Has:
    where = where_of(key)
    if where.kind.machines:
        other = (*_routes(inspection, config, key), *_sleepers(inspection, config, key))
        return _Has(inspection.largest_node(key), {}, other)
    info, names = inspection.docker(where.docker or ""), machine_lint.networks_on(config, key)
    unfit = inspection.networks(names, where.docker or "") if names else {}
    return _Has(NodeSize(info.cores, info.memory), unfit)


def _routes(inspection: Inspection, config: Config, key: str) -> Iterator[Warned]:
    for path, pipeline, environment, shift in shift_rules.routes(config, key):
        if why := inspection.undivided(key, pipeline, environment, shift):
            yield Warned(path, f"each run that begins a shift will fail: {why}")


def _sleepers(inspection: Inspection, config: Config, key: str) -> Iterator[Warned]:
    found = [
        f"pipelines.{name}.environments.{one}.sleep_after"
        for name, pipeline in config.pipelines.items()
        for one in pipeline.environments
        if pipeline.environment(one).engine.key == key and pipeline.environment(one).sleep_after
    ]
    if found and (why := inspection.sleepless(key)):
        yield from (Warned(path, f"it will not sleep: {why}") for path in found)
