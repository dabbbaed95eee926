import pytest

from pipeline.adapters.buildkit.errors import failed
from pipeline.adapters.buildkit.output import Output
from pipeline.adapters.buildkit.trace import Log, Vertex
from pipeline.errors import AppFailed, EngineFailed, TryAgain

RUN = Vertex("d1", "[2/3] RUN make", started=10.0)
DONE = Vertex("d1", "[2/3] RUN make", started=10.0, completed=12.5)


def feed(output, *records):
    return [event for record in records for event in output.feed(record, 7.0)]


def test_a_step_is_emitted_once_when_it_finishes():
    output = Output()
    [event] = feed(output, RUN, RUN, DONE, DONE)
    assert (event.kind, event.text, event.at) == ("vertex", "[2/3] RUN make", 7.0)
    assert event.data == {"seconds": 2.5, "cached": False, "error": ""}
    assert (output.steps, output.cached) == (1, 0)


def test_internal_vertices_are_emitted_only_if_they_fail():
    output = Output()
    fine = Vertex("i", "[internal] load build definition", started=1.0, completed=2.0)
    assert feed(output, fine, Vertex("e", "exporting to image", started=1.0, completed=2.0)) == []
    [event] = feed(output, Vertex("j", "[internal] load metadata", started=1.0, completed=2.0, error="no"))
    assert event.data["error"] == "no"
    assert output.steps == 0


def test_lines_are_joined_and_name_their_step():
    output = Output()
    events = feed(output, RUN, Log("d1", 1.0, b"one\ntw"), Log("d1", 1.0, b"o\r\nlast"), DONE)
    assert [e.text for e in events] == ["one", "two", "last", "[2/3] RUN make"]
    assert events[0].data == {"vertex": "[2/3] RUN make"}


def test_bytes_that_are_not_text_are_replaced():
    [event] = feed(Output(), RUN, Log("d1", 1.0, b"a\xffb\n"))
    assert event.text == "a\ufffdb"


def test_fault_20_output_is_cut_with_one_note_and_the_last_lines_are_kept():
    output = Output(limit=1000)
    events = feed(
        output, RUN, *(Log("d1", 1.0, b"x" * 99 + b"\n") for _ in range(50)), Log("d1", 1.0, b"the end\n")
    )
    assert [e.kind for e in events] == ["line"] * 10 + ["note"]
    feed(output, Vertex("d1", RUN.name, started=10.0, completed=11.0, error="exit code: 1"))
    assert len(output.evidence) == 20
    assert output.evidence[-1] == "the end"


def test_fault_20_a_line_without_an_end_is_not_kept_in_memory():
    output = Output()
    events = feed(output, RUN, *(Log("d1", 1.0, b"x" * 30_000) for _ in range(10)))
    assert all(len(e.text) <= 8192 for e in events)
    assert sum(len(e.text) for e in events) > 290_000


def test_the_failing_step_is_not_the_one_that_was_cancelled_with_it():
    output = Output()
    feed(output, Vertex("d2", "[3/3] RUN b", started=1.0, completed=2.0, error="context canceled"))
    feed(
        output, RUN, Log("d1", 1.0, b"no rule\n"), Vertex("d1", RUN.name, completed=2.0, error="exit code: 2")
    )
    error = failed("executor failed running [make]: exit code: 2", output, None)
    assert isinstance(error, AppFailed)
    assert "[2/3] RUN make" in error.message
    assert error.evidence == ("no rule",)


@pytest.mark.parametrize(
    ("text", "free", "kind", "said"),
    [
        ("failed to copy files: write /x: no space left on device", None, EngineFailed, "disk is full"),
        ("executor failed running [make]: exit code: 1", 1000, EngineFailed, "disk is full"),
        ("rpc error: code = Unavailable desc = transport is closing", None, TryAgain, "stopped the build"),
        ("executor failed running [make]: exit code: 137", 1 << 40, AppFailed, "PUSHLIVE_BUILD_MEMORY"),
        ("failed to solve: no active sessions", None, AppFailed, "Secret mounts, SSH"),
    ],
)
def test_fault_22_a_failed_build_has_its_kind_of_error(text, free, kind, said):
    error = failed(text, Output(), free)
    assert type(error) is kind
    assert said in str(error)


def test_a_progress_bar_is_its_last_state():
    bar = b"".join(b"\r%5d/9999 \xe2\x96\x88" % number for number in range(3_000))
    events = feed(
        Output(), RUN, *(Log("d1", 1.0, bar[at : at + 998]) for at in range(0, len(bar), 998)), DONE
    )
    assert [event.text for event in events] == [" 2999/9999 \u2588", "[2/3] RUN make"]
