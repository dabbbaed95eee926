"""What a cluster's slots answered, as a Prometheus counted it that `metrics` names. A cluster itself counts nothing.

What it says is no fault of a release: if it does not answer, nothing is counted, and `status` and `doctor` say so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from pipeline.config.engines import kind_of, where_of
from pipeline.config.judging.metrics import Metrics
from pipeline.deploy.services import Services
from pipeline.domain.engine_types import Answered
from pipeline.domain.environment import Environment
from pipeline.domain.judging.figures import (
    NO_LATENCY,
    configured,
    latency_problem_name,
    problem_name,
    stands_for,
)
from pipeline.domain.judging.latency import histogram
from pipeline.domain.judging.latency.times import Timed
from pipeline.domain.judging.series import LAG, Seen, looked
from pipeline.domain.slots import slot_ref, spec_of
from pipeline.errors import ConfigError, EngineAway, PushliveError, StoreUnavailable, TryAgain
from pipeline.ports.adapters import Adapters

NONE_YET = "the query for requests gives no series: nothing was answered yet, or it does not fit"
Found = TypeVar("Found")


@dataclass(frozen=True)
class _Known:
    """``of``: the run and the queries that the series belong to."""

    of: tuple[int, str, str, str]
    seen: Seen


@dataclass(frozen=True)
class _KnownTimes:
    of: tuple[int, str, str]
    seen: histogram.Seen


class Figures:
    """``begin`` is called before each round: a Prometheus that does not answer is asked once in it."""

    def __init__(self, services: Services, adapters: Adapters) -> None:
        self._store, self._vault, self._configurations = (
            services.store,
            services.vault,
            services.configurations,
        )
        self._adapters = adapters
        self._known: dict[str, _Known] = {}
        self._known_times: dict[str, _KnownTimes] = {}
        self._namespaces: dict[str, str] = {}  # of engines whose configuration names none
        self._away: dict[str, str] = {}  # by URL, why it did not answer

    def begin(self) -> None:
        self._away.clear()

    def metrics(self, environment: Environment) -> Metrics | None:
        """What is configured now for an environment whose engine counts nothing; None if nothing is."""
        if kind_of(environment.engine).proxied:
            return None
        try:
            _, config = self._configurations.current()
        except ConfigError:
            return None
        return configured(config, environment)

    def answered(self, environment: Environment, metrics: Metrics) -> Answered | None:
        """What was answered since the first look, never less than at the last one; None if that is not known, and while
        a scrape may still bring what the slot before it answered. Raises EngineAway and StoreUnavailable."""
        return self._looked(
            environment, problem_name(environment.id), lambda: self._asked(environment, metrics)
        )

    def timed(self, environment: Environment, metrics: Metrics) -> Timed | None:
        """How long answers took since the first look; None as above, and if there is no query for it."""
        return self._looked(
            environment, latency_problem_name(environment.id), lambda: self._asked_times(environment, metrics)
        )

    def _looked(
        self, environment: Environment, fact: str, ask: Callable[[], tuple[Found | None, str]]
    ) -> Found | None:
        """``fact``: has why it is not known; ``ask``: says what was found, and why not."""
        slot = environment.slots[environment.active or ""]
        if 0 <= self._adapters.clock.now() - slot.since < LAG:
            return None
        found: Found | None = None
        try:
            found, problem = ask()
        except (EngineAway, StoreUnavailable):
            raise
        except PushliveError as error:
            problem = f"{error.message} {error.advice}".strip()
        if self._store.facts.get(fact) != problem:
            self._store.facts.set(fact, problem)
        return found

    def _asked(self, environment: Environment, metrics: Metrics) -> tuple[Answered, str]:
        url, now = metrics.prometheus, self._adapters.clock.monotonic()
        requests, errors = metrics.queries(self._stands_for(environment))
        # Errors first: of what is counted between the two, none is an error without its request.
        failed, whole = self._counters(environment, metrics, errors, requests)
        of = (environment.index, url, requests, errors)
        known = self._known.get(environment.id)
        seen = looked(known.seen if known and known.of == of else None, whole, failed, now)
        self._known[environment.id] = _Known(of, seen)
        return seen.whole, "" if seen.requests else f"{_at(url)}: {NONE_YET}."

    def _asked_times(self, environment: Environment, metrics: Metrics) -> tuple[Timed | None, str]:
        if not metrics.times:
            return None, f"{NO_LATENCY}."
        url, clock = metrics.prometheus, self._adapters.clock
        query = metrics.latency_query(self._stands_for(environment))
        [series] = self._counters(environment, metrics, query)
        found = histogram.read(series)
        if found.problem:
            return None, f"{_at(url)}: {found.problem}."
        of, known = (environment.index, url, query), self._known_times.get(environment.id)
        before = known.seen if known and known.of == of else None
        seen = histogram.looked(before, found.families, clock.monotonic(), clock.now())
        self._known_times[environment.id] = _KnownTimes(of, seen)
        return seen.timed, ""

    def _counters(
        self, environment: Environment, metrics: Metrics, *queries: str
    ) -> tuple[dict[str, float], ...]:
        """What each of the queries gives, in order. Raises TryAgain if it does not answer."""
        url = metrics.prometheus
        if url in self._away:
            raise TryAgain(self._away[url])
        token = (
            self._vault.newest(environment.pipeline, environment.name, metrics.token)
            if metrics.token
            else None
        )
        try:
            return tuple(self._adapters.figures.counters(url, query, token) for query in queries)
        except TryAgain as error:
            self._away[url] = error.message
            raise

    def _stands_for(self, environment: Environment) -> dict[str, str]:
        namespace = self._namespace(environment)
        return stands_for(environment.pipeline, environment.name, environment.active or "", namespace)

    def _namespace(self, environment: Environment) -> str:
        """The configured one, else the one that the engine itself is in."""
        named = where_of(environment.engine).namespace or self._namespaces.get(environment.engine, "")
        if named:
            return named
        record = environment.slots[environment.active or ""]
        release = self._store.release(environment.pipeline, record.release)
        spec = spec_of(slot_ref(environment, environment.active or ""), release, record.run, record.secrets)
        route = self._adapters.engines.of(environment.engine).traffic.public(spec)
        found = route.service.partition("/")[0]
        self._namespaces[environment.engine] = found
        return found


def _at(url: str) -> str:
    return f"Prometheus at {url}"
