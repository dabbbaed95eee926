"""What each of two slots answers while they share the traffic: as the engine counts it, or as a Prometheus does that
`metrics` names.

What a Prometheus says is no fault of a release: while it does not answer, replicas alone are judged.
"""

from __future__ import annotations

from pipeline.config.engines import kind_of
from pipeline.config.judging.metrics import Metrics
from pipeline.domain.engine_types import Answered, SlotRef
from pipeline.domain.judging.figures import stands_for
from pipeline.domain.judging.series import Seen, looked
from pipeline.errors import EngineAway, PushliveError, StoreUnavailable
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

    @property
    def why_not(self) -> str:
        """Why not both slots' answers are counted now, without a full stop; "" if they are."""
        return next(filter(None, self._why_not.values()), "")

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
        words = stands_for(ref.pipeline, ref.environment, ref.slot, namespace)
        requests, errors = metrics.queries(words)
        try:
            token = None
            if metrics.token and self._vault:
                token = self._vault.newest(ref.pipeline, ref.environment, metrics.token)
            # Errors first: of what is counted between the two, none is an error without its request.
            failed = figures.counters(metrics.prometheus, errors, token)
            whole = figures.counters(metrics.prometheus, requests, token)
        except (EngineAway, StoreUnavailable):
            raise
        except PushliveError as error:
            self._why_not[ref.slot] = error.message.rstrip(".")
            return
        self._why_not[ref.slot] = ""
        self._seen[ref.slot] = looked(self._seen.get(ref.slot), whole, failed, now)
