"""Following a run: in a pipe, on a terminal, over a broken connection, interrupted."""

import contextlib
import fcntl
import json
import os
import pty
import re
import signal
import struct
import termios
import threading
from collections.abc import Callable
from typing import Any

import pytest

from pipeline.cli import follow, live_line
from pipeline.cli.live_line import Progress
from pipeline.cli.main import main
from pipeline.cli.terminal import plain
from tests.support.cli_stub import FAILURE, TOKEN, Handler, Stub, Told, event, run

pytest_plugins = ["tests.support.cli_stub"]


def _ends(stub: Stub, state: str, outcome: str | None, lines: list[str], kind: str = "end") -> None:
    stub.events[-2:] = [
        {"id": "9-0", "event": event(kind, failure=FAILURE if outcome == "failed" else None), "lines": lines},
        {"end": {"state": state, "outcome": outcome}},
    ]


def test_without_a_terminal_follow_prints_plain_lines(pushlive: Callable[..., Told]) -> None:
    told = pushlive("follow", "hello#42")
    assert told == (
        0,
        "hello#42 accepted: 3f2a9c1 Say hello\nbuild    0.44s  fetch 0.03s\nhello#42 live in 1.80s\n",
        "",
    )


@pytest.mark.parametrize(
    ("state", "outcome", "code"),
    [
        ("ended", "live", 0),
        ("ended", "failed", 1),
        ("ended", "superseded", 1),
        ("ended", "cancelled", 1),
        ("waiting", None, 7),
    ],
)
def test_it_exits_by_the_runs_result(
    state: str, outcome: str | None, code: int, stub: Stub, pushlive: Callable[..., Told]
) -> None:
    _ends(stub, state, outcome, ["the end"])
    assert pushlive("follow", "hello").code == code
    assert pushlive("follow", "hello", "--quiet") == (code, "", "")


def test_an_end_without_an_event_is_printed(stub: Stub, pushlive: Callable[..., Told]) -> None:
    _ends(stub, "ended", "superseded", [])
    assert pushlive("follow").out.endswith("hello#42 superseded\n")
    _ends(stub, "waiting", None, [])
    assert pushlive("follow").out.endswith("hello#42 waits; `pushlive show 'hello#42'` says for what\n")


def test_json_has_one_message_a_line(stub: Stub, pushlive: Callable[..., Told]) -> None:
    told = pushlive("follow", "hello#42", "--json")
    assert [json.loads(line) for line in told.out.splitlines()] == stub.events


def test_fault_47_events_cannot_steer_the_terminal(stub: Stub, pushlive: Callable[..., Told]) -> None:
    stub.events[0]["lines"] = ["\x1b[2J\x1b]0;evil\x07a\rb\x9b1A"]
    assert pushlive("follow").out.startswith("ab\n")


def test_a_broken_stream_is_resumed_where_it_broke(stub: Stub, pushlive: Callable[..., Told]) -> None:
    def breaks(handler: Handler) -> None:
        handler.begin()
        handler.chunk(json.dumps(stub.events[0]).encode() + b"\n")
        handler.wfile.write(b"40\r\nhalf a chunk")
        handler.close_connection = True
        del stub.answers["GET", "/api/runs/hello/42/events"]

    stub.answers["GET", "/api/runs/hello/42/events"] = breaks
    told = pushlive("follow", "hello#42")
    assert told.code == 0
    assert told.out.count("accepted") == 1
    assert "reconnecting" in told.err
    assert stub.asked[-1][1] == "/api/runs/hello/42/events?after=1-0"


def test_a_stream_that_stays_broken_ends_as_unreachable(
    stub: Stub, pushlive: Callable[..., Told], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow, "RETRY_FOR", 0.05)
    del stub.events[-1]
    told = pushlive("follow", "hello#42")
    assert told.code == 5
    assert "pushlive runs" in told.err


def test_an_error_in_the_stream_is_retried(stub: Stub, pushlive: Callable[..., Told]) -> None:
    def fails(handler: Handler) -> None:
        handler.raw(200, b'\n{"error": "the store does not answer.", "advice": "wait"}\n')
        del stub.answers["GET", "/api/runs/hello/42/events"]

    stub.answers["GET", "/api/runs/hello/42/events"] = fails
    told = pushlive("follow", "hello#42")
    assert told.code == 0
    assert "reconnecting" in told.err


@pytest.mark.parametrize("raw", [b"<html>\n", b"[1]\n", b"[" * 9999 + b"\n"])
def test_an_answer_without_events_exits_with_5(raw: bytes, stub: Stub, pushlive: Callable[..., Told]) -> None:
    def strange(handler: Handler) -> None:
        handler.raw(200, raw)

    stub.answers["GET", "/api/runs/hello/42/events"] = strange
    assert pushlive("follow", "hello#42").code == 5


def test_ctrl_c_detaches_and_says_how_to_come_back(stub: Stub, pushlive: Callable[..., Told]) -> None:
    def interrupted(handler: Handler) -> None:
        handler.begin()
        handler.chunk(json.dumps(stub.events[0]).encode() + b"\n")
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    stub.answers["GET", "/api/runs/hello/42/events"] = interrupted
    told = pushlive("follow", "hello#42")
    assert told.code == 130
    assert "Detached; hello#42 continues. Follow it again with `pushlive follow 'hello#42'`." in told.err
    assert all(method == "GET" for method, _, _ in stub.asked), "the run itself is left alone"


def test_ctrl_c_in_other_commands_exits_with_130(stub: Stub, pushlive: Callable[..., Told]) -> None:
    stub.answers["GET", "/api/runs"] = lambda _: signal.pthread_kill(
        threading.main_thread().ident or 0, signal.SIGINT
    )
    assert pushlive("runs") == (130, "", "Interrupted.\n")


def test_logs_are_streamed_with_escapes_made_inert(pushlive: Callable[..., Told]) -> None:
    assert pushlive("logs", "hello#42").out == "build   │ made\ndev     │ started \n"
    assert pushlive("logs", "hello", "42", "--stage", "build").out == "build   │ made\n"


def test_logs_as_json_are_an_object_for_each_line(pushlive: Callable[..., Told]) -> None:
    lines = [json.loads(line)["line"] for line in pushlive("logs", "hello#42", "--json").out.splitlines()]
    assert (len(lines), lines[0]) == (2, "build   │ made")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-f", "corner", "--stage", "build"], "--stage and -f cannot be combined"),
        (["corner", "live", "--stage", "build"], "--stage and an environment cannot be combined"),
        (["corner", "--app", "--stage", "live"], "--stage and --app cannot be combined"),
        (["corner#42", "-f"], "corner#42 is a run.\n  `pushlive follow 'corner#42'` watches the run"),
        (["corner", "--env", "live"], "Add --app for that; of a run's log, `--stage live` prints the part."),
    ],
)
def test_logs_refuse_an_option_that_would_be_ignored(
    words: list[str], said: str, pushlive: Callable[..., Told]
) -> None:
    told = pushlive("logs", *words)
    assert (told.code, said in told.err) == (2, True), told


def on_a_terminal(stub: Stub, *words: str, **environ: str) -> tuple[int, str]:
    """The command with a real terminal, 100 columns wide, as its standard output: exit code and output."""
    controller, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
    seen: list[bytes] = []

    def read() -> None:
        with contextlib.suppress(OSError):  # so Linux says that the other side is closed
            while part := os.read(controller, 1 << 16):
                seen.append(part)

    thread = threading.Thread(target=read)
    thread.start()
    surroundings = {"PUSHLIVE_URL": stub.url, "PUSHLIVE_TOKEN": TOKEN, "TERM": "xterm"} | environ
    try:
        with open(terminal, "w", encoding="utf-8") as out, contextlib.redirect_stdout(out):
            code = main(words, surroundings)
    finally:
        thread.join()
        os.close(controller)
    return code, b"".join(seen).decode().replace("\r\n", "\n")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch, stub: Stub) -> Stub:
    """A run that goes on for a while, and a display that is redrawn more often."""
    monkeypatch.setattr(live_line, "REDRAW", 0.005)
    stub.pause = 0.02
    return stub


def test_a_terminal_has_one_redrawn_line_below(quick: Stub) -> None:
    code, text = on_a_terminal(quick, "follow", "hello#42")
    assert code == 0
    assert "\r\x1b[K\x1b[1m● build\x1b[0m" in text
    assert "\x1b[32m✓ build\x1b[0m  \x1b[1m● dev\x1b[0m" in text
    shown = re.sub(r"\x1b\[[0-9;]*m", "", re.sub(r"[^\n]*\r\x1b\[K", "", text))
    assert shown == (
        "hello#42 accepted: 3f2a9c1 Say hello\n✓ build    0.44s  fetch 0.03s\nhello#42 live in 1.80s\n"
    ), "what is left behind is the lines alone"


def test_no_color_still_redraws_but_without_colours(quick: Stub) -> None:
    code, text = on_a_terminal(quick, "follow", "hello#42", NO_COLOR="1")
    assert code == 0
    assert "\x1b[K" in text
    assert not re.search(r"\x1b\[[0-9;]*m", text)


def test_a_dumb_terminal_gets_plain_lines(stub: Stub) -> None:
    code, text = on_a_terminal(stub, "follow", "hello#42", TERM="dumb")
    assert (code, "\x1b" in text) == (0, False)


def test_a_terminal_gets_the_whole_run_after_a_deploy(quick: Stub) -> None:
    code, text = on_a_terminal(quick, "deploy")
    assert code == 0
    assert "○ live" in text, "the stages are known from the start"


def test_a_file_of_errors_has_no_colours(stub: Stub, capsys: pytest.CaptureFixture[str]) -> None:
    code, _ = on_a_terminal(stub, "show", "hello#")
    assert code == 2
    assert capsys.readouterr().err.startswith("pushlive show: 'hello#' does not name a run")


def test_status_and_show_fit_the_terminal(stub: Stub) -> None:
    for words in (["status"], ["show"], ["runs"]):
        code, text = on_a_terminal(stub, *words)
        lines = re.sub(r"\x1b\[[0-9;]*m", "", text).splitlines()
        assert code == 0
        assert max(map(len, lines)) <= 100


def _progress(*events: dict[str, Any], **changes: Any) -> Progress:
    progress = Progress(run(**{"image_ready": 0.0, "started": 100.0, "budget": {"deploy": 300.0}} | changes))
    for item in events:
        progress.take(item)
    return progress


def test_the_progress_bar_follows_the_stages() -> None:
    step = {"kind": "step", "stage": "build", "step": "fetch", "at": 101.0}
    assert _progress(step).line(103.0, plain) == "● build fetch ✓  ○ dev  ○ qa  ○ live    0:03"
    built = {"kind": "stage", "stage": "build", "at": 110.0}
    assert _progress(step, built).line(115.0, plain) == (
        "✓ build  ● dev  ○ qa  ○ live    0:15   4:55 left of 5:00"
    )


def test_the_countdown_leaves_out_human_time_and_says_when_it_is_over() -> None:
    progress = _progress(image_ready=110.0, human=1000.0, gate="live")
    assert progress.line(1120.0, plain).startswith("✓ build  ✓ dev  ✓ qa  ● live ")
    assert progress.line(1120.0, plain).endswith("4:50 left of 5:00")
    assert progress.line(1420.0, plain).endswith("0:10 over 5:00")


def test_the_progress_of_an_unknown_run_is_empty() -> None:
    assert Progress({}).line(50.0, plain) == "●     0:00"


def test_the_budget_stands_still_while_two_releases_share_the_traffic() -> None:
    built = {"kind": "stage", "stage": "build", "at": 110.0}
    begins = {"kind": "note", "stage": "live", "at": 120.0, "data": {"shift": "begins"}}
    assert _progress(built, begins).line(400.0, plain).endswith("4:50 left of 5:00")
    over = {"kind": "note", "stage": "live", "at": 420.0, "data": {"shift": "over"}}
    assert _progress(built, begins, over).line(430.0, plain).endswith("4:40 left of 5:00")
    failed = {"kind": "step", "step": "shift", "stage": "live", "at": 420.0, "data": {"ok": False}}
    assert _progress(built, begins, failed).line(430.0, plain).endswith("4:40 left of 5:00")


def test_the_applications_own_output_is_shown(stub: Stub, pushlive: Callable[..., Told]) -> None:
    def output(handler: Any) -> None:
        handler.begin()
        for key, value in sorted(handler.query.items()):
            handler.chunk(f"{key}={value}\n".encode())
        handler.chunk(b"\x1b[31mboom\n")
        handler.chunk(b"")

    stub.answers["GET", "/api/pipelines/hello/output"] = output
    told = pushlive("logs", "hello", "--app", "--env", "qa", "--lines", "7")
    assert told.out == "environment=qa\nlines=7\nboom\n"
