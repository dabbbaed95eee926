import io
import re
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.adapters.buildkit.dockerignore import filtered
from pipeline.adapters.tar_stream import Reader
from pipeline.errors import AppFailed
from pipeline.lib.dockerignore import Steps, _translate, ignored, parse


@pytest.mark.parametrize(
    ("rules", "path", "gone"),
    [
        ("node_modules", "node_modules/a/b.js", True),
        ("node_modules", "src/node_modules/a", False),
        ("**/node_modules", "src/node_modules/a", True),
        ("**/node_modules", "node_modules/a", True),
        ("*.md", "README.md", True),
        ("*.md", "docs/README.md", False),
        ("**/*.md", "docs/deep/README.md", True),
        ("*/temp*", "somedir/temporary.txt", True),
        ("*/*/temp*", "somedir/sub/temporary", True),
        ("*/*/temp*", "somedir/temporary", False),
        ("temp?", "tempa", True),
        ("temp?", "temp", False),
        ("/foo/bar", "foo/bar", True),
        ("foo/", "foo/x", True),
        ("./foo", "foo", True),
        ("a/../foo", "foo", True),
        ("foo/**", "foo/a/b", True),
        ("foo/**", "foo", False),
        ("a/**/z", "a/z", True),
        ("a/**/z", "a/b/c/z", True),
        ("[a-c].txt", "b.txt", True),
        ("[^a-c].txt", "b.txt", False),
        ("[^a-c].txt", "z.txt", True),
        (r"\*.txt", "*.txt", True),
        (r"\*.txt", "a.txt", False),
        ("a+b(1).txt", "a+b(1).txt", True),
        ("*.md\n!README.md", "README.md", False),
        ("*.md\n!README*.md\nREADME-secret.md", "README-secret.md", True),
        ("*.md\nREADME-secret.md\n!README*.md", "README-secret.md", False),
        ("*\n!src", "src/a/b.py", False),
        ("*\n!src", "other", True),
        ("*\n!src\nsrc/*.log", "src/x.log", True),
        ("# *\n\n  \n", "a", False),
        (" # no comment", "# no comment", True),
        ("  *.tmp  ", "a.tmp", True),
        ("**", "a/b", True),
        ("\ufeff*.tmp", "a.tmp", True),
    ],
)
def test_paths_are_ignored_by_dockers_rules(rules, path, gone):
    assert ignored(parse(rules), path) is gone


@pytest.mark.parametrize("line", ["!", "a[b", "a\\"])
def test_a_broken_pattern_is_named_with_its_line(line):
    with pytest.raises(AppFailed, match="line 2"):
        parse(f"*.md\n{line}\n")


def tar(**files):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    out.seek(0)
    return out


def names(data):
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return {m.name: archive.extractfile(m).read() for m in archive.getmembers()}


def test_only_ignored_files_are_left_out_of_the_stream():
    long = "d/" * 80 + "ü.txt"
    files = {"Dockerfile": b"FROM x", ".dockerignore": b"*", "a.log": b"1" * 5000, long: b"2" * 513, "e": b""}
    left = names(b"".join(filtered(tar(**files), "*.log", "Dockerfile")))
    assert left == {name: content for name, content in files.items() if name != "a.log"}


def test_dockerfile_and_dockerignore_are_always_sent():
    files = {"docker/Dockerfile": b"FROM x", ".dockerignore": b"*", "a": b"1"}
    left = names(b"".join(filtered(tar(**files), "*", "./docker/Dockerfile")))
    assert set(left) == {"docker/Dockerfile", ".dockerignore"}


def test_without_rules_the_stream_is_unchanged():
    raw = tar(a=b"1").getvalue()
    assert b"".join(filtered(io.BytesIO(raw), "# nothing\n", "Dockerfile")) == raw


def test_a_reader_returns_the_pieces_in_order():
    reader = io.BufferedReader(Reader(iter([b"ab", b"", b"cde"])))
    assert (reader.read(3), reader.read(), reader.read()) == (b"abc", b"de", b"")


@pytest.mark.parametrize(
    ("pattern", "path"),
    [("*a" * 30 + "b", "a" * 200), ("**/a" * 20 + "/b", "a/" * 200 + "c"), ("**/*a" * 12 + "c", "a/" * 300 + "b"),
     ("[a-z]*" * 20 + "9", "a" * 300), ("**/x" * 30, "a/" * 400)],
)  # fmt: skip
def test_fault_18_a_malicious_pattern_takes_bounded_time(pattern, path):
    """A regular expression would take years, and the suite's timeout would fail the test."""
    assert not ignored(parse(pattern), path)
    assert ignored(parse(pattern + "\n" + path.rstrip("/")), path)


@given(st.text("a*/?b[]^-\\", min_size=1, max_size=12), st.text("ab/-", min_size=1, max_size=10))
def test_both_ways_of_matching_agree(pattern, path):
    try:
        pieces = _translate(pattern)
        expected = re.compile("".join(pieces), re.DOTALL)
    except (ValueError, re.error):
        return
    reached = Steps(pieces).reached(path)
    assert reached == {n for n in range(len(path) + 1) if expected.fullmatch(path, 0, n)}


@pytest.mark.parametrize("rule", [r"[\]?", r"a[\]b[c]"])
def test_a_class_that_is_closed_only_by_what_follows_is_refused(rule):
    with pytest.raises(AppFailed, match="line 1"):
        parse(rule)


@pytest.mark.parametrize("rules", ["x\n" * 1001, "x" * 5000])
def test_fault_18_too_many_or_too_long_rules_are_refused(rules):
    with pytest.raises(AppFailed, match="more than 1000 rules"):
        parse(rules)


def test_fault_17_a_path_over_the_system_limit_is_refused():
    with pytest.raises(AppFailed, match="more than 4096"):
        b"".join(filtered(tar(**{"a/" * 3000 + "x": b"1"}), "*.log", "Dockerfile"))
