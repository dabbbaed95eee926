"""``pushlive evidence``: exports whole or not at all, and verifies without a service."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tarfile
from contextlib import contextmanager

import pytest

from pipeline.cli.client import Client
from pipeline.cli.main import main
from tests.support.bundles import OURS, exported

NOWHERE = {"PUSHLIVE_URL": "http://127.0.0.1:9", "PUSHLIVE_TOKEN": "pl_x", "NO_COLOR": "1"}


@contextmanager
def serving(monkeypatch, sent: bytes):
    """What the service sends for a bundle."""
    asked: list[str] = []

    def pieces(_: Client, path: str):
        asked.append(path)
        yield from (sent[at : at + 1000] for at in range(0, len(sent), 1000))

    monkeypatch.setattr(Client, "pieces", pieces)
    yield asked


def run(*words: str) -> int:
    return main(["evidence", *words], NOWHERE)


def test_a_release_becomes_a_folder_that_verifies_with_the_key_alone(tmp_path, monkeypatch, capsys):
    key = tmp_path / "key.pem"
    key.write_text(OURS.public.pem)
    monkeypatch.chdir(tmp_path)
    with serving(monkeypatch, exported(tmp_path)) as asked:
        assert run("hello", "r17", "--env", "live", "-o", "out") == 0
    assert asked == ["/api/evidence/hello/r17?env=live"]
    assert {path.name for path in tmp_path.iterdir()} == {"out", "key.pem", "kept"}
    assert (tmp_path / "out" / "logs" / "run-42.txt").read_text() == "lines"
    capsys.readouterr()

    assert run("verify", "out", "--key", "key.pem") == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "✓ hello r17: signed by this key, 11 files unchanged."
    assert run("verify", "out") == 0
    assert capsys.readouterr().out.startswith("hello r17: consistent, origin unknown (11 files).")

    (tmp_path / "out" / "logs" / "run-42.txt").write_text("Lines")
    assert run("verify", "out", "--key", "key.pem", "--json") == 1
    found = json.loads(capsys.readouterr().out)
    assert (found["ok"], found["signed"], found["problems"]) == (
        False,
        False,
        ["logs/run-42.txt was changed"],
    )


def test_the_sums_are_those_of_the_usual_program(tmp_path, monkeypatch):
    with tarfile.open(fileobj=io.BytesIO(exported(tmp_path))) as archive:
        archive.extractall(tmp_path / "out", filter="data")
    done = subprocess.run(
        ["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=tmp_path / "out", capture_output=True
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("cut", [1, 500])
def test_what_does_not_come_whole_leaves_nothing(tmp_path, monkeypatch, capsys, cut):
    sent = exported(tmp_path / "source")
    monkeypatch.chdir(tmp_path)
    for target in ("out", "out.tar.gz"):
        with serving(monkeypatch, sent[:-cut]):
            assert run("hello#42", "-o", target) == 3
        assert "the bundle did not come as it was sent" in capsys.readouterr().err
    assert {path.name for path in tmp_path.iterdir()} == {"source"}


def test_an_archive_is_kept_as_it_came_and_nothing_is_replaced(tmp_path, monkeypatch, capsys):
    sent, target = exported(tmp_path / "source"), tmp_path / "out.tar.gz"
    with serving(monkeypatch, sent) as asked:
        assert run("hello#42", "-o", str(target)) == 0
        assert target.read_bytes() == sent
        assert run("hello#42", "-o", str(target)) == 3
    assert asked == ["/api/evidence/hello/42"]
    assert "exists already" in capsys.readouterr().err


def test_wrong_words_and_keys_are_named(tmp_path, capsys):
    (tmp_path / "no.pem").write_text("no key")
    for words, code, said in (
        (["verify"], 2, "verify needs the folder or archive"),
        (["verify", str(tmp_path / "none")], 4, "cannot be opened"),
        (["verify", str(tmp_path), "--key", str(tmp_path / "no.pem")], 2, "no.pem is not a public key"),
        (["verify", str(tmp_path), "--key", str(tmp_path / "none.pem")], 1, "none.pem cannot be read"),
        (["hello", "r17", "--key", "x"], 2, "--key needs verify"),
        (["hello#42", "--env", "live"], 2, "--env needs a release"),
        (["verify", str(tmp_path), "--env", "live"], 2, "verify takes no --env"),
        (["key", "-o", "x"], 2, "key takes no --output"),
    ):
        assert run(*words) == code
        assert said in capsys.readouterr().err


def test_the_list_says_what_and_why_apart_and_which_record_was_late(monkeypatch, capsys):
    change = {"before": "none", "after": "4be81c2", "detail": "none → 4be81c2: a commit"}
    act = dict.fromkeys(("run", "environment", "release", "why", "detail", "before", "after"), "")
    act |= {"number": 57, "time": "2026-03-01T12:02:00.000Z", "who": "ann", "act": "set"}
    acts = [
        act | {"act": "configuration"} | change,
        act | {"detail": "bake", "why": "slow", "after": "bake: 2m"},
    ]
    row = {
        "id": "hello#1",
        "kind": "run",
        "environment": "",
        "release": "r1",
        "outcome": "live",
        "written": "T1",
    }
    rows = [row | {"late": 660.5}, row | {"written": "T2"}]  # of a service that does not say it
    monkeypatch.setattr(Client, "call", lambda *_, **__: {"records": rows, "acts": acts})

    assert run("list", "hello") == 0

    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert lines[1:3] == ["hello#1 run r1 live T2", "hello#1 run r1 live T1, 11 min after its end"]
    assert lines[4:] == [
        "entry time who act what why before → after",
        "57 2026-03-01 12:02:00 ann set bake slow → bake: 2m",
        "57 2026-03-01 12:02:00 ann configuration a commit none → 4be81c2",
    ]


def test_help_after_a_word_is_about_that_word(capsys):
    for words, said in (
        (("verify", "--help"), "pushlive evidence verify [-h]"),
        (("--json", "list", "-h"), "List what is recorded of a pipeline"),
        (("key", "--help"), "public half of the key"),
        (("--help",), "NAME r17 | NAME#42 | NAME | list [NAME] | key | verify DIR"),
    ):
        assert run(*words) == 0
        assert said in " ".join(capsys.readouterr().out.split())


def test_verifying_loads_nothing_of_the_service(tmp_path):
    """Nor the libraries that it needs."""
    (tmp_path / "SHA256SUMS").write_text("")
    code = (
        "import sys; from pathlib import Path; from pipeline.evidence.verify import verify; "
        "verify(Path(sys.argv[1]), None); print(*{name.partition('.')[0] for name in sys.modules})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert not {"redis", "pydantic", "flask", "docker", "kubernetes", "git", "urllib3", "cryptography"} & set(
        done.stdout.split()
    )
