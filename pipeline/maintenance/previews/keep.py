"""Previews that are merged, too old or too dear begin to close, and what is closing is removed."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from pipeline.config.models import Config, Pipeline
from pipeline.deploy.previews.closing import KEEPER, Closing
from pipeline.deploy.previews.opening import HEADS, Openings
from pipeline.deploy.services import Services
from pipeline.domain.previews import rules
from pipeline.domain.previews.records import Preview, PreviewState
from pipeline.errors import ConfigError, DamagedRecord, PushliveError, StoreUnavailable
from pipeline.maintenance.damage import Damage
from pipeline.maintenance.job import Changes, Job
from pipeline.ports.adapters import Adapters
from pipeline.ports.repositories import Repositories
from pipeline.store.costs.caps import Caps

COUNT_EVERY = 60.0  # seconds: as often as costs are measured
LOOK_EVERY = 30.0  # seconds between two looks at the history of a branch that has not moved


@dataclass(frozen=True)
class _Look:
    what: tuple[str, str]  # the commits that were compared
    at: float


class KeepPreviews(Job):
    """``repositories``: those on the built-in git server."""

    def __init__(
        self, services: Services, adapters: Adapters, repositories: Repositories, damage: Damage
    ) -> None:
        self._services, self._store, self._adapters = services, services.store, adapters
        self._clock, self._repositories, self._damage = adapters.clock, repositories, damage
        self._openings, self._closing = Openings(services, adapters.clock.now), Closing(services, adapters)
        self._looks: dict[str, _Look] = {}
        self._problems: dict[str, Changes] = {}
        self._counted: float | None = None
        self._costs: defaultdict[str, float] = defaultdict(float)  # by pipeline

    def run(self) -> list[str]:
        try:
            found = self._store.previews.all()
            config = self._services.configurations.current()[1] if found else None
        except ConfigError:
            return []
        except DamagedRecord as error:
            self._damage.add(error)
            return []
        said: list[str] = []
        for one in found.values() if config else ():
            problem = ""
            try:
                said += self._one(config, one) if config else []
            except StoreUnavailable:
                raise
            except PushliveError as error:
                problem = f"the preview {one.name} is not removed yet: {error}"
            said += self._problems.setdefault(one.name, Changes()).report(problem)
        return said

    def _one(self, config: Config, one: Preview) -> list[str]:
        if one.alive and (why := self._why_over(config, one)):
            one = self._openings.close(one.name, why, KEEPER)
        if one.state == PreviewState.CLOSED or not one.goes:
            return []
        done = self._closing.go(one)
        return [done] if done else []

    def _why_over(self, config: Config, one: Preview) -> str:
        """Why it is to go, "" if it stays."""
        own = config.pipelines.get(one.pipeline)
        if own is None or own.previews is None:
            return f"pipelines.yaml has no previews of {one.pipeline} any more"
        if why := rules.too_old(one, own.previews, self._clock.now()):
            return why
        if own.previews.cost is not None and (sum_ := self._cost_of(config, one)) >= own.previews.cost:
            money = f"{sum_:.2f} {config.costs.currency}"
            return f"it has cost {money} this month, and `cost` allows {own.previews.cost:.2f}"
        return self._gone_or_merged(config, one, own)

    def _cost_of(self, config: Config, one: Preview) -> float:
        """This month, as it was measured when it was counted last."""
        now = self._clock.monotonic()
        if self._counted is None or now - self._counted >= COUNT_EVERY:
            self._counted, self._costs = now, defaultdict(float)
            for line in Caps(self._store).standing(config.costs, self._clock.now()).lines:
                self._costs[line.account.pipeline] += line.cost
        return self._costs[one.name]

    def _gone_or_merged(self, config: Config, one: Preview, own: Pipeline) -> str:
        head = self._store.head(one.pipeline, HEADS + own.source.branch)
        look, now = self._looks.get(one.name), self._clock.monotonic()
        if one.foreign or (look and look.what == (head, one.commit) and now - look.at < LOOK_EVERY):
            return ""
        self._looks[one.name] = _Look((head, one.commit), now)
        repository = config.repository_of(one.pipeline)
        if repository and one.branch not in self._repositories.heads(repository) and one.commit:
            return "its branch was deleted"
        if not head or not one.commit or head == one.base:
            return ""
        source = self._adapters.source
        if source.contains(one.pipeline, own.source, head, one.commit) and not (
            one.base and source.contains(one.pipeline, own.source, one.base, one.commit)
        ):
            return f"its branch was merged into {own.source.branch}"
        return ""
