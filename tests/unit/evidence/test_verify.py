"""A bundle is what was exported, or it is refused: changed, added, missing, renamed, swapped, linked, cut."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.errors import NotFound
from pipeline.evidence import layout, page, signing, verify
from pipeline.evidence.signing import SigningKey, encoded, public_key
from tests.support.bundles import OTHERS, OURS, exported
from tests.support.json_schema import problems as not_as


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A folder."""
    with tarfile.open(fileobj=io.BytesIO(exported(tmp_path)), mode="r:gz") as archive:
        archive.extractall(tmp_path / "bundle", filter="data")
    return tmp_path / "bundle"


def problems(place: Path, key: SigningKey | None = OURS) -> list[str]:
    return verify.verify(place, key and key.public).problems


def test_what_was_exported_is_good_with_the_key_and_of_unknown_origin_without(bundle):
    found = verify.verify(bundle, OURS.public)
    assert (found.problems, found.signed, found.name) == ([], True, "hello r17")
    assert found.sha256 == hashlib.sha256((bundle / "SHA256SUMS").read_bytes()).hexdigest()
    assert (problems(bundle, None), verify.verify(bundle, None).signed) == ([], False)
    assert any("not signed by this key" in one for one in problems(bundle, OTHERS))


def test_each_changed_byte_of_each_file_is_found(bundle):
    for path in sorted(path for path in bundle.rglob("*") if path.is_file()):
        content = path.read_bytes()
        for at in {0, len(content) // 3, len(content) // 2, len(content) - 2}:
            path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
            assert problems(bundle), (path.name, at)
        for changed in (content + b"x", content[:-1], b""):
            path.write_bytes(changed)
            assert problems(bundle), path.name
        path.write_bytes(content)
    assert problems(bundle) == []


RECORDS = ("run-42", "bake-live-42", "verdict-live-42", "act-57-0badcafe")


@pytest.mark.parametrize("name", RECORDS)
def test_each_kind_of_record_is_as_the_published_schema_says(bundle, name):
    schema = json.loads((bundle / "schema.json").read_text())["$defs"]
    found = json.loads((bundle / "records" / f"{name}.json").read_text())
    if name != "run-42":  # it has no more than the page needs; the stories look at whole ones
        assert not_as(found, schema[found["kind"]]) == []
    about = json.loads((bundle / "bundle.json").read_text())
    assert not_as(about, schema["bundle"]) == []
    assert f"records/{name}.json" in (bundle / "index.html").read_text()


@pytest.mark.parametrize("name", RECORDS)
@pytest.mark.parametrize("key", [OURS, None])
def test_a_record_of_any_kind_is_not_taken_away_or_changed_or_put_beside_others(bundle, name, key):
    path = bundle / "records" / f"{name}.json"
    content = path.read_bytes()
    path.unlink()
    assert problems(bundle, key) == [f"records/{name}.json is missing"]
    redone(bundle)
    assert problems(bundle, key) == [f"{layout.STATEMENT} was made for another list of files than SHA256SUMS"]
    path.write_bytes(content.replace(b"ann", b"ben").replace(b"hello", b"other"))
    redone(bundle)
    assert problems(bundle, key) == [f"{layout.STATEMENT} was made for another list of files than SHA256SUMS"]
    path.write_bytes(content)
    path.with_name(f"{name}0.json").write_bytes(content)
    redone(bundle)
    assert problems(bundle, key) == [f"{layout.STATEMENT} was made for another list of files than SHA256SUMS"]


def test_a_bundle_of_an_earlier_version_is_still_good_and_its_record_is_read():
    archive = Path(__file__).with_name("fixtures") / "before-acts.tar.gz"
    found = verify.verify(archive, OURS.public)
    assert (found.problems, found.signed, found.name, found.files) == ([], True, "hello r17", 8)
    with tarfile.open(archive) as opened:
        texts = {one.name: opened.extractfile(one).read() for one in opened}
    record, about = json.loads(texts["records/run-42.json"]), json.loads(texts["bundle.json"])
    assert "approvals" not in record
    assert "hello#42" in page.html(about, [record])


def redone(bundle: Path) -> None:
    """SHA256SUMS of what is there now, as `sha256sum` would write it."""
    names = [str(path.relative_to(bundle)) for path in bundle.rglob("*") if path.is_file()]
    hashes = {
        n: hashlib.sha256((bundle / n).read_bytes()).hexdigest() for n in names if n not in layout.UNLISTED
    }
    (bundle / "SHA256SUMS").write_text(layout.sums_of(hashes))


def added(bundle: Path) -> None:
    (bundle / "logs" / "more.txt").write_text("more")


def missing(bundle: Path) -> None:
    (bundle / "logs" / "run-42.txt").unlink()


def renamed(bundle: Path) -> None:
    (bundle / "logs" / "run-42.txt").rename(bundle / "logs" / "run-43.txt")


def changed(bundle: Path) -> None:
    (bundle / "logs" / "run-42.txt").write_text("other")


def linked(bundle: Path) -> None:
    log = bundle / "logs" / "run-42.txt"
    log.rename(bundle.parent / "elsewhere")
    log.symlink_to(bundle.parent / "elsewhere")


def folder_linked(bundle: Path) -> None:
    (bundle / "logs").rename(bundle.parent / "elsewhere")
    (bundle / "logs").symlink_to(bundle.parent / "elsewhere")


def piped(bundle: Path) -> None:
    (bundle / "logs" / "run-42.txt").unlink()
    os.mkfifo(bundle / "logs" / "run-42.txt")


def empty_folder(bundle: Path) -> None:
    (bundle / "more").mkdir()


def statement_missing(bundle: Path) -> None:
    (bundle / layout.STATEMENT).unlink()


@pytest.mark.parametrize(
    "act", [added, missing, renamed, changed, linked, folder_linked, piped, empty_folder, statement_missing]
)
@pytest.mark.parametrize("key", [OURS, None])
def test_what_is_not_as_it_was_is_found(bundle, act, key):
    act(bundle)
    assert problems(bundle, key)


@pytest.mark.parametrize("act", [added, missing, renamed, changed])
def test_a_list_of_hashes_that_was_done_again_is_not_the_one_that_was_signed(bundle, act):
    act(bundle)
    redone(bundle)
    assert problems(bundle)[-1] == f"{layout.STATEMENT} was made for another list of files than SHA256SUMS"
    (bundle / layout.STATEMENT).write_text(OTHERS.sign({"_type": "x"}))
    assert problems(bundle)


def test_statements_of_another_bundle_are_refused(bundle, tmp_path):
    other = tmp_path / "other"
    with tarfile.open(
        fileobj=io.BytesIO(exported(other, image="sha256:" + "ef" * 32)), mode="r:gz"
    ) as archive:
        archive.extractall(other / "bundle", filter="data")
    for name in (layout.STATEMENT, layout.PROVENANCE):
        own = (bundle / name).read_bytes()
        shutil.copy(other / "bundle" / name, bundle / name)
        assert problems(bundle), name
        (bundle / name).write_bytes(own)
    shutil.copy(other / "bundle" / layout.PROVENANCE, bundle / layout.PROVENANCE)
    redone(bundle)
    assert f"{layout.PROVENANCE} is about another image than the bundle" in problems(bundle)


@pytest.mark.parametrize(
    "envelope",
    [
        "", "[]", "{}", "null", '{"payload": 1, "payloadType": "", "signatures": []}', "[" * 100_000,
        '{"payload": "!!", "payloadType": "x", "signatures": []}',
        '{"payload": "W10=", "payloadType": "application/vnd.in-toto+json", "signatures": []}',
    ],
)  # fmt: skip
def test_what_is_no_envelope_is_refused(bundle, envelope):
    (bundle / layout.STATEMENT).write_text(envelope)
    for key in (OURS, None):
        assert [one.startswith(f"{layout.STATEMENT} is not valid") for one in problems(bundle, key)] == [True]


def test_a_list_that_leads_out_of_the_bundle_is_refused(bundle):
    for name in ("../x", "/etc/passwd", "logs/../x", "a b", ".hidden", "logs//run-42.txt", layout.SUMS):
        (bundle / "SHA256SUMS").write_text(f"{'0' * 64}  {name}\n")
        assert problems(bundle)[0].startswith("SHA256SUMS was changed"), name


def test_a_large_file_is_read_in_pieces_and_a_large_list_is_refused(bundle, monkeypatch):
    with (bundle / "logs" / "run-42.txt").open("wb") as opened:
        opened.truncate(200 << 20)
    assert problems(bundle) == ["logs/run-42.txt was changed"]
    monkeypatch.setattr(verify, "_READ_WHOLE", {**verify._READ_WHOLE, "SHA256SUMS": 100})
    assert "SHA256SUMS is too large" in problems(bundle)


# ── archives ─────────────────────────────────────────────────────────────────


def archived(path: Path, act: Callable[[tarfile.TarFile], object], source: bytes) -> Path:
    """The archive with more in it."""
    with tarfile.open(path, "w:gz") as out, tarfile.open(fileobj=io.BytesIO(source)) as old:
        for member in old:
            out.addfile(member, old.extractfile(member))
        act(out)
    return path


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> Callable[[tarfile.TarFile], object]:
    def add(out: tarfile.TarFile) -> None:
        one = tarfile.TarInfo(name)
        one.type, one.linkname, one.size = kind, link, 4 if kind == tarfile.REGTYPE else 0
        out.addfile(one, io.BytesIO(b"more"))

    return add


def test_an_archive_is_checked_as_its_folder_would_be(tmp_path):
    source = exported(tmp_path)
    path = tmp_path / "b.tar.gz"
    path.write_bytes(source)
    assert (problems(path), problems(path, OTHERS) != []) == ([], True)
    path.write_bytes(source[:-20])
    assert "cannot be read to its end" in problems(path)[0]
    path.write_bytes(source + b"more")
    assert "cannot be read to its end" in problems(path)[0]
    path.write_bytes(gzip.compress(gzip.decompress(source) + b"more"))
    assert "something behind its last file" in problems(path)[0]
    path.write_bytes(b"something else")
    assert problems(path)


@pytest.mark.parametrize(
    "act",
    [
        member("more.txt"), member("../../outside"), member("/etc/outside"), member("logs/run-42.txt"),
        member("link", tarfile.SYMTYPE, "/etc/passwd"), member("hard", tarfile.LNKTYPE, "bundle.json"),
        member("device", tarfile.CHRTYPE), member("folder", tarfile.DIRTYPE), member("pipe", tarfile.FIFOTYPE),
    ],
)  # fmt: skip
def test_what_was_added_to_an_archive_is_found_and_nothing_is_unpacked(tmp_path, act):
    path = archived(tmp_path / "b.tar.gz", act, exported(tmp_path))
    before = sorted(tmp_path.rglob("*"))
    assert problems(path)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_place_without_a_bundle_is_named(tmp_path):
    with pytest.raises(NotFound, match="cannot be opened: No such file"):
        verify.verify(tmp_path / "none", None)
    (tmp_path / "passwd").write_text("root")
    with pytest.raises(
        NotFound, match=r"is no bundle of evidence: it has neither SHA256SUMS nor bundle\.json"
    ):
        verify.verify(tmp_path, None)
    (tmp_path / "bundle.json").write_text("{}")
    assert problems(tmp_path)[0] == "SHA256SUMS is missing: this is not a bundle, or not all of one"


# ── what is signed ───────────────────────────────────────────────────────────


def test_the_encoding_is_that_of_dsse():
    """The example of its protocol.md."""
    assert encoded("http://example.com/HelloWorld", b"hello world") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )


def test_the_provenance_is_an_in_toto_statement_of_slsa_v1(bundle):
    envelope = json.loads((bundle / layout.PROVENANCE).read_text())
    assert envelope["payloadType"] == "application/vnd.in-toto+json"
    statement = OURS.public.opened((bundle / layout.PROVENANCE).read_bytes())
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    assert statement["predicateType"] == "https://slsa.dev/provenance/v1"
    assert statement["subject"] == [{"name": "hello:r17", "digest": {"sha256": "ab" * 32}}]
    definition, details = statement["predicate"]["buildDefinition"], statement["predicate"]["runDetails"]
    assert {"buildType", "externalParameters", "resolvedDependencies"} == set(definition)
    assert definition["resolvedDependencies"][0]["digest"] == {"gitCommit": "c" * 40}
    assert definition["resolvedDependencies"][1]["digest"] == {"sha256": "cd" * 32}
    assert details["metadata"]["finishedOn"] == "2026-03-01T12:00:05Z"


def test_the_key_is_made_once_and_its_public_half_is_pem(tmp_path):
    made, again = signing.signing_key(tmp_path), signing.signing_key(tmp_path)
    assert made.public.id == again.public.id
    assert public_key(made.public.pem.encode()).id == made.public.id
    assert (tmp_path / "evidence.key").stat().st_mode & 0o777 == 0o600
    with pytest.raises(ValueError):  # noqa: PT011 - cryptography's own words
        public_key(b"no key")
