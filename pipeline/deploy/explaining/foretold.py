"""Which budgets will be exceeded: kept as a fact of each pipeline, with the end of the run that shows it."""

from __future__ import annotations

from pydantic import ValidationError

from pipeline.config.models import Budget
from pipeline.domain.measuring.trends import WEEK, Forecast, Foretold
from pipeline.lib import codec
from pipeline.store import Store, Transaction

_STANDS = 4 * WEEK  # without another run


def _name(pipeline: str) -> str:
    return f"foretold:{pipeline}"


def read(text: str) -> Foretold:
    """What another version wrote in another form is not known: the next run finds it again."""
    try:
        return codec.load(Foretold, text) if text else Foretold()
    except ValidationError:
        return Foretold()


def before(tx: Transaction, pipeline: str) -> Foretold:
    return read(tx.fact(_name(pipeline)))


def put(tx: Transaction, pipeline: str, found: Foretold) -> None:
    tx.put_fact(_name(pipeline), codec.dump(found))


def standing(store: Store, pipeline: str, budget: Budget, now: float) -> tuple[Forecast, ...]:
    """The forecasts that still hold: not those of a month ago without a run since, nor of a budget that was changed."""
    found = read(store.facts.get(_name(pipeline)))
    if now - found.seen > _STANDS:
        return ()
    limits = {"deploy": budget.deploy, "whole": budget.whole}
    return tuple(one for one in found.forecasts if limits.get(one.budget) == one.limit)
