"""How much one pipeline of today's size takes."""

from __future__ import annotations

from pipeline.domain.capacity.fit import taken
from pipeline.domain.cost.ledger import Account, Amount, Hour


def test_a_preview_counts_for_its_pipeline() -> None:
    names = ("shop", "shop--login", "shop--search", "api")
    amounts = {str(Account("docker", name, name, "serving")): Amount(3600.0) for name in names}
    [found] = taken([Hour(1, seconds={"docker": 3600.0}, amounts=amounts)], "docker")
    assert found.pipelines == 2
