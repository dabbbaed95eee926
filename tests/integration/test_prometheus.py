"""Counters from a real Prometheus, and from what only looks like one."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from urllib.parse import parse_qs

import pytest

from pipeline.adapters.http.prometheus import SERIES, TIMEOUT, Prometheus
from pipeline.config.judging.metrics import ERRORS, LATENCY, REQUESTS
from pipeline.errors import TryAgain
from pipeline.lib.secret import Secret
from tests.support.ports import free_ports
from tests.support.prometheus import Exporter, prometheus, served
from tests.support.waiting import until

OK, BAD = 'requests_total{status="200"}', 'requests_total{status="500"}'
JSON = "application/json"


@pytest.fixture(scope="module")
def real() -> Iterator[Exporter]:
    with prometheus() as found:
        yield found


def test_each_series_has_its_value(real: Exporter) -> None:
    real.add({OK: 17, BAD: 3})
    until(lambda: real.is_known("requests_total"), 30)
    found = Prometheus().counters(real.url, "requests_total", None)
    assert sorted(found.values()) == [3.0, 17.0]
    assert {json.loads(labels)["status"] for labels in found} == {"200", "500"}
    assert list(Prometheus().counters(real.url + "/", 'requests_total{status=~"5.."}', None).values()) == [3]


def test_a_query_without_series_gives_none_and_a_scalar_is_one(real: Exporter) -> None:
    assert Prometheus().counters(real.url, "nothing_of_that_name", None) == {}
    assert Prometheus().counters(real.url, "scalar(vector(4))", None) == {"": 4.0}
    assert Prometheus().counters(real.url, "vector(0) / 0", None) == {}  # not a number


@pytest.mark.parametrize("query", [REQUESTS, ERRORS, LATENCY])
def test_prometheus_follows_the_default_queries(real: Exporter, query: str) -> None:
    assert Prometheus().counters(real.url, query.replace("$", ""), None) == {}


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("requests_total{", 'it answered 400: invalid parameter "query"'),
        ("requests_total[5m]", "the query gives a range"),
    ],
)
def test_a_wrong_query_is_said_in_its_words(real: Exporter, query: str, said: str) -> None:
    with pytest.raises(TryAgain) as failed:
        Prometheus().counters(real.url, query, None)
    assert said in failed.value.message
    assert failed.value.message.startswith(f"Prometheus at {real.url}: ")


def test_the_token_and_the_query_are_sent() -> None:
    seen = []

    def answer(handler):
        body = handler.body.decode()
        seen.append((handler.path, handler.headers["Authorization"], parse_qs(body)["query"]))
        data = {"resultType": "vector", "result": []}
        return 200, JSON, json.dumps({"status": "success", "data": data})

    with served(answer) as address:
        assert Prometheus().counters(f"http://{address}/prom", "up", Secret("t0ken")) == {}
    assert seen == [("/prom/api/v1/query", "Bearer t0ken", ["up"])]


def vector(count: int, value: object = "1") -> str:
    result = [{"metric": {"n": str(number)}, "value": [0, value]} for number in range(count)]
    return json.dumps({"status": "success", "data": {"resultType": "vector", "result": result}})


@pytest.mark.parametrize(
    ("status", "text", "said"),
    [
        (200, "<html>a login page</html>", "it answered 200, but not as Prometheus does"),
        (302, "", "it answered 302, but not as Prometheus does"),
        (200, "[]", "not as Prometheus does"),
        (200, "{}", "not as Prometheus does"),
        (200, "[" * 100_000, "not as Prometheus does"),
        (200, vector(1, "many"), "not as Prometheus does"),
        (200, vector(1, None), "not as Prometheus does"),
        (200, vector(SERIES + 1), f"gives {SERIES + 1} series; ask for {SERIES} at most"),
        (200, " " * (5 << 20), "has more than 4 MiB"),
        (503, json.dumps({"status": "error", "error": "too \x1b[31m busy\n"}), "it answered 503: too "),
    ],
)
def test_what_is_no_answer_is_said(status: int, text: str, said: str) -> None:
    with (
        served(lambda _: (status, JSON, text)) as address,
        pytest.raises(TryAgain) as failed,
    ):
        Prometheus().counters(f"http://{address}", "up", None)
    assert said in failed.value.message
    assert failed.value.message.isprintable()


def test_one_that_is_not_there_is_said() -> None:
    with pytest.raises(TryAgain) as failed:
        Prometheus().counters(f"http://127.0.0.1:{free_ports(1)}", "up", None)
    assert "connection refused" in failed.value.message


def test_one_that_does_not_answer_is_not_waited_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.adapters.http.prometheus.TIMEOUT", 0.3)
    assert TIMEOUT == 5

    def slowly(_):
        time.sleep(1.5)
        return 200, JSON, vector(1)

    with served(slowly) as address, pytest.raises(TryAgain) as failed:
        Prometheus().counters(f"http://{address}", "up", None)
    assert "no answer within 0.3 s" in failed.value.message
