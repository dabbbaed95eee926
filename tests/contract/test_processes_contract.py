"""What every engine that runs processes promises of them, and of runs by a schedule."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pipeline.errors import RequestError
from pipeline.ports.scheduled import Job
from tests.contract.test_engine_contract import Kit, kit  # noqa: F401 - a fixture

WORKER = {
    "command": ("sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.1; done"), "stop": 5.0, "settle": 0.1,
}  # fmt: skip
on_docker = pytest.mark.parametrize("kit", ["fake", "docker", "remote"], indirect=True)


@on_docker
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
    assert working() == {("green", "worker", 2)}
    engine.stop(blue.ref)
    assert {one.slot for one in engine.processes(blue.ref)} == {"green"}
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
