"""What every engine that runs processes promises of them, and of runs by a schedule."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

import pytest

from pipeline.domain.adoption import FoundSlot, made_of, remembered
from pipeline.errors import AppFailed, RequestError
from pipeline.ports.scheduled import Job
from tests.contract.test_engine_contract import Kit, kit  # noqa: F401 - a fixture
from tests.support.waiting import until

WORKER = {
    "command": ("sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.1; done"), "stop": 5.0, "settle": 0.1,
}  # fmt: skip


def test_processes_run_in_one_slot_and_a_job_outlives_it(kit: Kit) -> None:  # noqa: F811
    engine = kit.engine
    blue, green = (
        kit.spec(slot, n, replicas=1, processes={"worker": WORKER}) for slot, n in (("blue", 1), ("green", 2))
    )

    def working() -> set[tuple[str, str, int]]:
        return {(one.slot, one.process, one.release) for one in engine.processes(blue.ref) if one.works}

    kit.deploy(blue)
    assert len(engine.missing_processes(blue)) == 1
    engine.start_processes(blue, kit.watch())
    engine.start_processes(blue, kit.watch())  # idempotent
    engine.processes_ready(blue, kit.events.append, kit.watch())
    assert working() == {("blue", "worker", 1)}
    assert engine.missing_processes(blue) == ()
    job = Job("mail", 1_800_000_000)
    engine.start_job(blue, job, ("sleep", "60"), kit.watch())
    kit.deploy(green)
    with pytest.raises(RequestError, match="still run"):
        engine.start_processes(green, kit.watch())
    engine.restore_processes(green)  # ends the other slot's first
    until(lambda: working() == {("green", "worker", 2)})
    engine.stop(blue.ref)
    until(
        lambda: {one.slot for one in engine.processes(blue.ref)} == {"green"}
    )  # a cluster lists one that ends
    [found] = engine.jobs(replace(blue.ref, slot="green"))
    assert (found.job, found.release, found.exit_code) == (job, 1, None)
    engine.end_job(blue.ref, job)
    [found] = engine.jobs(blue.ref)
    assert found.exit_code
    engine.start_job(green, job, ("sleep", "60"), kit.watch())  # never a second time
    assert [one.exit_code for one in engine.jobs(blue.ref)] == [found.exit_code]
    engine.forget_job(blue.ref, job)
    assert engine.jobs(blue.ref) == ()
    engine.stop_processes(green.ref)
    assert working() == set()


really = pytest.mark.parametrize("kit", ["docker", "cluster"], indirect=True)


@really
def test_what_exits_is_said_with_its_last_lines_and_a_ready_command_is_waited_for(kit: Kit) -> None:  # noqa: F811
    late = {**WORKER, "command": ("sh", "-c", "sleep 0.5; touch /tmp/there; sleep 60"), "stop": 1.0}
    spec = kit.spec(
        replicas=1, processes={"worker": {**late, "ready": {"run": ("test", "-e", "/tmp/there")}}}
    )
    kit.deploy(spec)
    kit.engine.start_processes(spec, kit.watch())
    kit.engine.processes_ready(spec, kit.events.append, kit.watch())
    assert [one.state for one in kit.engine.processes(spec.ref)] == ["running"]
    [source] = [one for one in kit.engine.sources(spec.ref) if one.process]
    assert (source.label, source.process) == ("worker.1", "worker")
    with suppress(RequestError):  # a cluster without the metrics API says so
        measured = kit.engine.measured(spec.ref)
        assert list(measured) == sorted(measured, key=lambda one: one.name)
        assert all(one.memory > 0 and (one.cores is None) != (one.spent is None) for one in measured)
        assert kit.engine.measured(replace(spec.ref, slot="green")) == ()
    dies = {**WORKER, "command": ("sh", "-c", "echo no queue; exit 3"), "settle": 30.0}
    broken = kit.spec(replicas=1, processes={"worker": dies})
    kit.engine.start_processes(broken, kit.watch())
    with pytest.raises(AppFailed, match="exited with code 3") as failed:
        kit.engine.processes_ready(broken, kit.events.append, kit.watch())
    assert failed.value.evidence[-1] == "no queue"


@really
def test_a_release_without_a_web_process_starts_and_ends(kit: Kit) -> None:  # noqa: F811
    engine, spec = kit.engine, kit.spec(web=False, processes={"worker": {**WORKER, "replicas": 2}})
    engine.prepare(spec.ref, (), routes=False)
    engine.start(spec, kit.watch())
    assert engine.ready(spec, kit.events.append, kit.watch()) == ()
    engine.unroute(spec.ref)
    engine.start_processes(spec, kit.watch())
    engine.processes_ready(spec, kit.events.append, kit.watch())
    assert engine.serving(spec.ref) is None
    assert engine.missing(spec) == engine.missing_processes(spec) == ()
    assert [one.process for one in engine.processes(spec.ref)] == ["worker", "worker"]
    assert spec.ref in engine.slots()
    (found,) = (one for one in engine.survey() if one.pipeline == kit.name)  # for a store that was lost
    assert (found.name, found.index, found.routed, found.active) == ("live", spec.ref.index, False, "blue")
    (one,) = found.slots
    assert (one.ref, one.release, one.run, one.commit) == (spec.ref, spec.release, spec.run, spec.commit)
    assert one.made == made_of(remembered(spec))
    assert engine.spec_hash(spec, one.replica) == one.spec
    assert engine.spec_hash(replace(spec, commit="f" * 40), one.replica) != one.spec
    engine.stop(spec.ref)
    until(lambda: not [one for one in engine.processes(spec.ref) if one.works])


@really
def test_the_last_run_tells_what_serves_where_schedules_alone_run(kit: Kit) -> None:  # noqa: F811
    engine, mail = kit.engine, {"command": ("true",), "cron": "0 3 * * *"}
    old, spec = (
        kit.spec(slot, n, web=False, processes={"mail": mail}) for slot, n in (("green", 1), ("blue", 2))
    )
    engine.prepare(spec.ref, (), routes=False)

    def found() -> list[FoundSlot]:
        return [slot for one in engine.survey() if one.pipeline == kit.name for slot in one.slots]

    for number, one in enumerate((old, spec)):
        engine.start(one, kit.watch())
        assert [slot.release for slot in found()] == ([old.release] if number else [])
        job = Job("mail", 1_800_000_000 + number)
        engine.start_job(one, job, ("true",), kit.watch())
        until(lambda: all(state.exit_code is not None for state in engine.jobs(spec.ref)), seconds=30)
    [slot] = found()
    assert (slot.ref, slot.release, slot.run, slot.well) == (spec.ref, spec.release, spec.run, True)
    assert slot.made == made_of(remembered(spec))
    assert engine.spec_hash(spec, slot.replica) == slot.spec
    for state in engine.jobs(spec.ref):
        engine.forget_job(spec.ref, state.job)
    assert found() == []
    for one in (old, spec):
        engine.stop(one.ref)


@really
def test_a_job_runs_once_and_its_output_and_exit_code_are_found(kit: Kit) -> None:  # noqa: F811
    spec = kit.spec(replicas=1, env={"WORD": "mail"})
    kit.engine.prepare(spec.ref, ())
    job, argv = Job("mail", 1_800_000_000), ("sh", "-c", "echo $WORD sent; exit 3")
    for _ in range(2):  # the second one finds it
        kit.engine.start_job(spec, job, argv, kit.watch())
    until(lambda: all(one.exit_code is not None for one in kit.engine.jobs(spec.ref)), seconds=30)
    [found] = kit.engine.jobs(spec.ref)
    assert (found.job, found.release, found.exit_code) == (job, 1, 3)
    assert found.started <= found.ended
    assert kit.engine.job_output(spec.ref, job, 9) == ("mail sent",)
    assert kit.engine.processes(spec.ref) == ()
    kit.engine.forget_job(spec.ref, job)
    assert kit.engine.jobs(spec.ref) == ()
