"""What status and runs print."""

from collections.abc import Callable
from typing import Any

from pipeline.cli.status import environment_row, pipeline_lines, run_row, run_state
from pipeline.cli.terminal import plain
from tests.support.cli_stub import NOW, Stub, Told, environment, run

pytest_plugins = ["tests.support.cli_stub"]


def _entry(**changes: Any) -> dict[str, Any]:
    environments = [environment("dev", 0), environment("live", 1, **changes)]
    return {
        "name": "hello",
        "branch": "main",
        "source": "",
        "environments": environments,
        "run": None,
        "waiting": None,
    }


def test_status_is_a_table(pushlive: Callable[..., Told]) -> None:
    told = pushlive("status")
    assert told.code == 0
    lines = told.out.splitlines()
    assert lines[0].startswith("hello  built-in git server · main  hello#42 live 3m ago")
    assert " ".join(lines[2].split()) == (
        "dev r17 3f2a9c1 Say hello in two languages 3m ● blue serving revert ready: r16, warm "
        "http://127.0.0.1:20000"
    )
    assert len(lines) == 5


def test_what_needs_a_person_is_listed_below_with_its_command() -> None:
    hold = {"reason": "reverted from r18", "by": "ana", "since": NOW}
    entry = _entry(hold=hold, quarantine=[{"release": 18, "reason": "slow"}], problem="no container")
    entry["waiting"] = run(state="waiting", gate="live")
    text = "\n".join(pipeline_lines(entry, NOW, plain, 0))
    assert "✗ live: no container" in text
    assert "! live is held: reverted from r18 (ana)  → `pushlive resume hello --env live`" in text
    assert "live: r18 in quarantine: slow  → `pushlive unquarantine hello r18 --env live`" in text
    assert "hello#42 (r17, 3f2a9c1) waits before live  → `pushlive promote 'hello#42'`" in text
    cut = {"text": "shop/live/data does not have all data of x yet", "command": "pushlive volume mv x y"}
    shown = "\n".join(pipeline_lines(_entry(unfinished=[cut]), NOW, plain, 0))
    assert "✗ live: shop/live/data does not have all data of x yet  → `pushlive volume mv x y`" in shown
    force = "pushlive promote 'hello#42' --force --reason TEXT"
    again = "pushlive revert hello --env qa --to r17"
    back = {"text": "r17 was taken back in qa by ann: slow", "again": again, "force": force}
    shown = "\n".join(
        pipeline_lines(entry | {"waiting": entry["waiting"] | {"taken_back": back}}, NOW, plain, 0)
    )
    assert f"waits before live: r17 was taken back in qa by ann: slow  → `{again}`" in shown
    assert f"to promote it all the same: `{force}`" in shown
    freeze = {
        "text": "live is frozen until Mon 08:00 UTC: exams (by ada)",
        "command": "pushlive thaw hello live",
    }
    frozen = _entry(freeze=freeze) | {"waiting": entry["waiting"] | {"freeze": freeze}}
    shown = "\n".join(pipeline_lines(frozen, NOW, plain, 0))
    assert "! live is frozen until Mon 08:00 UTC: exams (by ada)  → `pushlive thaw hello live`" in shown
    assert "waits before live: live is frozen until Mon 08:00 UTC: exams (by ada)" in shown
    thawed = entry | {"waiting": entry["waiting"] | {"frozen": True}}
    shown = "\n".join(pipeline_lines(thawed, NOW, plain, 0))
    assert "waits before live and continues within seconds: nothing freezes it any more" in shown
    assert "pushlive promote" not in shown
    later = _entry(next_freeze={"text": "live freezes Fri 16:00 to Mon 08:00 UTC"})
    assert "· live freezes Fri 16:00 to Mon 08:00 UTC" in "\n".join(pipeline_lines(later, NOW, plain, 0))
    opened = {"text": "live is open by a thaw until Mon 08:00 UTC: a fix (by ada)"}
    both = "\n".join(pipeline_lines(later | _entry(thaw=opened), NOW, plain, 0))
    assert "· live is open by a thaw until Mon 08:00 UTC: a fix (by ada)" in both
    approval = {"text": "promotion to live is manual: 1 of 2 approvals (ben)"}
    asked = entry | {"waiting": entry["waiting"] | {"approval": approval}}
    shown = "\n".join(pipeline_lines(asked, NOW, plain, 0))
    assert (
        "live: promotion to live is manual: 1 of 2 approvals (ben)  → `pushlive promote 'hello#42'`" in shown
    )
    entry["waiting"] |= {"held": True, "gate": "dev"}
    text = "\n".join(pipeline_lines(entry, NOW, plain, 0))
    assert text.endswith("waits before dev  → `pushlive resume hello --env dev`"), "resume alone means live"


def test_an_environment_without_a_release_is_shown_as_empty() -> None:
    empty = environment("qa", 1, release=None, commit="", message="", since=None, slot=None)
    empty["revert"] = {"ready": False, "text": "not ready: no earlier good release"}
    texts = [cell if isinstance(cell, str) else cell[0] for cell in environment_row(empty, NOW)]
    assert texts[:7] == ["qa", "–", "", "", "", "", "empty"]
    assert texts[7] == "revert not ready: no earlier good release"


def test_a_wrong_configuration_is_reported_on_top(stub: Stub, pushlive: Callable[..., Told]) -> None:
    stub.status["config_error"] = "pipelines.yaml:3: nonsense\x1b[2J\npipelines.yaml:4: more"
    told = pushlive("status")
    assert told.err == (
        "! pipelines.yaml cannot be used as it is; the last good version stays in use.\n"
        "  pipelines.yaml:3: nonsense\n  pipelines.yaml:4: more\n\n"
    )
    assert told.code == 0


def test_status_of_one_pipeline(stub: Stub, pushlive: Callable[..., Told]) -> None:
    assert pushlive("status", "hello").code == 0
    assert stub.asked[-1][1] == "/api/status?pipeline=hello"
    told = pushlive("status", "shop")
    assert told.code == 4
    assert "no pipeline shop" in told.err


def test_status_without_a_run_says_how_to_begin(stub: Stub, pushlive: Callable[..., Told]) -> None:
    stub.status["pipelines"] = []
    assert "pushlive init" in pushlive("status").out
    stub.answers["GET", "/api/runs"] = (200, {"runs": []})
    assert "git push" in pushlive("runs").out


def test_runs_is_a_table(stub: Stub, pushlive: Callable[..., Told]) -> None:
    told = pushlive("runs", "hello", "--limit", "5")
    assert stub.asked[-1][1] == "/api/runs?pipeline=hello&limit=5"
    row = " ".join(told.out.splitlines()[1].split())
    assert row == "hello#42 live r17 3f2a9c1 Say hello in two languages ana 3m ago 1.80s"


def test_a_runs_state_is_described() -> None:
    assert run_state(run()) == ("live", "green")
    assert run_state(run(state="waiting", gate="live"))[0] == "waits before live"
    assert run_state(run(state="running", stage="qa"))[0] == "running qa"
    assert run_state(run(state="queued", stage=""))[0] == "queued"
    assert run_state(run(state="running", stage="live", behind="hello#4")) == ("waits for hello#4", "yellow")


def test_fault_47_a_commit_message_cannot_steer_the_terminal(
    stub: Stub, pushlive: Callable[..., Told]
) -> None:
    entries: Any = stub.status["pipelines"]
    entries[0]["environments"][0]["message"] = "\x1b[2Jevil\nline\x9b"
    told = pushlive("status")
    assert "evil line" in told.out
    assert "\x1b" not in told.out


def test_a_lost_store_is_said_first(stub: Stub, pushlive: Callable[..., Told]) -> None:
    stub.answers["GET", "/api/status"] = (200, stub.status | {"unknown_store": "the store has no records."})
    assert pushlive("status").err.startswith("! the store has no records.")


def test_code_that_was_replaced_is_said_first(stub: Stub, pushlive: Callable[..., Told]) -> None:
    text = "Pushlive was updated from 0.1.0 to 0.2.0 while it runs. Restart it."
    stub.answers["GET", "/api/status"] = (200, stub.status | {"replaced": text})
    assert pushlive("status").err.startswith(f"! {text}")


def test_a_cap_that_the_month_passes_is_said_with_what_shows_more(
    stub: Stub, pushlive: Callable[..., Told]
) -> None:
    text = "shop will have cost 24.00 EUR by the end of 2026-11, 120 % of its cap of 20.00 EUR\x1b[31m"
    stub.answers["GET", "/api/status"] = (200, stub.status | {"costs": [{"text": text}]})
    said = pushlive("status").err
    assert said.startswith(
        "! shop will have cost 24.00 EUR by the end of 2026-11, 120 % of its cap of 20.00 EUR"
    )
    assert "→ `pushlive cost`" in said
    assert "\x1b" not in said


def test_a_release_that_is_down_is_said_with_where_its_output_is() -> None:
    down = {"state": "down", "text": "r17 is down since 12:00: it exited", "serving": 0, "replicas": 2}
    lines = pipeline_lines(_entry(health=down, problem="more"), NOW, plain, 0)
    assert " down " in lines[3]
    text = "  ✗ live: r17 is down since 12:00: it exited  → `pushlive logs hello --app --env live`"
    assert lines.index(text) < lines.index("  ✗ live: more")
    half = {**down, "state": "degraded", "text": "r17: only 1 of 2 replicas serves", "serving": 1}
    lines = pipeline_lines(_entry(health=half), NOW, plain, 0)
    assert " 1/2 serve " in lines[3]
    assert any(line.startswith("  ! live: r17: only 1 of 2 replicas serves") for line in lines)
    well = {**down, "state": "up", "text": "", "serving": 2}
    assert len(pipeline_lines(_entry(health=well), NOW, plain, 0)) == 4


def test_a_run_by_a_schedule_that_failed_is_said_with_its_command() -> None:
    def lines(outcome: str) -> list[str]:
        cron = [{"process": "mail", "runs": [{"outcome": outcome, "ended": NOW}]}]
        return pipeline_lines(_entry(cron=cron), NOW, plain, 0)

    assert "  ! live: cron mail failed  → `pushlive cron hello --env live`" in lines("failed")
    assert len(lines("ok")) == len(lines("failed")) - 1


def test_processes_are_shown_with_what_runs_and_their_last_run() -> None:
    worker = {
        "process": "worker",
        "state": "down",
        "running": 1,
        "replicas": 2,
        "restarts": 4,
        "restarts_since": NOW,
    }
    beat = {
        "process": "beat",
        "state": "",
        "running": None,
        "replicas": 1,
        "restarts": 0,
        "restarts_since": None,
    }
    mail = {"process": "mail", "running": None, "runs": [{"outcome": "ok", "ended": NOW - 300}]}
    known = {"processes": [{**worker, "text": "restarted 4 times"}, {**beat, "text": ""}], "cron": [mail]}
    text = "\n".join(pipeline_lines(_entry(**known), NOW, plain, 0))
    assert "· live: worker 1 of 2, restarted 4 times · beat – of 1 · mail ok 5m ago" in text
    assert "✗ live: worker: restarted 4 times  → `pushlive logs hello live --process worker`" in text
    assert "· dev" not in text


def test_what_a_run_waited_is_told_beside_the_time_that_it_took() -> None:
    row = run_row({"id": "hello#2", "state": "ended", "outcome": "live", "accepted": NOW - 60, "seconds": 39.1,
                   "machine": 2.7}, NOW)  # fmt: skip
    assert row[-2:] == ("2.70s", ("36.40s", "dim"))
    earlier = run_row({"id": "hello#2", "state": "ended", "outcome": "live", "accepted": NOW - 60,
                       "seconds": 39.1}, NOW)  # fmt: skip
    assert earlier[-2:] == ("39.10s", ("", "dim"))


def test_a_release_that_has_a_part_of_the_visitors_is_shown() -> None:
    shift = {"text": "25 % to r2 for 3m of 5m: errors 0.4 % of 512 requests, beside 0.3 % of 1,533 of r1"}
    shown = "\n".join(pipeline_lines(_entry(shift=shift), NOW, plain, 0))
    assert f"· live: {shift['text']}" in shown


def test_a_release_that_is_watched_is_shown_and_so_is_one_that_failed_and_was_left() -> None:
    baking = {"state": "baking", "text": "r2 is watched: 30s of 2m"}
    shown = "\n".join(pipeline_lines(_entry(bake=baking), NOW, plain, 0))
    assert "· live: r2 is watched: 30s of 2m" in shown
    failed = {"state": "failed", "text": "r2 failed 5 s after its switch: it died"}
    assert "! live: r2 failed 5 s" in "\n".join(pipeline_lines(_entry(bake=failed), NOW, plain, 0))
    over = {"state": "superseded", "text": "r2 was no longer watched: r3 serves"}
    assert "watched" not in "\n".join(pipeline_lines(_entry(bake=over), NOW, plain, 0))


def test_a_release_that_is_worse_is_shown_with_what_would_have_followed() -> None:
    worse = {"release": 2, "verdict": "worse", "text": "errors 2 % of 900 requests, worse than r1 (1 %)"}
    shown = "\n".join(pipeline_lines(_entry(answers={**worse, "trial": None}), NOW, plain, 0))
    assert "! live: r2: errors 2 % of 900 requests, worse than r1 (1 %)  → `pushlive logs" in shown
    trial = {"would": "With `judge: act` it would have been taken back to r1"}
    shown = "\n".join(pipeline_lines(_entry(answers={**worse, "trial": trial}), NOW, plain, 0))
    assert "worse than r1 (1 %). With `judge: act` it would have been taken back to r1  → " in shown


def test_requests_that_are_not_counted_are_said_with_the_reason() -> None:
    figures = {
        "source": "prometheus",
        "problem": "it does not answer",
        "text": "not counted: it does not answer",
    }
    shown = "\n".join(pipeline_lines(_entry(figures=figures), NOW, plain, 0))
    assert "! live: requests are not counted: it does not answer" in shown
    alone = {"source": "", "problem": "", "text": "its requests are not counted"}
    assert "· live: its requests are not counted" in "\n".join(
        pipeline_lines(_entry(figures=alone), NOW, plain, 0)
    )
    untimed = {
        "source": "prometheus",
        "problem": "",
        "text": "",
        "latency": "answers are not compared by time: no series",
    }
    assert "· live: answers are not compared by time: no series" in "\n".join(
        pipeline_lines(_entry(figures=untimed), NOW, plain, 0)
    )
    well = {"source": "proxy", "problem": "", "text": "", "latency": ""}
    assert "counted" not in "\n".join(pipeline_lines(_entry(figures=well), NOW, plain, 0))


def test_replicas_that_did_not_answer_and_were_started_again_are_counted() -> None:
    health = {"state": "up", "text": "", "serving": 1, "replicas": 1, "restarts": 0, "revived": 2}
    shown = "\n".join(pipeline_lines(_entry(health=health), NOW, plain, 0))
    assert "· live: did not answer and was started again 2 times" in shown


def test_how_it_answers_is_beside_it_and_what_is_worse_below_it() -> None:
    latency = {"verdict": "no worse", "text": "p50 12 ms and p95 80 ms of 900 answers, no worse than r1"}
    answers = {"release": 2, "verdict": "no worse", "text": "errors 0 % of 900 requests", "latency": latency}
    lines = pipeline_lines(_entry(answers=answers), NOW, plain, 0)
    assert any("errors 0 % of 900 requests · p50 12 ms and p95" in line for line in lines)
    slower = {**answers, "latency": {"verdict": "worse", "text": "p50 40 ms"}}
    lines = pipeline_lines(_entry(answers=slower), NOW, plain, 0)
    assert "  ! live: r2: p50 40 ms  → `pushlive logs hello --app --env live`" in lines
    would = "With `judge: act` it would have been taken back to r1"
    told = "\n".join(pipeline_lines(_entry(answers={**slower, "trial": {"would": would}}), NOW, plain, 0))
    assert f"  ! live: r2: p50 40 ms. {would}  → `pushlive logs" in told
    assert any(line.endswith("errors 0 % of 900 requests") for line in lines)
    nothing = {**answers, "latency": None}
    assert not any("p50" in line for line in pipeline_lines(_entry(answers=nothing), NOW, plain, 0))


def test_replicas_that_an_autoscaler_sets_are_shown() -> None:
    health = {"state": "up", "text": "", "serving": 3, "replicas": 3, "restarts": 0}
    shown = "\n".join(pipeline_lines(_entry(health=health, autoscaled=True), NOW, plain, 0))
    assert "· live: 3 replicas, which an autoscaler sets" in shown
    assert "autoscaler" not in "\n".join(pipeline_lines(_entry(health=health), NOW, plain, 0))


def test_open_says_that_nothing_serves_where_nothing_was_deployed(
    stub: Stub, pushlive: Callable[..., Told]
) -> None:
    empty = {"name": "live", "release": None, "url": ""}
    stub.answers["GET", "/api/status"] = (
        200,
        {"pipelines": [{"name": "hello", "environments": [empty]}]},
    )
    told = pushlive("open", "hello", "live")
    assert told.code == 3
    assert "nothing serves in hello/live.\n  Push first." in told.err


def test_a_hold_and_the_bake_that_set_it_are_one_sentence() -> None:
    why = (
        "r1 failed 45 s after its switch: it crashed. It is not taken back: there is no earlier good release"
    )
    bake = {"state": "failed", "text": why}
    said = pipeline_lines(_entry(bake=bake, hold={"reason": why, "by": "bake"}), NOW, plain, 200)
    assert "\n".join(said).count(why) == 1
    said = pipeline_lines(_entry(bake=bake, hold={"reason": "lunch", "by": "ann"}), NOW, plain, 200)
    assert "\n".join(said).count(why) == 1


def test_a_long_message_does_not_widen_the_table_and_is_whole_as_data(
    pushlive: Callable[..., Told], stub: Stub
) -> None:
    long = "A message that goes on " * 20
    stub.status["pipelines"][0]["environments"][0]["message"] = long  # type: ignore[index]
    told = pushlive("status")
    assert max(len(line) for line in told.out.splitlines()) < 250
    assert "A message that goes on A message" in told.out
    assert "…" in told.out
    assert long.strip() in pushlive("status", "--json").out


def test_long_texts_are_cut_so_that_a_line_fits_the_terminal() -> None:
    across = "revert ready: r1, across the release command of r2, which is not reversible"
    entry = _entry(message="Say hello louder " * 10, revert={"ready": True, "text": across})
    for width in (60, 80, 100, 120, 200):
        table = pipeline_lines(entry, NOW, plain, width)[1:4]
        assert max(map(len, table)) <= width, table
    assert "Say hello louder" in "".join(pipeline_lines(entry, NOW, plain, 140))
    assert across in "".join(pipeline_lines(entry, NOW, plain, 0))
