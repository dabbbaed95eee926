"""The record of a bake that has ended: how a release did while it was watched after its switch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pipeline.domain.environment import Bake, BakeOutcome, Environment
from pipeline.domain.judging import judgement
from pipeline.domain.judging.counts import fact_name, read
from pipeline.domain.judging.latency import counts as timings
from pipeline.domain.judging.latency import judgement as latency
from pipeline.domain.slots import slot_ref
from pipeline.domain.watching import usage
from pipeline.errors import PushliveError
from pipeline.evidence import record
from pipeline.evidence.record import SLACK, Subject, time_of
from pipeline.lib import codec
from pipeline.ports.adapters import Adapters

KIND = "bake"


@dataclass(frozen=True)
class Baked:
    """``subject``: the run that brought the release."""

    subject: Subject
    adapters: Adapters
    environment: Environment
    bake: Bake

    @property
    def serves(self) -> bool:
        """Whether what was watched serves still."""
        slot = self.environment.slots.get(self.environment.active or "")
        return slot is not None and (slot.release, slot.run) == (self.bake.release, self.bake.run)


def kind_of(environment: str) -> str:
    """In the names of records: a run may bring its release to several environments."""
    return f"{KIND}-{environment}"


def made(baked: Baked) -> dict[str, Any]:
    """The record. Raises DamagedRecord and StoreUnavailable."""
    parts = {name: part(baked) for name, part in PARTS.items()}
    about = {"environment": baked.environment.name}
    return record.of_run(baked.subject, KIND, about | parts)


# ── the parts ────────────────────────────────────────────────────────────────


def bake_part(baked: Baked) -> dict[str, Any]:
    """What was watched for, and how it ended. Durations are in seconds."""
    one = baked.bake
    return {
        "outcome": one.outcome.value if one.outcome else "",
        "reason": one.reason,
        "since": time_of(one.since),
        "ended": time_of(one.ended),
        "for": one.lasts,
        "watched": round(min(one.watched, one.lasts), 3),
        "on_failure": one.on_failure,
        "before": one.before,
        "revert": f"{baked.environment.pipeline}#{one.revert}"
        if one.outcome == BakeOutcome.TAKEN_BACK and one.revert
        else "",
    }


def release_part(baked: Baked) -> dict[str, Any] | None:
    return record.release_part(baked.subject)


def answers_part(baked: Baked) -> dict[str, Any] | None:
    """The judge's figures until then: requests and errors, compared with the release before. None if none were
    counted."""
    found = read(baked.subject.services.store.facts.get(fact_name(baked.environment.id)))
    one = found.judged
    if one is None or (found.release, found.run) != (baked.bake.release, baked.bake.run):
        return None
    return {
        **codec.plain(one.new),
        "verdict": one.verdict.value,
        "before": {"release": one.before, **codec.plain(one.base)} if one.before else None,
        "text": judgement.text(found),
    }


def latency_part(baked: Baked) -> dict[str, Any] | None:
    """How long its answers took until then, in seconds, compared with the release before. None if it is not known."""
    found = timings.read(baked.subject.services.store.facts.get(timings.fact_name(baked.environment.id)))
    return latency.plain(found, baked.bake.release, baked.bake.run)


def usage_part(baked: Baked) -> list[dict[str, Any]]:
    """What each container used when the record was written: cores, and bytes. Empty if it serves no more, or the engine
    cannot tell."""
    if not baked.serves or not baked.environment.active:
        return []
    ref = slot_ref(baked.environment, baked.environment.active)
    try:
        return [asdict(one) for one in baked.adapters.engines.of(ref.engine).outputs.usage(ref)]
    except PushliveError:
        return []


def series_part(baked: Baked) -> dict[str, Any] | None:
    """What its containers used while it was watched: seconds since the first sample, then cores and bytes of each; null
    where there is no figure. None if nothing was sampled."""
    found = _sampled(baked)
    if not found.samples:
        return None
    begin, names = found.samples[0].at, sorted({name for one in found.samples for name in one.used})
    return {
        "since": time_of(begin),
        "every": found.every,
        "at": [round(one.at - begin, 1) for one in found.samples],
        "containers": [
            {
                "name": name,
                "limit": found.limits.get(name, 0),
                "cpu": [_figure(one.used.get(name, (-1.0, -1))[0]) for one in found.samples],
                "memory": [_figure(one.used.get(name, (-1.0, -1))[1]) for one in found.samples],
            }
            for name in names
        ],
    }


def gaps_part(baked: Baked) -> str:
    """Why the series is missing, or has gaps; "" if there is nothing to say."""
    return usage.gaps(_sampled(baked))


def _sampled(baked: Baked) -> usage.Series:
    name = usage.fact_name(baked.environment.id, baked.bake.run)
    return usage.read(baked.subject.services.store.facts.get(name))


def _figure(value: float) -> float | None:
    return value if value >= 0 else None


def health_part(baked: Baked) -> dict[str, Any] | None:
    """What was seen of its replicas; None if another release serves."""
    found = baked.environment.health.get(baked.environment.active or "")
    if not baked.serves or found is None:
        return None
    restarts = {name: one.count for name, one in found.series.items()}
    return {
        "serving": found.serving,
        "replicas": found.replicas,
        "problem": found.said,
        "restarts": restarts,
        "killed_for_memory": sorted(found.killed),
    }


def acts_part(baked: Baked) -> list[dict[str, Any]]:
    """What people did in its environment meanwhile. Oldest first."""
    one, name, run = baked.bake, baked.environment.name, baked.subject.run
    end = time_of(one.ended + SLACK)

    def wanted(act: Mapping[str, Any]) -> bool:
        meant = record.concerns(act, (run.id,), "", (name,)) and act.get("environment") == name
        return meant and str(act.get("time", "")) <= end

    return record.acts(baked.subject.services, run.pipeline, one.since, wanted)


PARTS: dict[str, Callable[[Baked], Any]] = {
    "bake": bake_part,
    "release": release_part,
    "answers": answers_part,
    "latency": latency_part,
    "usage": usage_part,
    "series": series_part,
    "series_gaps": gaps_part,
    "health": health_part,
    "acts": acts_part,
}
