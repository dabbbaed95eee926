"""Traces wait for their receiver, not runs."""

from __future__ import annotations

import re
import secrets
import sys
from collections.abc import Sequence
from dataclasses import replace
from http import HTTPStatus
from typing import Any

import pytest

from pipeline.adapters.fake.clock import FakeClock
from pipeline.adapters.http import otlp
from pipeline.domain.run import Outcome, Run, State, StepResult
from pipeline.domain.tracing.spans import Span, trace_id
from pipeline.errors import ConfigError, RequestError, TryAgain
from pipeline.notify.traces import TraceDelivery
from pipeline.store import Lease, Store
from pipeline.store.tracing.due import AT_MOST, Due
from tests.support import records
from tests.support.dripping import dripping


class Sender:
    def __init__(self) -> None:
        self.sent: list[str] = []
        self.away = False

    def check(self) -> None:
        pass

    def send(self, spans) -> None:
        if self.away:
            raise TryAgain("the receiver is away.")
        self.sent.append(str(spans[0].attributes["pushlive.run"]))


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def store(store_url: str) -> Store:
    return Store(store_url, secrets.token_hex(4), traced=True)


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
    assert (store.traces.count(), store.traces.first()) == (AT_MOST, Due("hello#5"))


def test_nothing_is_noted_unless_it_is_wanted(store_url):
    store = Store(store_url, secrets.token_hex(4))
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


class Spans:
    """Keeps what it was sent. ``refuses``: whatever has that name in it is refused for good."""

    def __init__(self) -> None:
        self.found: list[Span] = []
        self.obstacle, self.refuses = "", "-"

    def check(self) -> None:
        if self.obstacle:
            raise ConfigError(self.obstacle, advice="Set it.")

    def send(self, spans: Sequence[Span]) -> None:
        self.check()
        if any(self.refuses in str(one.attributes["pushlive.run"]) for one in spans):
            raise RequestError("it does not accept traces: 400 Bad Request. This trace is left out.")
        self.found += spans

    @property
    def names(self) -> list[str]:
        return [one.name for one in self.found]


STEPS = (
    StepResult("build", "fetch", 1.0, 1.0),
    StepResult("dev", "start", 3.0, 1.0),
    StepResult("live", "enter", 4.0, 1.0),
)


def waits(store: Store, **more: Any) -> Run:
    run = records.run(
        state=State.WAITING, gate="live", stage="live", steps=STEPS, stages=("build", "dev", "live")
    )
    run = replace(run, **more)
    store.transact("hello", lambda tx: tx.put_run(run))
    return run


def test_of_a_run_that_waits_for_days_the_finished_stages_are_sent_and_none_twice(store, clock):
    spans = Spans()
    delivery = TraceDelivery(store, spans, clock)
    run = waits(store)
    waits(store)  # as each approval writes it
    assert delivery.deliver() == ""
    assert spans.names == ["build", "build/fetch", "dev", "dev/start"]
    over = replace(run, state=State.ENDED, outcome=Outcome.LIVE, ended=9e5, gate="")
    store.transact("hello", lambda tx: tx.put_run(over))
    assert TraceDelivery(store, spans, clock).deliver() == ""  # another messenger
    assert spans.names[4:] == ["push hello", "live", "live/enter"]
    assert len({one.id for one in spans.found}) == len(spans.found)
    ids = {one.id for one in spans.found}
    assert all(one.parent in ids for one in spans.found if one.parent)
    assert len({one.trace for one in spans.found}) == 1
    assert store.client.keys(f"{store.traces.instance}:traces-*") == []


def test_a_run_that_ended_before_its_wait_was_sent_is_sent_once(store, clock):
    spans = Spans()
    run = waits(store)
    over = replace(run, state=State.ENDED, outcome=Outcome.LIVE, ended=clock.now(), gate="")
    store.transact("hello", lambda tx: tx.put_run(over))
    assert TraceDelivery(store, spans, clock).deliver() == ""
    assert sorted(spans.names) == sorted({*spans.names})
    assert len(spans.names) == 7


def test_fault_70_a_messenger_that_dies_between_sending_and_noting_sends_the_same_again(
    store, clock, monkeypatch
):
    spans = Spans()
    run = waits(store)
    monkeypatch.setattr(store.traces, "done", lambda *_: sys.exit())
    with pytest.raises(SystemExit):
        TraceDelivery(store, spans, clock).deliver()
    monkeypatch.undo()
    clock.sleep(60)
    store.leases.drop(Lease("notify:traces", "messenger"))
    assert TraceDelivery(store, spans, clock).deliver() == ""
    assert spans.found[4:] == spans.found[:4]
    assert {one.trace for one in spans.found} == {trace_id(store.traces.instance, run)}


def test_a_trace_that_is_refused_for_good_keeps_no_other_back(store, clock):
    spans = Spans()
    spans.refuses = "#1"
    for number in (1, 2):
        end(store, number, clock.now())
    assert TraceDelivery(store, spans, clock).deliver().startswith("the trace of hello#1: it does not accept")
    assert [one.attributes["pushlive.run"] for one in spans.found] == ["hello#2"]
    assert (store.traces.count(), store.traces.trouble()) == (0, "")


def test_what_can_never_work_is_said_at_the_start(store, clock):
    spans = Spans()
    spans.obstacle = "grpc is not spoken."
    assert TraceDelivery(store, spans, clock).deliver() == "grpc is not spoken. Set it."
    assert store.traces.trouble() == "grpc is not spoken. Set it."
    spans.obstacle = ""
    assert TraceDelivery(store, spans, clock).deliver() == ""  # after the restart
    assert store.traces.trouble() == ""


@pytest.mark.parametrize("name", ["OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"])
def test_a_protocol_that_is_not_spoken_is_named_with_what_to_set(name):
    assert otlp.unspoken({}) is None
    assert otlp.unspoken({name: "http/protobuf"}) is None
    error = otlp.unspoken({name: "grpc"})
    assert error.message == f"{name} is grpc, and Pushlive sends traces by http/protobuf only."
    assert f"{name}=http/protobuf" in error.advice


def test_another_exporter_is_not_ignored():
    assert otlp.unspoken({"OTEL_TRACES_EXPORTER": "console,otlp"}) is None
    assert "zipkin" in otlp.unspoken({"OTEL_TRACES_EXPORTER": "zipkin"}).message


def test_fault_69_a_receiver_whose_answer_never_ends_holds_no_trace_up_for_long(monkeypatch):
    monkeypatch.setattr(otlp, "LONGEST", 0.3)
    one = Span("a" * 32, "b" * 16, "", "push hello", 1.0, 2.0)
    with dripping() as address:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://{address}")
        sender = otlp.OtlpSender("1", "pushlive")
        for _ in range(3):  # the third finds two that are still at it
            with pytest.raises(TryAgain, match=f"{address} gives no answer in time"):
                sender.send([one])


@pytest.mark.parametrize(
    ("status", "error", "says"),
    [
        (400, RequestError, "does not accept traces: 400 Bad Request. This trace is left out."),
        (413, RequestError, "does not accept traces: 413"),
        (401, TryAgain, "does not accept traces: 401 Unauthorized. Runs go on"),
        (404, TryAgain, "does not accept traces: 404 Not Found. Runs go on"),
        (429, TryAgain, "does not accept traces: 429 Too Many Requests. Runs go on"),
    ],
)
def test_what_a_receiver_answers_says_whether_it_is_tried_again(monkeypatch, status, error, says):
    answer = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nContent-Length: 0\r\n\r\n".encode()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "0.5")
    with dripping(lambda _: (answer, b"")) as address:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://{address}")
        with pytest.raises(error, match=re.escape(says)):
            otlp.OtlpSender("1", "pushlive").send([Span("a" * 32, "b" * 16, "", "push hello", 1.0, 2.0)])


def test_a_receiver_that_is_gone_is_named(monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "0.5")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    with pytest.raises(TryAgain, match=r"http://127.0.0.1:1 cannot be reached\. Runs go on"):
        otlp.OtlpSender("1", "pushlive").send([Span("a" * 32, "b" * 16, "", "push hello", 1.0, 2.0)])
