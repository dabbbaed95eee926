"""A month of made-up load: nights, weekends, growth and a day on which everyone comes."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from datetime import UTC, datetime

from pipeline.domain.cost.taken import Nodes, Size, Taken

BEGIN = datetime(2027, 1, 1, tzinfo=UTC).timestamp()  # a Friday
END = datetime(2027, 2, 1, tzinfo=UTC).timestamp()
DAY = 86400.0
GROWTH = 1.004  # by the day: an eighth in a month
VIRAL = 17  # that day, counted from 0
NODE = Nodes(1, 2.0, 4 << 30)


def cores(environment: str, at: float) -> float:
    """That all containers of the environment use together. People work on dev and qa; live has visitors."""
    day, hour = int((at - BEGIN) // DAY), at % DAY / 3600
    weekend = datetime.fromtimestamp(at, UTC).weekday() >= 5
    if environment != "live":
        return 0.12 if 9 <= hour < 18 and not weekend else 0.02
    visitors = 0.15 + 0.35 * max(0.0, math.sin(math.pi * (hour - 6) / 16))
    return visitors * (0.6 if weekend else 1.0) * GROWTH**day * (2.5 if day == VIRAL else 1.0)


class LoadedMetering:
    """``ports.Metering`` of one engine: the containers are the fake's, their load is made up. A cluster has as many
    nodes as that needs."""

    def __init__(
        self, taken: Callable[[], tuple[Taken, ...]], now: Callable[[], float], *, cluster: bool
    ) -> None:
        self._taken, self._now, self._cluster = taken, now, cluster
        self._spent, self._at = dict[str, float](), now()

    def taken(self) -> tuple[Taken, ...]:
        now = self._now()
        passed, self._at = now - self._at, now
        every = self._taken()
        return tuple(self._loaded(one, every, now, passed) for one in every)

    def _loaded(self, one: Taken, every: Collection[Taken], now: float, passed: float) -> Taken:
        place = (one.pipeline, one.environment, one.slot)
        count = sum((each.pipeline, each.environment, each.slot) == place for each in every)
        own = cores(one.environment, now) / count
        self._spent[one.name] = self._spent.get(one.name, 0.0) + own * passed
        memory = int((256 + 128 * own) * 2**20)
        return Taken(
            one.name,
            one.role,
            memory,
            one.pipeline,
            one.environment,
            one.slot,
            one.process,
            spent=None if self._cluster else self._spent[one.name],
            cores=own if self._cluster else None,
            reserved_cores=0.1 if self._cluster else 0.0,
            reserved_memory=256 << 20 if self._cluster else 0,
        )

    def machine_size(self, labels: Collection[str] = ()) -> Size:
        del labels
        if not self._cluster:
            return Size(NODE.cores, NODE.memory)
        now = self._now()
        every = self._taken()
        used = sum(
            max(0.1, cores(one.environment, now) / max(1, len(every))) + one.memory / 2**34 for one in every
        )
        count = max(1, math.ceil(used / (0.2 * NODE.cores)))
        return Size(
            count * NODE.cores,
            count * NODE.memory,
            {"": Nodes(count, count * NODE.cores, count * NODE.memory)},
        )
