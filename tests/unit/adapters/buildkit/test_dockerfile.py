import pytest

from pipeline.adapters.buildkit.dockerfile import (
    images,
    needed,
    parse,
    platform_args,
    refuse_hidden,
    refuse_unsupported,
)  # fmt: skip
from pipeline.errors import AppFailed

MANY = """\
# syntax=docker/dockerfile:1
# a comment
ARG VERSION=3.19
ARG BASE=alpine:${VERSION}
FROM --platform=$BUILDPLATFORM golang:1.22 AS Build
RUN echo FROM nothing \\
    # a comment in between
    && make
FROM ${BASE} as small
COPY --from=build /out /out
COPY --from=nginx:1 /etc/nginx /etc/nginx
FROM scratch
COPY --chown=1:1 --from=small / /
RUN --mount=type=bind,from=tools:2,target=/x true
"""


def test_images_of_all_needed_stages_are_listed_in_order():
    file = parse(MANY)
    assert file.syntax == "docker/dockerfile:1"
    assert images(file) == ("golang:1.22", "alpine:3.19", "nginx:1", "tools:2")


def test_a_target_needs_only_the_stages_it_is_built_from():
    file = parse(MANY)
    assert images(file, "build") == ("golang:1.22",)
    assert images(file, "SMALL") == ("golang:1.22", "alpine:3.19", "nginx:1")
    assert [stage.name for stage in needed(file, "0")] == ["build"]


@pytest.mark.parametrize(
    ("text", "args", "found"),
    [
        ("ARG V\nFROM a:$V", {"V": "1"}, ("a:1",)),
        ("ARG V=2\nFROM a:$V", {"V": "1"}, ("a:1",)),
        ("ARG V=2 W=3\nFROM a:${V}.${W}", {}, ("a:2.3",)),
        ("FROM a:${V:-9}", {}, ("a:9",)),
        ("ARG V=1\nFROM a${V:+-debug}", {}, ("a-debug",)),
        ('FROM "a:1"', {}, ("a:1",)),
        ("from a:1 As x\nfrom x\ncopy --from=0 / /", {}, ("a:1",)),
        ("# escape=`\nFROM a `\n  AS b", {}, ("a",)),
        ("\ufeffFROM\ta:1", {}, ("a:1",)),
        ("FROM a\r\nRUN x\r\n", {}, ("a",)),
        ("FROM a\nRUN <<EOF\nFROM b\nEOF\nFROM c", {}, ("c",)),
        ("FROM a\nRUN cat <<EOF > x\nCOPY --from=b / /\nEOF", {}, ("a",)),
        ("FROM scratch", {}, ()),
        ("FROM a AS a", {}, ("a",)),
        ("FROM a\n# syntax=later/than:allowed", {}, ("a",)),
    ],
)
def test_images_are_found_however_a_dockerfile_is_written(text, args, found):
    file = parse(text, args)
    assert images(file) == found
    assert file.syntax == ""


@pytest.mark.parametrize("text", ["", "RUN x", "FROM", "FROM $EMPTY", "FROM a AS", "FROM a b c d"])
def test_a_dockerfile_without_a_base_says_so(text):
    with pytest.raises(AppFailed, match="FROM"):
        parse(text)


def test_an_unknown_target_lists_the_stages():
    with pytest.raises(AppFailed, match="build, small"):
        images(parse(MANY), "tests")


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("RUN --mount=type=secret,id=x cat /run/secrets/x", "secret and SSH"),
        ("RUN --mount=id=x,type=secret cat /run/secrets/x", "secret and SSH"),
        ("RUN --mount=type=ssh git clone x", "secret and SSH"),
        ("RUN --mount=type=cache,target=/c --mount=type=ssh x", "secret and SSH"),
        ("RUN --network=host curl x", "network=host"),
        ("RUN --security=insecure mount", "insecure"),
    ],
)
def test_unsupported_instructions_are_refused_with_their_line(line, why):
    file = parse(f"FROM a\n\n{line}\n")
    with pytest.raises(AppFailed, match=why) as caught:
        refuse_unsupported(file)
    assert "line 3" in str(caught.value)


def test_text_that_looks_like_a_flag_passes():
    refuse_unsupported(
        parse("FROM a\nRUN --mount=type=cache,target=/x echo --network=host --mount=type=secret")
    )
    refuse_unsupported(parse("FROM a AS x\nRUN --mount=type=ssh y\nFROM b"))


HOST = "--network.* is not allowed"
TRICKS = [
    ("FROM a\nRUN --network='host' x", HOST),
    ('FROM a\nRUN --network="host" x', HOST),
    ("FROM a\nRUN --network=HOST x", HOST),
    ("FROM a\nRUN --network=ho\\st x", HOST),
    ("FROM a\nARG N=host\nRUN --network=$N x", HOST),
    ("FROM a\nARG N=host\nRUN --network=${N} x", HOST),
    ("FROM a\nrun\t--network=host x", HOST),
    ("FROM a\nRUN\x0c--network=host x", HOST),
    ("FROM a\n\x0bRUN --network=host x", HOST),
    ("FROM a\nRUN --network\\\n=host x", HOST),
    ("FROM a\nRUN \\\n# c\n --network=host x", HOST),
    ("# escape=`\nFROM a\nRUN `\n--network=host x", HOST),
    ("FROM a\nONBUILD RUN --network=host x", HOST),
    ("FROM a\nONBUILD ONBUILD run --network=host x", HOST),
    ("FROM a\nRUN --NETWORK=host x", "is not supported"),
    ("FROM a\nRUN --device=x y", "is not supported"),
    ("FROM a\nRUN --security=INSECURE x", "privileges"),
    ("FROM a\nRUN --security=$S x", "privileges"),
    ("FROM a\nRUN --mount=type=SECRET,id=x y", "secret and SSH"),
    ("FROM a\nRUN --mount=id=x,TYPE=secret y", "secret and SSH"),
    ('FROM a\nRUN --mount="type=secret",id=x y', "secret and SSH"),
    ("FROM a\nRUN --mount='type=secret,id=x' y", "secret and SSH"),
    ("FROM a\nRUN --mount=type=$T,id=x y", "secret and SSH"),
    ("FROM a\nRUN --mount=type=cache,type=ssh,target=/x y", "secret and SSH"),
    ("FROM a\nRUN --mount=ty\\pe=secret,id=x y", "secret and SSH"),
    ("# syntax=evil.example/front:1\nFROM a", "docker/dockerfile"),
    ("# syntax=docker/dockerfile-evil:1\nFROM a", "docker/dockerfile"),
    ("# syntax=docker/dockerfile:1 # x\nFROM a", "docker/dockerfile"),
]


@pytest.mark.parametrize(("text", "why"), TRICKS)
def test_fault_18_no_spelling_hides_what_reaches_beyond_the_build(text, why):
    with pytest.raises(AppFailed, match=why):
        refuse_unsupported(parse(text))


@pytest.mark.parametrize(
    "text",
    ["FROM a\nRUN echo <<X\nRUN --network=host y\nX\n", 'FROM a\nRUN x "<<E"\nRUN --network=host y\nE\n',
     "FROM a\nCOPY <<X /y\nONBUILD RUN --mount=type=ssh y\nX\n"],
)  # fmt: skip
def test_fault_18_a_here_document_hides_no_instruction(text):
    """An Engine without support for them would take their lines for instructions."""
    with pytest.raises(AppFailed, match="line 3"):
        refuse_hidden(text)


@pytest.mark.parametrize(
    "text",
    [
        "FROM a\nRUN true << CMD\nCOPY --from=b /x /x\nCMD\n",
        "FROM a\nRUN true <<CMD\nCOPY --from=b /x /x\nCMD\n",
        "FROM a\nRUN true <<-'CMD x'\nCOPY --from=b /x /x\n\tCMD x\n",
        "FROM a\nRUN true <<E\nCOPY --from=b /x \\\nE\n",
        "FROM a\nRUN true <<#\nCOPY --from=b /x /x\n#\n",
        "FROM a\nONBUILD RUN true <<CMD\nCOPY --from=b /x /x\nCMD\n",
        "FROM a\nRUN true \\<<CMD\nCOPY --from=b /x /x\nCMD\n",
        "FROM a\nRUN true ${A#x} <<CMD\nCOPY --from=b /x /x\nCMD\n",
        'FROM a\nRUN ["true"] <<CMD\nCOPY --from=b /x /x\nCMD\n',
        "FROM a\nRUN echo \\\\\nCOPY --from=b /x /x\n",
        "FROM a\nRUN echo \\\r\r\nCOPY --from=b /x /x\n",
        "FROM a\nRUN true\x1cCMD\n",
        "# a=b\n# escape=`\nFROM a\n",
        "// syntax=docker/dockerfile:1\nFROM a\n",
        "#!/bin/x\n# syntax=docker/dockerfile:1\nFROM a\n",
        " # syntax=docker/dockerfile:1\nFROM a\n",
        "\ufeff# syntax=docker/dockerfile:1\nFROM a\n",
        "# escape=`\n# escape=\\\nFROM a\n",
        "# escape=x\nFROM a\n",
        "# escape=`\nFROM a\nCOPY --from=`b /x /x\n",
        '{"syntax": "evil.example/front"}',
        "FROM a\nCOPY --from /x /x\n",
        "FROM a\nCOPY --from=\u00e0b /x /x\n",
    ],
)
def test_fault_18_what_versions_of_buildkit_read_differently_is_refused(text):
    with pytest.raises(AppFailed, match="line"):
        parse(text)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("FROM a\nRUN cat <<E\nCOPY --from=b / /\nE\nCOPY --from=c / /", ("a", "c")),
        ("FROM a\nRUN x <<< $(cat y)\nCOPY --from=c / /", ("a", "c")),
        ("FROM a\nRUN echo $((1<<3))\nCOPY --from=c / /", ("a", "c")),
        ("FROM a\nRUN cat <<-'E' > ${D}/x\n\tFROM b\n\tE\nCOPY --from=c / /", ("a", "c")),
        ("FROM a\nRUN cat <<A <<B\nx\nA\nFROM b\nB\nCOPY --from=c / /", ("a", "c")),
        ("FROM a\nRUN --mount=type=bind,FROM=b,target=/x true", ("a", "b")),
        ("FROM a AS x\nONBUILD COPY --from=b / /\nFROM x", ("a", "b")),
        ("FROM a\nCOPY --from=\u00b2 / /", ()),
        ("FROM a\nCOPY --from=+1 / /\nFROM b\nCOPY --from=9 / /", ("b", "9")),
        ("FROM a\nFROM 0", ("0",)),
        ("FROM a AS t\nCOPY --from=b / /\nFROM c AS b", ("a", "c")),
        ("FROM a\nCOPY -- --from=b /x", ("a",)),
        ('FROM a\nCOPY "--from=b" / /', ("a",)),
        ("FROM a\nCOPY --from='b' --chown=\"1\" / /", ("a", "b")),
        ("ARG A='x y' B=z\nFROM a:$B", ("a:z",)),
        ("FROM a-${TARGETARCH}:${BUILDOS}", ("a-arm64:linux",)),
        ("FROM a:${A:-${B:-2}}", ("a:2",)),
        ("ARG V=v1.2\nFROM a:${V#v}", ("a:1.2",)),
        ("ARG V=1.2-x\nFROM a:${V%%-*}", ("a:1.2",)),
        ("ARG V=1.2-x\nFROM a:${V//./_}", ("a:1_2-x",)),
        ("ARG V=1\nFROM a:${V:?needed}", ("a:1",)),
    ],
)
def test_images_are_those_that_buildkit_reads(text, found):
    target = "t" if "AS t" in text else ""
    platforms = platform_args("linux/arm64", "linux/amd64")
    if not found:
        with pytest.raises(AppFailed, match="not a valid flag"):
            parse(text)
        return
    assert images(parse(text, {}, platforms), target) == found


@pytest.mark.parametrize("base", ["${V:?needed}", "${V:=1}", "${V", "${}", "'a", "${V:-" * 300 + "}" * 300])
def test_a_variable_that_buildkit_refuses_is_refused_with_its_line(base):
    with pytest.raises(AppFailed, match="line 2: FROM"):
        parse(f"ARG V\nFROM {base}")


def test_usual_builds_pass():
    text = (
        "# syntax=docker/dockerfile:1.4\nFROM a AS b\nRUN --mount=type=cache,target=/c --network=none make\n"
    )
    text += "RUN --mount=type=bind,source=x,target=/y,from=b <<E\nset -e\nE\nCMD --network=host\n"
    refuse_unsupported(parse(text))
    refuse_hidden(text)
