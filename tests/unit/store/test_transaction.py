"""Transactions: what is read, what is written, and that both are one."""

from __future__ import annotations

import pytest

from pipeline.domain.environment import Environment
from pipeline.domain.events import Event
from pipeline.domain.run import Outcome, Run, State
from pipeline.domain.secret_versions import SecretRecord
from pipeline.errors import NotFound, RequestError
from pipeline.store import Store, Transaction
from tests.support import records


def put(store: Store, *runs: Run) -> None:
    for run in runs:
        store.transact("hello", lambda tx, run=run: tx.put_run(run))


def test_numbers_go_up_by_one_in_each_pipeline(store: Store) -> None:
    def number(pipeline: str) -> tuple[int, int]:
        return store.transact(pipeline, lambda tx: (tx.next_run(), tx.next_release()))

    assert [number("hello"), number("hello"), number("other")] == [(1, 1), (2, 2), (1, 1)]


def test_the_newest_runs_are_listed_without_those_that_were_lost(store: Store) -> None:
    put(store, records.run(1), records.run(3))
    store.transact("hello", lambda tx: tx.count_from(runs=4, releases=0))

    def recent(count: int) -> list[int]:
        return store.transact("hello", lambda tx: [run.number for run in tx.recent(count)])

    assert (recent(5), recent(2), recent(1)) == ([3, 1], [3], [])
    assert store.transact("hello", lambda tx: (tx.next_run(), tx.next_release())) == (5, 1)


def test_an_open_run_is_listed_until_it_ends_and_is_then_not_due(store: Store) -> None:
    put(store, records.run(), records.run(2))
    store.transact("hello", lambda tx: (tx.due(1), tx.due(2)))
    assert store.due("hello") == (1, 2)
    assert store.pipelines() == ("hello",)
    put(store, records.run(state=State.ENDED, outcome=Outcome.LIVE, ended=2.0))
    assert [run.number for run in store.open_runs("hello")] == [2]
    assert [run.number for run in store.transact("hello", lambda tx: tx.open())] == [2]
    assert store.due("hello") == (2,)
    assert store.run("hello", 1).outcome == Outcome.LIVE


def test_recent_runs_are_newest_first_and_skip_missing_numbers(store: Store) -> None:
    for _ in range(3):
        store.transact("hello", lambda tx: tx.next_run())
    put(store, records.run(), records.run(3))
    assert [run.number for run in store.recent("hello", 10)] == [3, 1]
    assert [run.number for run in store.recent("hello", 1)] == [3]
    assert store.recent("nobody", 10) == ()


@pytest.mark.parametrize("what", ["run", "release", "environment"])
def test_a_missing_record_is_not_found(store: Store, what: str) -> None:
    with pytest.raises(NotFound, match="hello"):
        store.transact("hello", lambda tx: getattr(tx, what)("live" if what == "environment" else 7))


def test_a_missing_environment_is_none_outside_a_transaction(store: Store) -> None:
    assert store.environment("hello", "live") is None
    store.transact("hello", lambda tx: tx.put_environment(Environment("hello", "live", 0, "docker")))
    assert store.environments("hello") == {"live": store.environment("hello", "live")}


def test_a_delivery_is_remembered_for_its_own_pipeline_for_a_while(store: Store) -> None:
    store.transact("hello", lambda tx: tx.put_delivery("github-1", 4))
    assert store.transact("hello", lambda tx: tx.delivery("github-1")) == 4
    assert store.transact("other", lambda tx: tx.delivery("github-1")) is None
    [key] = store.client.scan_iter(store.key("delivery", "hello", "*"))
    assert "github-1" not in key
    assert 0 < store.client.ttl(key) <= 30 * 86400


def test_an_act_that_raises_leaves_no_write_of_any_kind(store: Store) -> None:
    def act(tx: Transaction) -> None:
        tx.put_run(records.run())
        tx.put_secret(SecretRecord("TOKEN"))
        tx.event(1, Event("accepted", 1.0, "hello"))
        tx.message("https://hooks.example/x", "text")
        raise RequestError("no")

    with pytest.raises(RequestError):
        store.transact("hello", act)
    assert list(store.client.scan_iter(store.key("*"))) == []


def test_an_act_runs_again_on_what_another_process_wrote(store: Store) -> None:
    seen: list[int] = []

    def act(tx: Transaction) -> int:
        number = tx.next_run()
        if not seen:
            store.transact("hello", lambda other: other.next_run())  # written between our read and our write
        seen.append(number)
        return number

    assert store.transact("hello", act) == 2
    assert seen == [1, 2]
    assert store.last_run("hello") == 2


def test_a_transaction_of_another_pipeline_is_no_reason_to_run_again(store: Store) -> None:
    calls: list[int] = []

    def act(tx: Transaction) -> None:
        calls.append(tx.next_run())
        store.transact("other", lambda other: other.next_run())

    store.transact("hello", act)
    assert calls == [1]


def test_secrets_are_listed_by_name_and_their_pipelines_too(store: Store) -> None:
    store.transact("hello", lambda tx: tx.put_secret(SecretRecord("TOKEN", 3)))
    assert store.secrets("hello") == {"TOKEN": SecretRecord("TOKEN", 3)}
    assert store.transact("hello", lambda tx: tx.secrets()) == store.secrets("hello")
    assert store.pipelines_with_secrets() == ("hello",)


def test_a_read_after_a_write_is_still_what_the_store_has(store: Store) -> None:
    put(store, records.run(reason="before"))

    def act(tx: Transaction) -> str:
        tx.put_run(records.run(reason="after"))
        return tx.run(1).reason

    assert store.transact("hello", act) == "before"
    assert store.run("hello", 1).reason == "after"
