"""Whether a release may enter an environment as far as its cost is concerned.

What adds nothing is never refused, and neither is a revert. Everything else is, if it would bring a sum of the month
past its cap and what may give way does not save enough.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from pipeline.config.models import Config, Pipeline, Service
from pipeline.deploy.cost import giving_way
from pipeline.deploy.cost.giving_way import PutToSleep
from pipeline.domain.cost import cap
from pipeline.domain.cost.cap import Need, Passed, Resize
from pipeline.domain.environment import Environment
from pipeline.errors import CapReached
from pipeline.store import Store
from pipeline.store.costs.caps import Caps, caps_of, elastic

UNKNOWN = (
    "what it will cost is not known: nothing like it was measured, and neither `cpu` nor `memory` is declared; "
    "the caps do not count it yet"
)


@dataclass(frozen=True)
class Request:
    """What is to serve in an environment. ``by``: the run, such as "shop#7"; ``before``: what serves there now, None if
    nothing does; ``pipeline``: as the run has it; ``refusable``: False for a revert."""

    by: str
    environment: Environment
    pipeline: Pipeline
    before: Service | None
    after: Service
    refusable: bool = True


class CapAdmission:
    """``put_to_sleep``: puts one environment to sleep; None if nothing can be."""

    def __init__(self, store: Store, put_to_sleep: PutToSleep | None = None) -> None:
        self._store, self._caps, self._put_to_sleep = store, Caps(store), put_to_sleep

    def admit(self, request: Request, config: Config, now: float) -> tuple[str, ...]:
        """What is to be said of it, a sentence each. Raises CapReached. ``config``: the one in force, whose caps count
        also for a run that began with another. Idempotent."""
        caps, engine = caps_of(config.costs), request.environment.engine
        if not caps or config.costs.machine_of(engine) is None:
            return ()
        added = self._added(request, now)
        if added.worth is None:
            return (f"{request.environment.name}: {UNKNOWN}",)
        if not added.worth:
            return ()
        resize = Resize(
            request.by,
            request.environment.pipeline,
            request.environment.name,
            engine,
            added.worth,
            now,
        )
        said = self._given_way(resize, config, caps) if request.refusable else ()
        self._record(resize, config, caps if request.refusable else {})
        return said

    def _added(self, request: Request, now: float) -> cap.Added:
        on_cluster = elastic(request.environment.engine)
        same = request.before is not None and _same(request.before, request.after, on_cluster)
        if same:
            return cap.Added(0.0)
        amounts, there = self._caps.amounts(now), request.environment
        stated = cap.declared(request.pipeline, there.name)

        def need_of(process: str) -> Need | None:
            return cap.measured(amounts, there.pipeline, there.name, process) or stated

        return cap.added(request.before, request.after, need_of, on_cluster=on_cluster)

    def _given_way(self, resize: Resize, config: Config, caps: Mapping[str, float]) -> tuple[str, ...]:
        """Puts to sleep what has to be for this, if that is enough; a sentence for each."""
        said = list[str]()
        if self._put_to_sleep is None:
            return ()
        found = [
            (one, giving_way.able(config, one.yields)) for one in self._passed(resize, config, caps, None)
        ]
        if any(sum(saving for _, saving in able) + cap.CENT < one.excess for one, able in found):
            return ()  # it is refused, and nothing sleeps in vain
        for one, able in found:
            savings = dict(able)
            for name in cap.enough(one.excess, able):
                text = self._sleep(name, savings[name], one, resize, config)
                said += [text] if text else []
        return tuple(said)

    def _sleep(
        self, name: tuple[str, str], saving: float, one: Passed, resize: Resize, config: Config
    ) -> str:
        environment = self._store.environment(*name)
        why = f"{resize.by} needs its place below the cap of {cap.subject(one.sum.pipeline)}"
        if environment is None or self._put_to_sleep is None or not self._put_to_sleep(environment, why):
            return ""
        return f"{environment.id} sleeps: {why}; that saves {_money(saving, config)} by the end of the month"

    def _record(self, resize: Resize, config: Config, caps: Mapping[str, float]) -> None:
        """In one write with the judgement. Raises CapReached."""

        def judge(others: tuple[Resize, ...]) -> None:
            found = self._passed(resize, config, caps, others)
            if found:
                raise _refusal(resize, config, found)

        self._caps.resize(resize, judge)

    def _passed(
        self,
        resize: Resize,
        config: Config,
        caps: Mapping[str, float],
        others: tuple[Resize, ...] | None,
    ) -> Sequence[Passed]:
        if resize.worth <= 0 or not caps:
            return ()
        standing = self._caps.standing(config.costs, resize.at, without=resize.by)
        if others is not None:
            standing = replace(standing, resized=others)
        return cap.passed(standing, caps, resize, giving_way.order(config, self._caps.environments()))


def _same(before: Service, after: Service, on_cluster: bool) -> bool:
    return cap.containers(before) == cap.containers(after) and cap.reserved(
        before, on_cluster
    ) == cap.reserved(after, on_cluster)


def _money(amount: float, config: Config) -> str:
    return f"{amount:.2f} {config.costs.currency}"


def _refusal(resize: Resize, config: Config, found: Sequence[Passed]) -> CapReached:
    one = found[0]
    whole = one.sum.projected + one.adds
    text = (
        f"{resize.pipeline}/{resize.environment} would add {_money(one.adds, config)} by the end of the month, which "
        f"makes {_money(whole, config)} for {cap.subject(one.sum.pipeline)}; its cap is "
        f"{_money(one.sum.cap or 0.0, config)}. {_could(one.yields, config)}"
    )
    more = [cap.key(each.sum.pipeline) for each in found]
    advice = f"Raise `{'` and `'.join(more)}` in pipelines.yaml, or ask for less."
    return CapReached(text, advice=advice, again=True)


def _could(yields: Iterable[tuple[tuple[str, str], float]], config: Config) -> str:
    able = [
        f"{'/'.join(name)} (saves {_money(saving, config)} when asleep"
        + (")" if giving_way.may_sleep(config, name) else "; it needs `sleep_after` for that)")
        for name, saving in yields
    ]
    if able:
        return f"What could give way, in this order: {', '.join(able)}."
    if not config.costs.give_way:
        return "Nothing may give way: `costs.give_way` names no environment."
    return "Nothing that `costs.give_way` names would save anything here."
