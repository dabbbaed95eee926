"""Traces wait for their receiver, not runs."""

from __future__ import annotations

import secrets
import sys

import pytest

from pipeline.adapters.fake.clock import FakeClock
from pipeline.adapters.http import otlp
from pipeline.domain.run import Outcome, State
from pipeline.errors import ConfigError, TryAgain
from pipeline.notify.traces import TraceDelivery
from pipeline.store import Store
from pipeline.store.tracing.due import AT_MOST
from tests.support import records


class Sender:
    def __init__(self) -> None:
        self.sent: list[str] = []
        self.away = False

    def send(self, spans) -> None:
        if self.away:
            raise TryAgain("the receiver is away.")
        self.sent.append(str(spans[0].attributes["pushlive.run"]))


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def store(valkey: str) -> Store:
    return Store(valkey, secrets.token_hex(4), traced=True)


def end(store: Store, number: int, at: float = 1000.0) -> None:
    run = records.run(number, state=State.ENDED, outcome=Outcome.LIVE, ended=at)
    store.transact("hello", lambda tx: tx.put_run(run))


def test_runs_are_sent_once_in_the_order_in_which_they_ended(store, clock):
    sender = Sender()
    end(store, 2)
    end(store, 1)
    end(store, 1)
    delivery = TraceDelivery(store, sender, clock)
    assert (delivery.deliver(), delivery.deliver()) == ("", "")
    assert sender.sent == ["hello#2", "hello#1"]


def test_a_receiver_that_is_away_is_tried_again_and_gets_all(store, clock):
    sender = Sender()
    sender.away = True
    end(store, 1, clock.now())
    delivery = TraceDelivery(store, sender, clock)
    assert delivery.deliver() == "the receiver is away."
    assert store.traces.trouble() == "the receiver is away."
    sender.away = False
    assert delivery.deliver() == "the receiver is away."  # it is not time yet
    assert sender.sent == []
    clock.sleep(120)
    assert delivery.deliver() == ""
    assert (sender.sent, store.traces.trouble(), store.traces.count()) == (["hello#1"], "", 0)


def test_a_trace_is_given_up_a_day_after_its_run(store, clock):
    sender = Sender()
    sender.away = True
    end(store, 1, clock.now())
    clock.sleep(2 * 86400)
    assert TraceDelivery(store, sender, clock).deliver() == ""
    assert store.traces.count() == 0


def test_at_most_a_thousand_wait(store):
    for number in range(AT_MOST + 5):
        store.traces.queue(store.client, f"hello#{number}")
    assert (store.traces.count(), store.traces.first()) == (AT_MOST, "hello#5")


def test_nothing_is_noted_unless_it_is_wanted(valkey):
    store = Store(valkey, secrets.token_hex(4))
    end(store, 1)
    assert store.traces.count() == 0


def test_the_standard_variables_say_whether_traces_are_wanted():
    set_ = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}
    assert [otlp.wanted(env) for env in ({}, set_, {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c"})] == [
        False,
        True,
        True,
    ]
    assert not otlp.wanted({**set_, "OTEL_SDK_DISABLED": "true"})
    assert not otlp.wanted({**set_, "OTEL_TRACES_EXPORTER": "none"})


def test_without_the_extra_one_sentence_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(ConfigError, match="OpenTelemetry is not installed") as caught:
        otlp.OtlpSender("1", "pushlive").send([])
    assert "pip install 'pushlive[otel]'" in caught.value.advice
