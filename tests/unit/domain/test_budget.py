"""The budget's arithmetic: what counts, what does not, who overspent."""

from __future__ import annotations

from dataclasses import replace

from pipeline.config.models import Budget
from pipeline.domain import budget
from pipeline.domain.run import Outcome, State, StepResult
from tests.support.records import run

LIMITS = Budget(deploy=300.0, whole=600.0)
STEPS = (
    StepResult("build", "build", 100.0, 200.0),
    StepResult("dev", "start", 310.0, 40.0),
    StepResult("qa", "smoke", 350.0, 290.0),
)
RUN = run(
    stages=("build", "dev", "qa"), accepted=90.0, started=100.0, image_ready=300.0, ended=640.0,
    steps=STEPS, state=State.ENDED, outcome=Outcome.LIVE,
)  # fmt: skip


def test_the_deploy_budget_begins_when_the_image_is_ready():
    assert budget.spent(replace(RUN, image_ready=0.0), 999.0) == 0.0
    assert budget.spent(RUN, 999.0) == 340.0
    assert budget.left(RUN, LIMITS, 999.0) == -40.0


def test_human_waiting_is_taken_out_also_while_it_lasts():
    assert budget.spent(replace(RUN, human=100.0), 999.0) == 240.0
    waiting = replace(RUN, ended=0.0, state=State.WAITING, gate="qa", gate_since=350.0)
    assert budget.spent(waiting, 1000.0) == 50.0
    assert budget.timing(waiting, LIMITS, 1000.0)["human"] == 650.0


def test_the_overspender_is_named_and_is_never_the_build():
    found = budget.timing(RUN, LIMITS, 999.0)
    assert found["over"] == "qa/smoke"
    assert budget.timing(replace(RUN, ended=500.0), LIMITS, 999.0)["over"] == ""
    assert budget.overspender(STEPS[:1]) == ""


def test_what_no_step_accounts_for_is_said_once_the_run_has_ended():
    steps = (StepResult("live", "start", 101.0, 3.0), StepResult("live", "shift", 104.0, 20.0))
    run = replace(
        RUN, accepted=100.0, started=101.0, ended=130.0, shifted=20.0, steps=steps, human=0.0, queued=2.0
    )
    assert budget.between(run, 999.0) == 30.0 - 20.0 - 1.0 - 2.0 - 3.0
    assert budget.between(replace(run, ended=0.0), 999.0) == 0.0
    assert budget.between(replace(run, steps=(*steps, StepResult("live", "verify", 1.0, 50.0))), 999.0) == 0.0


def test_queue_machine_and_whole_add_up():
    found = budget.timing(replace(RUN, human=50.0), LIMITS, 999.0)
    assert found["queue"] == 10.0
    assert found["whole"] == 500.0
    assert found["machine"] == found["whole"] - found["queue"]
    assert (
        budget.machine(replace(RUN, human=50.0, shifted=20.0, queued=7.0), 999.0) == 550.0 - 50 - 20 - 10 - 7
    )
    assert found["serious"] is False
    assert budget.timing(replace(RUN, ended=700.0), LIMITS, 999.0)["serious"] is True


def test_stages_come_in_order_with_their_steps():
    table = budget.stages(RUN)
    assert [stage["stage"] for stage in table] == ["build", "dev", "qa"]
    assert table[2]["steps"] == [{"step": "smoke", "seconds": 290.0, "ok": True, "detail": "", "figures": []}]


def test_what_each_part_of_the_visitors_was_answered_is_in_the_table():
    lines = ["5 % of new visitors: errors 0 % of 90 requests, beside 0 % of 900 of r1"]
    shift = StepResult("qa", "shift", 640.0, 60.0, detail="5 % in 60s", data={"steps": lines})
    other = StepResult("qa", "smoke", 640.0, 60.0, data={"steps": "of another kind"})
    table = budget.stages(replace(RUN, steps=(shift, other)))
    assert [step["figures"] for step in table[0]["steps"]] == [lines, []]


def test_a_forecast_needs_three_runs_through_the_same_stages():
    other = replace(RUN, stages=("build", "live"), ended=10_000.0)
    failed = replace(RUN, outcome=Outcome.FAILED, ended=10_000.0)
    assert budget.usual([RUN, RUN, other, failed], RUN.stages) == 0.0
    assert budget.usual([RUN, RUN, replace(RUN, ended=2000.0), failed], RUN.stages) == 340.0
