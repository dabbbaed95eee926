"""Records that are read again and again are parsed once, and are what the store has all the same."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pipeline.domain.release import Release
from pipeline.domain.run import Run
from pipeline.errors import DamagedRecord
from pipeline.lib import codec
from pipeline.store.connection import read, read_kept
from tests.support import records


def test_the_same_text_is_parsed_once_and_another_one_again() -> None:
    text, changed = codec.dump(records.run(1)), codec.dump(records.run(1, cancel="ann"))
    first = read_kept(Run, text, "runs", "1")
    assert read_kept(Run, text, "runs", "1") is first == read(Run, text, "runs", "1")
    assert read_kept(Run, changed, "runs", "1").cancel == "ann"
    assert read_kept(Run, text, "runs", "1").cancel == ""


def test_the_same_text_as_another_kind_is_another_record() -> None:
    text = codec.dump(records.run(1))
    read_kept(Run, text, "runs", "1")
    with pytest.raises(DamagedRecord, match="releases"):
        read_kept(Release, text, "releases", "1")


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"pipeline": 1}', "\x00", "{" * 100_000])
def test_a_damaged_record_is_named_each_time(text: str) -> None:
    for field in ("7", "8"):
        with pytest.raises(DamagedRecord, match=rf"runs \[{field}\]"):
            read_kept(Run, text, "runs", field)


def test_what_a_release_remembers_of_itself_is_not_stored() -> None:
    release = records.release(3)
    text, plain = codec.dump(release), codec.plain(release)
    mark = release.fingerprint("live")
    assert (codec.dump(release), codec.plain(release)) == (text, plain)
    assert codec.load(Release, text) == release
    other = replace(release, environments=records.release(3, port=1234).environments)
    assert other.fingerprint("live") != mark
    assert replace(release, secrets={"live": {"KEY": 2}}).fingerprint("live") != mark
    assert release.fingerprint("live") == mark
