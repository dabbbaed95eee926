"""Compares what the month will cost with its caps, and tells people in time."""

from __future__ import annotations

from pipeline.config.models import Config
from pipeline.deploy.configuring.telling import OF_ALL
from pipeline.deploy.services import Services
from pipeline.domain.cost import cap
from pipeline.domain.cost.cap import Sum, Told
from pipeline.domain.measuring.monthly import calendar
from pipeline.errors import ConfigError
from pipeline.lib import codec
from pipeline.maintenance.job import Job
from pipeline.notify import messages
from pipeline.ports.clock import Clock
from pipeline.store import Transaction
from pipeline.store.costs.caps import TOLD, ZONE, Caps, Kept, kept


class WatchCaps(Job):
    """What it found is kept for everything that shows it. People are told of a cap in the same write, so that no crash
    tells them twice, or never."""

    def __init__(self, services: Services, clock: Clock) -> None:
        self._store, self._configurations = services.store, services.configurations
        self._caps, self._clock = Caps(services.store), clock

    def run(self) -> list[str]:
        try:
            config = self._configurations.current()[1]
        except ConfigError:
            return []
        if not config.costs.machines and not self._caps.kept().at:
            return []
        now = self._clock.now()
        month, sums = calendar.month_of(now, ZONE), self._sums(config, now)

        def act(tx: Transaction) -> list[str]:
            before = kept(tx.shared_fact(TOLD))
            told = dict(before.told) if before.month == month else {}
            said = list[str]()
            for one in sums:
                if new := cap.to_tell(one, told.get(one.pipeline)):
                    told[one.pipeline] = new
                    said.append(_tell(tx, one, new, config.costs.currency, month, now))
            tx.put_fact(TOLD, codec.dump(Kept(month, now, config.costs.currency, sums, told)))
            return said

        return self._store.transact(OF_ALL, act)

    def _sums(self, config: Config, now: float) -> tuple[Sum, ...]:
        """Of the bill and of every pipeline; () once no machine has a price."""
        costs = config.costs
        if not costs.machines:
            return ()
        standing = self._caps.standing(costs, now)
        return tuple(standing.sum(name, costs.cap_of(name)) for name in ("", *config.pipelines))


def _tell(tx: Transaction, one: Sum, new: Told, currency: str, month: str, now: float) -> str:
    text = cap.text(one, currency, month)
    messages.cost(tx, one.pipeline, f"{month}/{new.level}/{new.cap:g}", now, text)
    return text
