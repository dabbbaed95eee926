"""``pushlive doctor``: the budgets that will be exceeded if runs go on growing."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.deploy.explaining import foretold
from pipeline.deploy.services import Services
from pipeline.domain.measuring import trends
from pipeline.errors import PushliveError
from pipeline.maintenance.doctor.check import Check, check


def examine(services: Services, now: float) -> Iterator[Check]:
    """A line for each. Nothing is broken yet, so they do not make the whole examination fail."""
    try:
        _, config = services.configurations.current()
    except PushliveError:
        return  # said elsewhere
    for name in config.pipelines:
        for one in foretold.standing(services.store, name, config.budget_of(name), now):
            advice = f"`pushlive timings {name}` shows which steps grow, and since when."
            yield {**check(f"budget of {name}", True, trends.text(one, now)), "advice": advice}
