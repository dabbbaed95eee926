"""Which line of a Dockerfile was not cached first, and why."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest

from pipeline.config.models import Build
from pipeline.domain.measuring import missed
from pipeline.domain.measuring.missed import Built, Cause

TWO = """\
ARG VERSION=1
FROM golang:$VERSION AS build
ENV A=1
WORKDIR /src
COPY go.mod go.sum .
RUN go mod download
ARG TAG
COPY *.go lib .
RUN go build -o /app
FROM scratch
COPY --from=build /app /app
LABEL of=me
CMD ["/app"]
"""
RAN = (
    ("[build 1/6] FROM docker.io/library/golang:1@sha256:1", 2.0),
    ("[stage-1 1/1] COPY --from=build /app /app", 0.5),
    ("[build 5/6] COPY *.go lib .", 0.25),
    ("[build 6/6] RUN go build -o /app", 8.0),
)


def built(text: str = TWO, run: str = "hello#2", **changes: object) -> Built:
    bases = changes.pop("bases", {"golang:1": "sha256:1"})
    assert isinstance(bases, dict)
    return Built(run, Build(**changes), missed.read(text), bases)  # type: ignore[arg-type]


def why(
    ran: Iterable[tuple[str, float]],
    now: Built,
    before: Built,
    changed: Iterable[str] = (),
    rebuild: bool = False,
) -> Cause:
    found = missed.first(now.dockerfile, ran)
    assert found is not None
    return missed.cause(found, now, before, rebuild=rebuild, changed=lambda: changed)


def test_the_first_line_of_the_file_is_found_in_whatever_order_the_steps_ended() -> None:
    found = missed.first(missed.read(TWO), RAN)
    assert found is not None
    assert (found.line, found.text, found.seconds, found.stage) == (8, "COPY *.go lib .", 10.75, 0)


@pytest.mark.parametrize("ran", [(), RAN[:1]])
def test_nothing_was_missed_where_at_most_a_base_was_read(ran: tuple[tuple[str, float], ...]) -> None:
    assert missed.first(missed.read(TWO), ran) is None


@pytest.mark.parametrize(
    ("text", "name", "line"),
    [
        ("FROM a\nRUN x\n", "[2/2] RUN x", 2),
        ("FROM a\n\n# why\nRUN x \\\n  y\nRUN z\n", "[ 3/3] RUN z", 6),
        ("FROM a AS b\nFROM b\nRUN x\n", "[stage-1 1/1] RUN x", 3),
        ("FROM a AS B\nRUN x\nFROM b AS c\nRUN y\n", "[c 1/1] RUN y", 4),
        ("FROM a\nRUN x\n", "[linux/arm64 2/2] RUN x", 2),
        ("FROM a AS b\nRUN x\nFROM b\n", "[linux/amd64->arm64 b 2/2] RUN x", 2),
        ("FROM a\nRUN <<EOF\nFROM b\nEOF\nRUN y\n", "[3/3] RUN y", 5),
        ("FROM a\nRUN x\n", "[2/3] RUN x", 0),  # an ONBUILD of the base image
        ("FROM a\nRUN x\n", "[2/2] COPY x y", 0),
        ("FROM a AS b\nRUN x\nFROM c\n", "[other 2/2] RUN x", 0),
    ],
)
def test_a_step_is_found_in_the_file(text: str, name: str, line: int) -> None:
    found = missed.first(missed.read(text), [(name, 1.0)])
    assert found is not None
    assert found.line == line


@pytest.mark.parametrize("name", ["", "[internal] load", "[x", "[1/2]RUN", "[9999999999/1] RUN x", "\x00"])
def test_what_is_no_step_is_left_out(name: str) -> None:
    assert missed.first(missed.read(TWO), [(name, 1.0)]) is None


def test_a_long_instruction_is_cut() -> None:
    found = missed.first(missed.read(f"FROM a\nRUN {'x' * 500}\n"), [(f"[2/2] RUN {'x' * 500}", 1.0)])
    assert found is not None
    assert len(found.text) == 80


def test_a_file_that_the_instruction_reads() -> None:
    changed = ["README.md", "a.go", "sub/b.go", "lib/c.txt"]
    found = why(RAN, built(), built(run="hello#1"), changed)
    assert (found.kind, found.text, found.path) == ("files", "a.go and 1 more file changed", "a.go")
    assert why(RAN, built(), built(), ["sub/lib/x", "go.mod"]).kind == "unknown"


def test_a_hostile_or_long_name_is_one_short_line() -> None:
    text = "FROM a\nCOPY . .\n"
    for path in ("a\n\x1b[31mb", "x/" * 2000 + "end"):
        found = why([("[2/2] COPY . .", 1.0)], built(text), built(text), [path])
        assert found.path == path
        assert len(found.text) <= 80 + len(" changed")
        assert found.text.isprintable()
    assert "end changed" in found.text


def test_variables_are_those_that_the_build_filled_in() -> None:
    text = "FROM a\nARG DIR\nCOPY $DIR /x\n"
    found = why([("[2/2] COPY src /x", 1.0)], built(text), built(text), ["src/x"])
    assert (found.kind, found.path) == ("files", "src/x")


def test_a_list_is_read_with_and_without_variables() -> None:
    for text in ('COPY ["src", "b c", "/x/"]', 'COPY ["$DIR", "b c", "/x/"]'):
        file = f"FROM a\nARG DIR\n{text}\n"
        for path in ("src/x", "b c"):
            found = why([("[2/2] COPY [src, b c, /x/]", 1.0)], built(file), built(file), [path])
            assert (found.kind, found.path) == ("files", path)
        assert why([("[2/2] COPY [src, b c, /x/]", 1.0)], built(file), built(file), ["b"]).kind == "unknown"


def test_a_mounted_folder_is_read() -> None:
    text = "FROM a\nRUN --mount=type=bind,source=pkg,target=/p make\n"
    ran = [("[2/2] RUN --mount=type=bind,source=pkg,target=/p make", 1.0)]
    assert why(ran, built(text), built(text), ["pkg/x"]).kind == "files"
    assert why(ran, built(text), built(text), ["src/x"]).kind == "unknown"


def test_another_base_image_counts_first() -> None:
    text = "FROM a AS b\nRUN x\nFROM b\nCOPY . .\n"
    now, before = built(text, bases={"a": "2"}), built(text, "hello#1", bases={"a": "1"})
    for name in ("[b 2/2] RUN x", "[stage-1 1/1] COPY . ."):
        found = why([(name, 1.0)], now, before, ["x"])
        assert (found.kind, found.text) == ("base", "the image a is another one than for hello#1")


def test_an_image_that_is_only_copied_from() -> None:
    text = "FROM a\nCOPY --from=tools:1 /x /x\n"
    ran = [("[2/2] COPY --from=tools:1 /x /x", 1.0)]
    now, before = built(text, bases={"a": "1", "tools:1": "2"}), built(text, bases={"a": "1", "tools:1": "1"})
    assert why(ran, now, before).kind == "base"
    assert (
        why([("[2/2] RUN x", 1.0)], built("FROM a\nRUN x\n", bases={"a": "1"}), before).kind == "dockerfile"
    )


@pytest.mark.parametrize(
    ("now", "before", "line", "text"),
    [
        ("FROM a\nRUN y\n", "FROM a\nRUN x\n", 2, "that line changed"),
        ("FROM a\nENV A=2\nRUN x\n", "FROM a\nENV A=1\nRUN x\n", 3, "line 2 of the Dockerfile changed"),
        ("FROM a\nRUN x\n", "FROM a\nRUN w\nRUN x\n", 2, "that line changed"),
        ("FROM a\nRUN x\n", "FROM a\n", 2, "that line changed"),
        ("FROM a AS n\nRUN x\n", "FROM a AS o\nRUN x\n", 2, "line 1 of the Dockerfile changed"),
        ("FROM a\nRUN <<EOF\n2\nEOF\n", "FROM a\nRUN <<EOF\n1\nEOF\n", 2, "that line changed"),
    ],
)
def test_a_changed_line_of_the_dockerfile(now: str, before: str, line: int, text: str) -> None:
    word = "RUN <<EOF" if "<<" in now else "RUN y" if "RUN y" in now else "RUN x"
    found = missed.first(missed.read(now), [(f"[2/2] {word}", 1.0)])
    assert found is not None
    assert found.line == line
    cause = missed.cause(found, built(now), built(before), rebuild=False, changed=lambda: ())
    assert (cause.kind, cause.text, cause.path) == ("dockerfile", text, "Dockerfile")


@pytest.mark.parametrize(
    ("now", "before"),
    [
        ("FROM a\nLABEL x=2\nRUN x\n", "FROM a\nLABEL x=1\nRUN x\n"),
        ("# a comment\nFROM a\nRUN x\n", "FROM a\nRUN x\n"),
        ("FROM a\nRUN x\nRUN z\n", "FROM a\nRUN x\nRUN y\n"),
        ("FROM a\nRUN x\nCMD y\n", "FROM a\nRUN x\nCMD z\n"),
    ],
)
def test_what_does_not_matter_to_the_cache_is_no_cause(now: str, before: str) -> None:
    ran = [("[2/3] RUN x" if "RUN z" in now else "[2/2] RUN x", 1.0)]
    assert why(ran, built(now), built(before)).kind == "unknown"


def test_a_build_argument_matters_only_where_it_is_declared_before() -> None:
    text = "FROM a\nRUN x\nARG TAG\nRUN y\n"
    now, before = built(text, args={"TAG": "2"}), built(text, args={"TAG": "1"})
    found = why([("[3/3] RUN y", 1.0)], now, before)
    assert (found.kind, found.text) == ("argument", "the build argument TAG has another value")
    assert why([("[2/3] RUN x", 1.0)], now, before).kind == "unknown"


def test_values_of_build_arguments_are_not_said() -> None:
    text = "FROM a\nARG TAG\nRUN y\n"
    found = why([("[2/2] RUN y", 1.0)], built(text, args={"TAG": "hunter2"}), built(text))
    assert "hunter2" not in repr(found)


@pytest.mark.parametrize(
    ("key", "value"), [("target", "x"), ("platform", "linux/arm64"), ("context", "app"), ("dockerfile", "D")]
)
def test_another_setting_of_the_build(key: str, value: str) -> None:
    found = why(RAN, built(**{key: value}), built(), ["a.go"])
    assert (found.kind, found.text) == ("setting", f"`build.{key}` changed in pipelines.yaml")


def test_a_rebuild_is_its_own_reason() -> None:
    assert why(RAN, built(), built(), ["a.go"], rebuild=True).kind == "rebuild"


def test_a_cache_that_is_gone_is_not_known_to_be() -> None:
    found = why(RAN, built(), built(run="hello#1"))
    assert found.kind == "unknown"
    assert found.text.startswith("why is not known; nothing that it names has changed since hello#1")


def test_cache_that_was_given_back_is_said_to_be_a_possible_reason() -> None:
    before = replace(built(run="hello#1"), given_back="2 GiB of build cache were given back at noon")
    assert why(RAN, built(), before).text == (
        "why is not certain; nothing that it names has changed since hello#1, but 2 GiB of build cache were given back "
        "at noon"
    )


def test_the_place_of_a_record() -> None:
    assert missed.place({"line": 7, "text": "COPY a b"}) == "Dockerfile line 7 `COPY a b`"
    assert missed.place({"line": 0, "text": "RUN x"}) == "`RUN x`"
