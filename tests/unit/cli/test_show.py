"""What show prints of a run."""

from collections.abc import Callable

from pipeline.cli.show import header, next_lines, stage_lines, time_lines
from pipeline.cli.terminal import plain
from pipeline.runlog.failure_card import failure_card
from tests.support.cli_stub import FAILURE, Stub, Told, run, timing

pytest_plugins = ["tests.support.cli_stub"]


def test_show_has_steps_times_and_checks(pushlive: Callable[..., Told]) -> None:
    told = pushlive("show", "hello#42")
    assert told.code == 0
    lines = [" ".join(line.split()) for line in told.out.splitlines()]
    assert lines[0] == "hello#42 live"
    assert lines[1] == "3f2a9c1 Say hello in two languages"
    assert "release r17, image abababababab" in lines[2]
    assert "build 0.44s ━━━━━━━━" in lines
    assert "switch 0.004s ━" in lines
    assert "queue wait 0.02s" in lines
    assert "image ready → live 1.30s of 5:00 4:58 left" in lines
    assert "push → live 1.80s of 10:00" in lines
    assert "qa ✓ GET /healthz 200 in 2 ms 0.002s 2 attempts" in lines
    assert lines[-1] == "`pushlive revert hello` puts the previous release back"


def test_the_stage_that_overspent_is_named() -> None:
    late = timing(deploy=320.0, left=-20.0, over="qa/smoke", serious=True, whole=700.0)
    lines = [" ".join(line.split()) for line in time_lines(late, plain)]
    assert "image ready → live 5:20 of 5:00 20.00s over, most of it in qa/smoke" in lines
    assert "push → live 11:40 of 10:00 serious: over the whole budget" in lines
    assert sum("over the budget" in line for line in stage_lines(late, plain, 0)) == 1


def test_a_failed_run_shows_its_card(stub: Stub, pushlive: Callable[..., Told]) -> None:
    stub.shown["run"] = run(outcome="failed", failure=FAILURE, reason=FAILURE["message"])
    out = pushlive("show").out
    assert out.startswith("hello#42  failed\n"), "the reason is on the card and is not said twice"
    assert "\n".join(failure_card(FAILURE, plain)) in out
    assert failure_card(FAILURE, plain) == [
        "┌─ dev/smoke failed · the application",
        "│ GET /healthz answered 500 instead of 200.",
        "├─ seen",
        "│ hello-dev-blue-r18-1 │ KeyError: 'GREETING'",
        "│ exit code: still running",
        "├─ differs from the last good release",
        "│ env GREETING: 'hello' → (not set)",
        "├─ next",
        "│ Push a fix; nothing moved. The failed container is kept for ten minutes.",
        "└─",
    ]


def test_what_each_part_of_the_visitors_was_answered_is_not_cut_off(
    stub: Stub, pushlive: Callable[..., Told]
) -> None:
    lines = [f"{share} % of new visitors: errors 0.42 % of 1,512 requests, beside 0.31 % of 28,533 of r16"
             for share in (5, 25)]  # fmt: skip
    step = {"step": "shift", "seconds": 600.0, "ok": True, "detail": "5 %, 25 % in 10m", "figures": lines}
    stub.shown["timing"] = timing(stages=[{"stage": "live", "seconds": 600.0, "steps": [step]}])
    out = pushlive("show").out
    assert f"\nlive: {lines[0]}\nlive: {lines[1]}\n" in out
    stub.shown["timing"]["stages"][0]["steps"][0]["ok"] = False
    assert lines[0] not in pushlive("show").out, "they are on the card"


def test_where_a_release_is_that_has_a_part_of_the_visitors_is_shown(
    stub: Stub, pushlive: Callable[..., Told]
) -> None:
    text = "25 % to r17 for 3m of 5m, then all: no requests yet, beside 0 of r16"
    before = "5 % of new visitors: errors 0 % of 15 requests, beside 0 % of 285 of r16"
    shift = {"environment": "live", "text": text, "figures": [before, "25 % of new visitors: …"]}
    stub.shown["run"] = run(state="running", outcome=None, stage="live", shift=shift)
    assert f"\nlive: {before}\nlive: {text}\n" in pushlive("show").out


def test_a_failed_step_is_marked() -> None:
    stages = [
        {
            "stage": "dev",
            "seconds": 1.0,
            "steps": [{"step": "smoke", "seconds": 1.0, "ok": False, "detail": "500"}],
        }
    ]
    assert stage_lines(timing(stages=stages), plain, 0)[-1].split() == [
        "✗",
        "smoke",
        "1.00s",
        "━" * 28,
        "500",
    ]


def test_a_queued_run_is_shown_with_the_command_to_follow_it(
    stub: Stub, pushlive: Callable[..., Told]
) -> None:
    stub.shown = {
        "run": run(state="queued", outcome=None, release=None, checks={}, stage="", seconds=0.0),
        "timing": timing(stages=[], deploy=0.0, left=None),
        "release": None,
    }
    told = pushlive("show")
    assert told.code == 0
    assert told.out.endswith("`pushlive follow 'hello#42'` follows it\n")


def test_the_header_has_the_user_and_the_reason() -> None:
    lines = header(
        run(kind="revert", by="ben", outcome="superseded", reason="hello#43 is newer"), None, plain
    )
    assert lines[0] == "hello#42  superseded  hello#43 is newer"
    assert lines[2].startswith("revert · by ben · ")


def test_the_next_command_fits_the_runs_state() -> None:
    assert "promote 'hello#42'" in next_lines(run(state="waiting", gate="live"), plain)[0]
    held = run(state="waiting", gate="qa", held=True)
    assert next_lines(held, plain) == ["`pushlive resume hello --env qa` lifts the hold"]
    again, force = (
        "pushlive revert hello --env qa --to r17",
        "pushlive promote 'hello#42' --force --reason TEXT",
    )
    back = {"text": "r17 was taken back in qa by ann: slow", "again": again, "force": force}
    assert next_lines(run(state="waiting", gate="live", taken_back=back), plain) == [
        back["text"],
        f"`{again}` puts it back there",
        f"`{force}` promotes it all the same",
    ]
    assert "logs 'hello#42'" in next_lines(run(outcome="failed"), plain)[0]
    assert next_lines(run(revert=False), plain) == []


def test_who_let_a_run_in_is_shown_after_its_end() -> None:
    given = [
        {"environment": "live", "by": by, "at": at, "release": 17} for by, at in (("bob", 1e6), ("eve", 2e6))
    ]
    [line] = [one for one in header(run(outcome="live", approvals=given), None, plain) if "approved" in one]
    assert line.startswith("approved for live by bob (1970-01-1")
    assert "), eve (1970-01-2" in line


def test_a_run_that_nothing_freezes_any_more_needs_no_one() -> None:
    thawed = run(state="waiting", outcome=None, gate="live", frozen=True, freeze=None)
    assert next_lines(thawed, plain) == ["nothing freezes live any more: it continues within seconds"]
