"""Histograms from a real Prometheus, and what is made of them."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest

from pipeline.adapters.http.prometheus import Prometheus
from pipeline.config.judging.metrics import LATENCY
from pipeline.domain.judging.latency.histogram import NO_END, NO_SERIES, Seen, looked, read
from tests.support.prometheus import Exporter, prometheus
from tests.support.waiting import until

QUERY = 'took_seconds_bucket{slot="blue"}'
BOUNDS = (0.05, 0.1, 1.0)


@pytest.fixture(scope="module")
def real() -> Iterator[Exporter]:
    with prometheus() as found:
        yield found


def answered(real: Exporter, counts: dict[float, int], pod: str = "a", slot: str = "blue") -> None:
    """So many more answers took up to so many seconds, and it has scraped them."""
    for end in (*BOUNDS, math.inf):
        name = f'took_seconds_bucket{{slot="{slot}",pod="{pod}",le="{"+Inf" if end == math.inf else end}"}}'
        real.add({name: float(sum(count for took, count in counts.items() if took <= end))})
    until(lambda: real.is_known('{__name__=~"took_seconds_bucket|broken_bucket"}'), 30)


def look(real: Exporter, before: Seen | None, at: float) -> Seen:
    found = read(Prometheus().counters(real.url, QUERY, None))
    assert found.problem == ""
    return looked(before, found.families, at, at)


def test_what_comes_between_two_looks_is_counted_by_its_bounds(real: Exporter) -> None:
    answered(real, {0.04: 5, 0.5: 2, 3.0: 1})
    answered(real, {0.04: 900}, slot="green")
    seen = look(real, None, 0.0)
    answered(real, {0.04: 1, 0.5: 2, 3.0: 4})
    answered(real, {0.1: 7}, pod="b")
    seen = look(real, seen, 60.0)
    assert (seen.timed.bounds, seen.timed.times) == (BOUNDS, {0: 1, 1: 7, 2: 2, 3: 4})
    for name in real.counters:
        if 'pod="b"' in name:
            real.counters[name] = 3.0  # it has started again
    answered(real, {}, pod="a")
    assert look(real, seen, 120.0).timed.times == {0: 4, 1: 7, 2: 2, 3: 4}


def test_the_default_query_adds_up_what_the_ingress_answered_without_errors(real: Exporter) -> None:
    name = "nginx_ingress_controller_request_duration_seconds_bucket"
    mine = 'namespace="shop",ingress="hello-live"'
    for labels, count in (
        (f'{mine},status="200",method="GET"', 3.0),
        (f'{mine},status="404",method="POST"', 2.0),
        (f'{mine},status="502",method="GET"', 50.0),
        (f'{mine},status="101",method="GET"', 70.0),
        (f'{mine.replace("hello", "other")},status="200",method="GET"', 90.0),
    ):
        for end in ("0.1", "1", "+Inf"):
            each = f'{{controller_pod="c",path="/",canary="",{labels},le="{end}"}}'
            real.counters[name + each] = count if end != "0.1" else 1.0
    query = LATENCY.replace("$namespace", "shop").replace("$service", "hello-live")
    until(lambda: Prometheus().counters(real.url, query, None), 30)
    found = read(Prometheus().counters(real.url, query, None))
    assert [dict(sorted(one.items())) for one in found.families.values()] == [
        {0.1: 2.0, 1.0: 5.0, math.inf: 5.0}
    ]
    for key in [one for one in real.counters if one.startswith(name)]:
        del real.counters[key]


def test_a_hundred_pods(real: Exporter) -> None:
    for pod in range(100):
        for end in ("0.05", "0.1", "1", "+Inf"):
            real.add({f'took_seconds_bucket{{slot="many",pod="{pod}",le="{end}"}}': 1.0})
    answered(real, {})
    found = read(Prometheus().counters(real.url, QUERY.replace("blue", "many"), None))
    assert (len(found.families), found.problem) == (100, "")


@pytest.mark.parametrize(
    ("ends", "value", "said"), [(("0.1", "+Inf"), "NaN", NO_SERIES), (("0.1", "1"), "3", NO_END)]
)
def test_what_is_no_histogram_is_said(real: Exporter, ends: tuple[str, ...], value: str, said: str) -> None:
    kind = f"of-{value}"
    real.counters |= {f'broken_bucket{{kind="{kind}",le="{end}"}}': float(value) for end in ends}
    query = f'broken_bucket{{kind="{kind}"}}'
    until(lambda: Prometheus().counters(real.url, f"count({query})", None) == {"{}": 2.0}, 30)
    assert read(Prometheus().counters(real.url, query, None)).problem == said
    for end in ends:
        del real.counters[f'broken_bucket{{kind="{kind}",le="{end}"}}']
