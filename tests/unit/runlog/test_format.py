"""Events as plain lines, without anything that a terminal or a page would interpret."""

from __future__ import annotations

import pytest

from pipeline.domain.events import Event
from pipeline.runlog.file import RunLog
from pipeline.runlog.format import lines


@pytest.mark.parametrize(
    ("hostile", "plain"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07text", "text"),
        ("\x1b]8;;http://evil\x1b\\link", "link"),
        ("a\rb\x08c\x00", "abc"),
        ("tab\there", "tab    here"),
        ("two\nlines", "two lines"),
        ("\x9b31mcsi", "csi"),
        ("<script>ümlaut ▶</script>", "<script>ümlaut ▶</script>"),
    ],
)
def test_fault_47_terminal_escapes_are_inert(hostile, plain):
    assert lines(Event("line", 0.0, hostile, "build")) == (f"build   │ {plain}",)


def test_only_a_slow_step_that_passed_has_its_own_line():
    assert lines(Event("step", 0.0, "", "qa", "smoke", {"seconds": 0.1, "ok": True})) == ()
    assert lines(Event("step", 0.0, "no", "qa", "smoke", {"seconds": 9.0, "ok": False})) == ()
    assert lines(Event("step", 0.0, "", "qa", "smoke", {"seconds": 9.0, "ok": True})) == (
        "qa      smoke 9.00s",
    )


def test_a_stage_lists_its_steps_and_the_time_left():
    data = {
        "seconds": 1.5,
        "steps": [{"step": "start", "seconds": 1.25}, {"step": "switch", "seconds": 0.004}],
    }
    [line] = lines(Event("stage", 0.0, "4:58 left", "live", data=data))
    assert line == "live     1.50s  start 1.25s · switch 0.004s   4:58 left"


def test_only_a_failed_check_is_shown():
    assert lines(Event("check", 0.0, "GET /: 200", "dev", data={"ok": True})) == ()
    assert lines(Event("check", 0.0, "GET /: status 500", "dev", data={"ok": False})) == (
        "dev     ✗ GET /: status 500",
    )


def test_a_failure_card_has_the_evidence_the_differences_and_the_advice():
    card = {
        "stage": "dev", "step": "start", "whose": "application", "message": "it exited with 3.",
        "evidence": ["boom"], "differs": ["commit a → b"], "advice": "Push a fix.",
    }  # fmt: skip
    assert lines(Event("end", 0.0, "hello#4 failed", data={"failure": card})) == (
        "hello#4 failed",
        "┌─ dev/start failed · the application",
        "│ it exited with 3.",
        "├─ seen",
        "│ boom",
        "├─ differs from the last good release",
        "│ commit a → b",
        "├─ next",
        "│ Push a fix.",
        "└─",
    )


def test_a_message_of_several_lines_keeps_its_lines():
    card = {
        "stage": "build",
        "step": "build",
        "whose": "application",
        "message": "no Dockerfile:\n\n    FROM x\n",
    }
    assert lines(Event("end", 0.0, "failed", data={"failure": card}))[2:6] == (
        "│ no Dockerfile:",
        "│ ",
        "│     FROM x",
        "└─",
    )


def test_a_long_line_is_cut_on_a_screen_and_whole_in_the_log(tmp_path):
    event = Event("line", 0.0, '{"error": "' + "x" * 3000 + '"}', "build")
    assert lines(event) == (f"build   │ {event.text[:1000]} … ({len(event.text)} characters)",)
    log = RunLog(tmp_path / "1.log", 1 << 20)
    log.write(event)
    log.close()
    assert event.text in (tmp_path / "1.log").read_text()
