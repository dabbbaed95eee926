"""How much a folder takes: blocks, whatever is in it."""

from __future__ import annotations

from pathlib import Path

from pipeline.lib.files.sizes import size_of


def test_all_folders_count_and_links_are_not_followed(tmp_path: Path) -> None:
    within = tmp_path / "a" / "b"
    within.mkdir(parents=True)
    (within / "file").write_bytes(b"x" * 100_000)
    before = size_of(tmp_path / "a")
    assert before >= 100_000
    (within / "loop").symlink_to(tmp_path)
    (within / "gone").symlink_to(tmp_path / "nothing")
    assert size_of(tmp_path / "a") <= before + 8192
    with (within / "sparse").open("wb") as sparse:
        sparse.truncate(1 << 30)
    assert size_of(tmp_path / "a") < 1 << 20


def test_what_is_not_there_takes_nothing(tmp_path: Path) -> None:
    assert size_of(tmp_path / "none") == 0
