"""Only Pushlive's own job is executed from the queue. With real RQ and a real store."""

from __future__ import annotations

import logging
import pickle
import secrets
import signal
from pathlib import Path

import pytest
import redis
from rq import Queue, Worker
from rq.job import Job
from rq.serializers import JSONSerializer

from pipeline.adapters.queue import JOB, RqQueue, queue_names
from pipeline.config.settings import Settings
from pipeline.domain.run import Outcome
from pipeline.runtime.embedded_store import EmbeddedStore, url
from pipeline.runtime.supervisor import ForkedChild, stop
from tests.support.waiting import until
from workers import jobs, pool
from workers.jobs import OnlyOurJob

pytestmark = pytest.mark.real_store("RQ's own commands")


class Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (touch, ("pickle",))


done: list[str] = []


def touch(what: str = "called") -> None:
    """Must never be called."""
    done.append(what)


@pytest.fixture
def instance() -> str:
    return f"q{secrets.token_hex(4)}"


@pytest.fixture
def queue(valkey: str, instance: str) -> Queue:
    done.clear()
    return Queue(queue_names(instance)[1], connection=redis.Redis.from_url(valkey), serializer=JSONSerializer)


def work(queue: Queue) -> None:
    logging.getLogger("rq.worker").setLevel(logging.CRITICAL)
    worker = Worker(
        [queue.name], connection=queue.connection, job_class=OnlyOurJob, serializer=JSONSerializer
    )
    worker.fork_work_horse = lambda job, q: worker.perform_job(job, q, worker.execution)  # in this process
    worker.wait_for_horse = lambda: (None, 0, None)
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    worker.work(burst=True)
    for number, handler in before.items():  # RQ installs its own and leaves them
        signal.signal(number, handler)


def test_a_notification_is_one_job_that_names_a_pipeline(valkey, queue, instance, monkeypatch):
    rung: list[tuple[str, bool]] = []
    monkeypatch.setattr(jobs, "work", lambda pipeline, urgent: rung.append((pipeline, urgent)))
    ours = RqQueue(valkey, instance)
    ours.notify("hello")
    ours.notify("hello", urgent=True)
    assert (len(queue), len(Queue(queue_names(instance)[0], connection=queue.connection))) == (1, 1)
    work(queue)
    assert rung == [("hello", False)]
    assert len(queue) == 0


@pytest.mark.parametrize(
    ("function", "args", "kwargs"),
    [
        (f"{__name__}.touch", (), {}),
        ("os.system", ("touch /tmp/never",), {}),
        (JOB, ("hello",), {}),
        (JOB, ("hello", "yes"), {}),
        (JOB, ("hello", False), {"more": 1}),
    ],
    ids=["ours-not", "os-system", "too-few", "wrong-type", "keywords"],
)
def test_fault_45_another_job_is_never_executed(queue, monkeypatch, function, args, kwargs):
    monkeypatch.setattr(jobs, "work", lambda *a, **k: touch("work"))
    job = queue.enqueue(function, *args, **kwargs)
    with pytest.raises(PermissionError, match="is not executed"):
        OnlyOurJob.fetch(job.id, connection=queue.connection, serializer=JSONSerializer).perform()
    work(queue)
    assert done == []
    assert Job.fetch(job.id, connection=queue.connection, serializer=JSONSerializer).is_failed


def test_fault_45_callbacks_that_a_job_names_are_not_called(queue, monkeypatch):
    monkeypatch.setattr(jobs, "work", lambda *_: None)
    job = queue.enqueue(JOB, "hello", False)
    queue.connection.hset(job.key, "success_callback_name", f"{__name__}.touch")
    work(queue)
    assert done == []


def test_fault_45_a_pickled_job_is_never_unpickled(queue):
    job = queue.enqueue(JOB, "hello", False)
    queue.connection.hset(job.key, "data", pickle.dumps((JOB, None, (Bomb(),), {})))
    work(queue)
    assert done == []
    assert pickle.loads(pickle.dumps(Bomb())) is None  # noqa: S301 - the bomb is live
    assert done == ["pickle"]


def test_a_queue_without_a_store_raises_nothing(tmp_path):
    nowhere = f"unix://{tmp_path}/nobody.sock"
    with pytest.raises(redis.ConnectionError):
        redis.Redis.from_url(nowhere).ping()
    RqQueue(nowhere, "x").notify("hello")  # raises nothing


def test_fault_42_a_job_taken_by_a_worker_that_died_is_queued_again(world, valkey, instance, queue):
    """RQ lists the job as running for minutes. Our lease decides, and no one holds it."""
    run = world.accept(world.commit("one"))
    RqQueue(valkey, instance).notify("hello")
    taken = queue.pop_job_id()  # the worker is killed here
    assert taken
    assert len(queue) == 0
    world.queue.notified.clear()
    world.keeper.tick()
    assert world.queue.notified == [("hello", False)]
    world.work()
    assert world.run(run.number).outcome == Outcome.LIVE


def test_fault_42_a_worker_that_died_right_after_taking_the_lease_costs_no_attempt(world):
    run = world.accept(world.commit("one"))
    assert world.store.leases.take(f"run:{run.id}", "worker-1")  # the worker is killed here
    assert world.runner.work("hello") is None
    world.keeper.tick()
    world.clock.sleep(9)
    world.queue.notified.clear()
    world.keeper.tick()
    assert world.queue.notified == [("hello", False)]
    world.work()
    assert (world.run(run.number).outcome, world.run(run.number).attempts) == (Outcome.LIVE, 1)


def test_a_worker_that_starts_before_its_store_waits_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    asked, answers = tmp_path / "asked", pool.answers

    def note(connection: redis.Redis) -> bool:
        found = answers(connection)
        asked.touch()
        return found

    monkeypatch.setattr(pool, "answers", note)
    embedded = EmbeddedStore(tmp_path)
    child = ForkedChild("worker", lambda: pool.rq_worker(Settings(data=tmp_path), "w", ("q",)))
    child.start()
    try:
        until(asked.exists)
        assert child.running
        embedded.start()
        until(lambda: Worker.all(connection=redis.Redis.from_url(url(tmp_path))), 30)
        assert child.running
        assert (
            "Traceback" not in capfd.readouterr().err
        )  # not later: RQ may print one if it is ended as it starts
    finally:
        stop([child], 10)
        embedded.stop()
