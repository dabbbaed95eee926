"""A command's output as lines."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from pipeline.adapters.fake import FakeClock
from pipeline.adapters.output_lines import LINE, OUTPUT, follow
from pipeline.domain.events import Event
from pipeline.errors import TimedOut
from pipeline.ports.clock import Deadline, SystemClock


def followed(*pieces: bytes) -> tuple[str, list[Event]]:
    """The result and the events of a stream of these pieces."""
    events: list[Event] = []
    watch = Deadline(SystemClock(), 10)
    return follow(pieces, lambda: None, "hello-1", FakeClock(), events.append, watch), events


def test_lines_are_joined_from_pieces() -> None:
    text, events = followed(b"one\ntw", b"o\r\n", "dr\u00fc".encode()[:3], "\u00fc".encode()[1:], b"ben")
    assert [event.text for event in events] == ["one", "two", "dr\u00fcben"]
    assert {event.data["container"] for event in events} == {"hello-1"}
    assert text == "one\ntwo\ndr\u00fcben\n"


def test_a_long_line_comes_in_parts_that_are_marked() -> None:
    text, events = followed(b"x" * (2 * LINE + 5), b"y\nz")
    assert [(len(event.text), bool(event.data.get("cut"))) for event in events] == [
        (LINE, True), (LINE, True), (6, False), (1, False),
    ]  # fmt: skip
    assert text == "x" * (2 * LINE + 5) + "y\nz\n"


def test_the_result_keeps_the_end_of_a_long_output() -> None:
    text, events = followed(*(b"%06d\n" % number for number in range(20_000)))
    assert len(events) == 20_000
    assert OUTPUT - 8 < len(text) <= OUTPUT
    assert text.endswith("019999\n")


def test_a_broken_character_at_the_end_is_shown_as_such() -> None:
    assert followed(b"a\xc3")[0] == "a\ufffd\n"


def test_the_stream_is_closed_at_the_deadline() -> None:
    closed = threading.Event()

    def silent() -> Iterator[bytes]:
        yield b"begun\n"
        closed.wait(10)

    events: list[Event] = []
    with pytest.raises(TimedOut):
        follow(silent(), closed.set, "hello-1", FakeClock(), events.append, Deadline(SystemClock(), 0.3))
    assert closed.is_set()
    assert [event.text for event in events] == ["begun"]


def test_a_progress_bar_is_its_last_state_and_keeps_nothing_waiting() -> None:
    bar = b"".join(b"\rFetching %6d of 99999" % number for number in range(9_999))
    text, events = followed(
        b"start\n", *(bar[at : at + 999] for at in range(0, len(bar), 999)), b"\r\nend\r\n"
    )
    assert [event.text for event in events] == ["start", "Fetching   9998 of 99999", "end"]
    assert text == "start\nFetching   9998 of 99999\nend\n"
