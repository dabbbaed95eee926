"""Compares what the month will cost with its caps, tells people in time, and lets what may give way do so."""

from __future__ import annotations

from dataclasses import replace

from pipeline.config.cost.cap import is_preview
from pipeline.config.models import Config
from pipeline.deploy.configuring.telling import OF_ALL
from pipeline.deploy.cost import giving_way
from pipeline.deploy.cost.giving_way import GivingWay
from pipeline.deploy.services import Services
from pipeline.domain.cost import cap
from pipeline.domain.cost.cap import Standing, Sum, Told
from pipeline.domain.measuring.monthly import calendar
from pipeline.errors import ConfigError
from pipeline.lib import codec
from pipeline.maintenance.job import Job
from pipeline.notify import messages
from pipeline.ports.adapters import Adapters
from pipeline.store import Transaction
from pipeline.store.costs.caps import TOLD, ZONE, Caps, Kept, kept

AGAIN = 3600.0  # seconds for which what a request has woken is left awake


class WatchCaps(Job):
    """What it found is kept for everything that shows it. People are told of a cap in the same write, so that no crash
    tells them twice, or never. One environment at a time gives way: what that saves is in the next look."""

    def __init__(self, services: Services, adapters: Adapters) -> None:
        self._store, self._configurations = services.store, services.configurations
        self._caps, self._clock = Caps(services.store), adapters.clock
        self._giving_way = GivingWay(services, adapters.engines, adapters.clock)

    def run(self) -> list[str]:
        try:
            config = self._configurations.current()[1]
        except ConfigError:
            return []
        if not config.costs.machines:
            return self._keep(config, (), self._clock.now()) if self._caps.kept().sums else []
        now = self._clock.now()
        standing = self._caps.standing(config.costs, now)
        names = ("", *(one for one in config.pipelines if not is_preview(one)))
        sums = tuple(standing.sum(name, config.costs.cap_of(name)) for name in names)
        return [*self._keep(config, sums, now), *self._let_give_way(config, standing, sums)]

    def _keep(self, config: Config, sums: tuple[Sum, ...], now: float) -> list[str]:
        month, currency = calendar.month_of(now, ZONE), config.costs.currency

        def act(tx: Transaction) -> list[str]:
            before = kept(tx.shared_fact(TOLD))
            told = dict(before.told) if before.month == month else {}
            said = list[str]()
            for one in sums:
                if new := cap.to_tell(one, told.get(one.pipeline)):
                    told[one.pipeline] = new
                    said.append(_tell(tx, one, new, currency, month, now))
            tx.put_fact(TOLD, codec.dump(Kept(month, now, currency, sums, told, before.yielded)))
            return said

        return self._store.transact(OF_ALL, act)

    def _let_give_way(self, config: Config, standing: Standing, sums: tuple[Sum, ...]) -> list[str]:
        order = giving_way.order(config, self._caps.environments())
        for one in sums:
            if not one.over:
                continue
            for name, saving in giving_way.able(config, cap.savings(standing, one.pipeline, order)):
                if text := self._put_to_sleep(name, saving, one, config):
                    return [text]
        return []

    def _put_to_sleep(self, name: tuple[str, str], saving: float, one: Sum, config: Config) -> str:
        """What was done, "" if nothing was."""
        now, environment = self._clock.now(), self._store.environment(*name)
        if environment is None or 0 <= now - self._caps.kept().yielded.get(environment.id, -AGAIN) < AGAIN:
            return ""
        why = f"{cap.subject(one.pipeline)} would cost more than its cap (`{cap.key(one.pipeline)}`)"
        self._note(environment.id, now)
        if not self._giving_way.put_to_sleep(environment, why):
            return ""
        saved = f"{saving:.2f} {config.costs.currency}"
        return f"{environment.id} was put to sleep, which saves {saved} by the end of the month: {why}"

    def _note(self, name: str, now: float) -> None:
        def act(tx: Transaction) -> None:
            before = kept(tx.shared_fact(TOLD))
            known = {each: at for each, at in before.yielded.items() if 0 <= now - at < AGAIN}
            tx.put_fact(TOLD, codec.dump(replace(before, yielded={**known, name: now})))

        self._store.transact(OF_ALL, act)


def _tell(tx: Transaction, one: Sum, new: Told, currency: str, month: str, now: float) -> str:
    text = cap.text(one, currency, month)
    messages.cost(tx, one.pipeline, f"{month}/{new.level}/{new.cap:g}", now, text)
    return text
