"""``pushlive cp``: what an application sends as an archive is not trusted."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from pipeline.cli.app.files import _unpack
from pipeline.cli.main import main
from pipeline.errors import RequestError

FILE, LINK, HARD, FOLDER = tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE


def archive(*entries: tuple[str, bytes, str]) -> bytes:
    """Of names, types, and contents or what a link leads to."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as made:
        for name, kind, text in entries:
            entry = tarfile.TarInfo(name)
            entry.type = kind
            if kind in (LINK, HARD):
                entry.linkname = text
            entry.size = len(text) if kind == FILE else 0
            made.addfile(entry, io.BytesIO(text.encode()) if kind == FILE else None)
    return out.getvalue()


@pytest.mark.parametrize(
    "sent",
    [
        archive(("../beside", FILE, "x")),
        archive(("/etc/beside", FILE, "x")),
        archive(("data", LINK, "/etc/passwd")),
        archive(("data", HARD, "/etc/passwd")),
        archive(("data", tarfile.CHRTYPE, "")),
        archive(("data", tarfile.FIFOTYPE, "")),
        archive(("other", FILE, "x")),
        archive(("data", FILE, "x" * 5000))[:2000],
        archive(),
        b"",
        b"no archive" * 300,
    ],
)
def test_nothing_gets_beside_the_target_and_nothing_half_is_left(sent: bytes, tmp_path: Path) -> None:
    folder = tmp_path / "here"
    folder.mkdir()
    with pytest.raises(RequestError, match=r"data was not copied: .+"):
        _unpack(iter([sent]), "data", folder / "target")
    assert list(tmp_path.rglob("*")) == [folder]


def test_the_one_file_becomes_the_target(tmp_path: Path) -> None:
    _unpack(iter([archive(("data", FILE, "kept"))]), "data", tmp_path / "target")
    assert (tmp_path / "target").read_text() == "kept"


def test_links_out_of_a_folder_are_left_out_and_named(tmp_path: Path) -> None:
    sent = archive(
        ("data", FOLDER, ""),
        ("data/file", FILE, "kept"),
        ("data/near", LINK, "file"),
        ("data/far", LINK, "/etc/passwd"),
        ("data/up", LINK, "../.."),
        ("data/up/beside", FILE, "stays inside"),
        ("data/hard", HARD, "../../beside"),
    )
    assert _unpack(iter([sent]), "data", tmp_path / "target") == ["data/far", "data/up", "data/hard"]
    found = {one.relative_to(tmp_path).as_posix() for one in tmp_path.rglob("*")}
    assert found == {"target", "target/file", "target/near", "target/up", "target/up/beside"}


def test_what_this_machine_refuses_is_said_in_words(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", "/data/file")

    monkeypatch.setattr("pipeline.cli.app.files.Path.is_dir", full)
    assert main(["cp", "hello", "live:/data/file", "file"]) != 0
    said = capsys.readouterr().err
    assert "pushlive cp: /data/file: No space left on device." in said
    assert "free space" in said


def test_a_copy_into_a_container_is_refused_as_that(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cp", "hello", "./a", "dev:/b"]) == 2
    said = capsys.readouterr().err
    assert "nothing is copied into a container" in said
    assert "`pushlive cp hello dev:/b ./FILE`" in said
    assert main(["cp", "hello", "./a", "./b"]) == 2
    assert "'./a' is not ENV:PATH" in capsys.readouterr().err
