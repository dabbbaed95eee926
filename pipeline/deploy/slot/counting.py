"""What each of two slots answers while they share the traffic: as the engine counts it, or as a Prometheus does that
`metrics` names.

What a Prometheus says is no fault of a release: while it does not answer, replicas alone are judged.
"""

from __future__ import annotations

from pipeline.config.engines import kind_of
from pipeline.config.judging.metrics import Metrics
from pipeline.domain.engine_types import Answered, SlotRef
from pipeline.domain.judging.figures import NO_LATENCY, TIMES_ALIKE, stands_for
from pipeline.domain.judging.latency import histogram
from pipeline.domain.judging.latency.times import Timed
from pipeline.domain.judging.series import Seen, looked
from pipeline.errors import EngineAway, PushliveError, StoreUnavailable
from pipeline.lib.secret import Secret
from pipeline.ports.clock import Clock
from pipeline.ports.engine import Engine
from pipeline.ports.judging.figures import Figures
from pipeline.secrets.vault import Vault

EVERY = 5.0  # seconds between two questions about one slot
NO_METRICS = "no `metrics` are named"
ALIKE = "the queries of `metrics` do not tell the two releases apart ($pods or $slot would)"


class Counting:
    """For one shift."""

    def __init__(
        self,
        engine: Engine,
        clock: Clock,
        figures: Figures | None = None,
        vault: Vault | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        self._engine, self._clock = engine, clock
        self._figures, self._vault, self._metrics = figures, vault, metrics
        self._seen: dict[str, Seen] = {}
        self._asked: dict[str, float] = {}
        self._why_not: dict[str, str] = {}
        self._away: set[str] = set()  # slots about which the Prometheus has not answered
        self._seen_times: dict[str, histogram.Seen] = {}
        self._asked_times: dict[str, float] = {}
        self._why_untimed: dict[str, str] = {}

    @property
    def why_not(self) -> str:
        """Why not both slots' answers are counted now, without a full stop; "" if they are."""
        return next(filter(None, self._why_not.values()), "")

    @property
    def why_untimed(self) -> str:
        """Why it is not known how long both slots' answers take although they are counted, as above."""
        return next(filter(None, self._why_untimed.values()), "")

    def answered(self, ref: SlotRef, namespace: str = "") -> Answered:
        """What the slot has answered since the engine's proxy, or this process on a cluster, began to count.
        ``namespace``: its own on a cluster. Raises EngineAway and StoreUnavailable."""
        if kind_of(ref.engine).proxied:
            return self._engine.traffic.answered(ref) or Answered()
        if self._metrics is None or self._figures is None:
            self._why_not[ref.slot] = NO_METRICS
        elif not self._metrics.tells_slots_apart:
            self._why_not[ref.slot] = ALIKE
        else:
            self._ask(self._metrics, self._figures, ref, namespace)
        return self._seen[ref.slot].whole if ref.slot in self._seen else Answered()

    def _ask(self, metrics: Metrics, figures: Figures, ref: SlotRef, namespace: str) -> None:
        now = self._clock.monotonic()
        if ref.slot in self._asked and 0 <= now - self._asked[ref.slot] < EVERY:
            return
        self._asked[ref.slot] = now
        requests, errors = metrics.queries(_words(ref, namespace))
        try:
            token = self._token(metrics, ref)
            # Errors first: of what is counted between the two, none is an error without its request.
            failed = figures.counters(metrics.prometheus, errors, token)
            whole = figures.counters(metrics.prometheus, requests, token)
        except (EngineAway, StoreUnavailable):
            raise
        except PushliveError as error:
            self._why_not[ref.slot] = error.message.rstrip(".")
            self._away.add(ref.slot)
            return
        self._away.discard(ref.slot)
        self._why_not[ref.slot] = ""
        self._seen[ref.slot] = looked(self._seen.get(ref.slot), whole, failed, now)

    def timed(self, ref: SlotRef, namespace: str = "") -> Timed | None:
        """How long the slot's answers took since then; None if that is not known now. Raises what ``answered``
        raises."""
        if kind_of(ref.engine).proxied:
            return self._engine.traffic.timed(ref)
        if self._metrics is None or self._figures is None or self._away:
            return None
        why = "" if self._metrics.tells_times_apart else TIMES_ALIKE if self._metrics.times else NO_LATENCY
        self._why_untimed[ref.slot] = why or self._ask_times(self._metrics, self._figures, ref, namespace)
        known = None if self._why_untimed[ref.slot] else self._seen_times.get(ref.slot)
        return known.timed if known else None

    def _ask_times(self, metrics: Metrics, figures: Figures, ref: SlotRef, namespace: str) -> str:
        """Why it is not known, if it is not."""
        now = self._clock.monotonic()
        if ref.slot in self._asked_times and 0 <= now - self._asked_times[ref.slot] < EVERY:
            return self._why_untimed.get(ref.slot, "")
        self._asked_times[ref.slot] = now
        query = metrics.latency_query(_words(ref, namespace))
        try:
            series = figures.counters(metrics.prometheus, query, self._token(metrics, ref))
        except (EngineAway, StoreUnavailable):
            raise
        except PushliveError as error:
            return error.message.rstrip(".")
        found = histogram.read(series)
        if found.problem and series:  # without series, it has answered nothing yet
            return found.problem
        known = self._seen_times.get(ref.slot)
        self._seen_times[ref.slot] = histogram.looked(known, found.families, now, self._clock.now())
        return ""

    def _token(self, metrics: Metrics, ref: SlotRef) -> Secret | None:
        if not metrics.token or not self._vault:
            return None
        return self._vault.newest(ref.pipeline, ref.environment, metrics.token)


def _words(ref: SlotRef, namespace: str) -> dict[str, str]:
    return stands_for(ref.pipeline, ref.environment, ref.slot, namespace)
