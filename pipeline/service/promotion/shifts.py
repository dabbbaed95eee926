"""What is shown about a release that has a part of the visitors."""

from __future__ import annotations

from typing import Any

from pipeline.domain.environment import Environment
from pipeline.domain.run import Run
from pipeline.domain.shifting import rule, times
from pipeline.lib import codec
from pipeline.store import Store


def shown(store: Store, environment: Environment | None) -> dict[str, Any] | None:
    """``{"environment", "release", "run", "before", "slot", "percent", "step", "steps", "for", "passed", "longer",
    "left", "since", "requests", "errors", "old", "latency", "figures", "route", "uncounted", "text"}``, None if all
    visitors are at one release. ``old``: requests and errors of ``before``, which serves, in the same time;
    ``latency``: ``new`` and ``old``, each a ``judging.latency.counts.Latency``, None before it is known; ``for`` and
    ``passed``: seconds of the present step; ``longer``: why that goes on although its time is over, "" if it does not;
    ``left``: seconds until all visitors are at the new one, at the longest; ``figures``: of each step, a line each;
    ``route``: the HTTPRoute that divides them, "" for the proxy; ``uncounted``: why no requests are counted now, "" if
    they are. Times are seconds since the epoch."""
    shift = rule.wanted(environment) if environment else None
    if environment is None or shift is None:
        return None
    timed = times.known(times.read(store.facts.get(times.fact_name(environment.id))), shift)
    new, old = rule.counted(shift)
    return {
        "environment": environment.name,
        "release": shift.release,
        "run": f"{environment.pipeline}#{shift.run}",
        "before": shift.before,
        "slot": shift.slot,
        "percent": shift.percent,
        "step": min(shift.step + 1, len(shift.steps)),
        "steps": list(shift.steps),
        "for": shift.lasts,
        "passed": min(shift.passed, shift.lasts),
        "longer": rule.longer(shift),
        "left": rule.left(shift),
        "since": shift.since,
        **codec.plain(new),
        "old": codec.plain(old),
        "latency": times.plain(timed),
        "figures": list(rule.evidence(shift, timed)),
        "route": shift.route,
        "uncounted": shift.uncounted,
        "text": rule.text(shift, timed),
    }


def of_run(store: Store, run: Run) -> dict[str, Any] | None:
    """The same for the release that this run has brought; None unless it has a part of the visitors now."""
    environment = store.environment(run.pipeline, run.stage) if run.stage and not run.ended else None
    found = rule.of_run(environment, run.number) if environment else None
    return shown(store, environment) if found else None
