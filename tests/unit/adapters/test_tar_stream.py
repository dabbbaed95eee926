"""What is taken as a tar archive."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile

import pytest

from pipeline.adapters.tar_stream import whole
from pipeline.errors import RequestError


def archive(name: str) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as made:
        made.addfile(tarfile.TarInfo(name))
    return out.getvalue()


@pytest.mark.parametrize("name", ["data", "BZh"])
def test_a_whole_archive_passes_as_it_is(name: str) -> None:
    tar = archive(name)
    assert b"".join(whole([tar[:100], tar[100:]])) == tar


@pytest.mark.parametrize("size", [0, 5000])
def test_a_compressed_archive_is_named_as_that(size: int) -> None:
    tar = archive("data") + bytes(range(256)) * size
    for packed, command in (
        (gzip.compress(tar), "gunzip"),
        (bz2.compress(tar), "bunzip2"),
        (lzma.compress(tar), "unxz"),
    ):
        with pytest.raises(RequestError, match="This is compressed with ") as raised:
            list(whole([packed]))
        assert f"`{command} FILE`" in raised.value.advice


@pytest.mark.parametrize(
    ("sent", "says"), [(b"x" * 2000, "not a tar archive"), (archive("data")[:1000], "its end is")]
)
def test_what_is_none_is_said(sent: bytes, says: str) -> None:
    with pytest.raises(RequestError, match=says):
        list(whole([sent]))
