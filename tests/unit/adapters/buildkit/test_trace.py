import base64

import pytest

from pipeline.adapters.buildkit.trace import Log, StatusResponse, Vertex, decode

STARTED = (
    "CpQBCkdzaGEyNTY6YWY5YThjZWUyNzUyN2ZkYzEzNzMwMmQzNzA0NDU0Mzc4MGNhMzQ4ZTI2OTNiYzBmM2Q4MmVmYmI4ZGNkNmIzYxo8W2lu"
    "dGVybmFsXSBsb2FkIG1ldGFkYXRhIGZvciBkb2NrZXIuaW8vbGlicmFyeS9wYnRlc3QtYmFzZToxKgsIwp+N2AYQ1KLEbw=="
)
OUTPUT = (
    "Gl4KR3NoYTI1Njo5MmQ5ZWJmYmM0ZDBjODBmYzY0YTAzNzhkY2RmNDQwNWFhNTEzZGVlZWI2NjZlMTY1OTNjODBhZWI2ZDA4M2Y1EgwIwp+N"
    "2AYQouurhQIYASIDaGkK"
)


def test_a_recorded_vertex_is_read():
    [vertex] = decode(STARTED)
    assert isinstance(vertex, Vertex)
    assert vertex.name == "[internal] load metadata for docker.io/library/pbtest-base:1"
    assert (vertex.completed, vertex.seconds, vertex.is_step) == (0.0, 0.0, False)
    assert vertex.started == pytest.approx(1795379138.2339, abs=0.001)


def test_a_recorded_line_of_output_is_read():
    [log] = decode(OUTPUT)
    assert isinstance(log, Log)
    assert log.text == b"hi\n"


def test_a_finished_step_has_a_duration():
    status = StatusResponse()
    vertex = status.vertexes.add(digest="d", name="[2/3] RUN make", cached=True, error="boom")
    vertex.started.seconds, vertex.completed.seconds, vertex.completed.nanos = 100, 101, 500_000_000
    [found] = decode(base64.b64encode(status.SerializeToString()).decode())
    assert found == Vertex("d", "[2/3] RUN make", True, 100.0, 101.5, "boom")
    assert (found.seconds, found.is_step) == (1.5, True)


@pytest.mark.parametrize(
    ("name", "image"),
    [
        ("[build 1/2] FROM docker.io/library/a:1@sha256:0b", "docker.io/library/a:1@sha256:0b"),
        ("FROM docker.io/library/a:1", "docker.io/library/a:1"),
        ("[linux/arm64 stage-1 1/1] FROM localhost:5000/a:1", "localhost:5000/a:1"),
        ("[internal] load metadata for docker.io/library/a:1", "docker.io/library/a:1"),
        ("[2/3] RUN echo FROM a:1", ""),
        ("[2/3] COPY --from=build /a /a", ""),
    ],
)
def test_a_vertex_names_the_image_that_it_reads(name, image):
    assert Vertex("d", name).image == image


@pytest.mark.parametrize("aux", ["%%%", "AAAA", base64.b64encode(b"\xff" * 9).decode()])
def test_invalid_records_are_a_value_error(aux):
    with pytest.raises(ValueError, match="BuildKit"):
        decode(aux)


def test_unknown_fields_are_skipped():
    raw = base64.b64decode(OUTPUT) + b"\x9a\x06\x03abc"  # field 99
    assert len(decode(base64.b64encode(raw).decode())) == 1
