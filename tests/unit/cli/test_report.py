"""``pushlive report``: a page in a file, or the data."""

from __future__ import annotations

import json

import pytest

from pipeline.cli.client import Client
from pipeline.cli.main import main
from tests.support.months import answer, busy

NOWHERE = {"PUSHLIVE_URL": "http://127.0.0.1:9", "PUSHLIVE_TOKEN": "pl_x", "NO_COLOR": "1"}


@pytest.fixture
def asked(monkeypatch, tmp_path):
    """The paths that the service is asked for."""
    found: list[str] = []

    def call(_: Client, method: str, path: str, body: object = None):
        found.append(path)
        return answer(busy())

    def pieces(_: Client, path: str):
        found.append(path)
        yield b"<!doctype html>"
        yield b"<p>page</p>"

    monkeypatch.setattr(Client, "call", call)
    monkeypatch.setattr(Client, "pieces", pieces)
    monkeypatch.chdir(tmp_path)
    return found


def run(*words: str) -> int:
    return main(["report", *words], NOWHERE)


def test_the_page_is_written_under_its_months_name(asked, tmp_path, capsys):
    assert run("hello", "--month", "2026-11", "--zone", "Europe/Berlin") == 0
    query = "pipeline=hello&month=2026-11&zone=Europe%2FBerlin"
    assert asked == [f"/api/report?{query}", f"/api/report.html?{query}"]
    assert (tmp_path / "pushlive-hello-2026-11.html").read_text() == "<!doctype html><p>page</p>"
    said = capsys.readouterr()
    assert said.out.startswith("hello  ")
    assert "  → " in said.out
    assert "2026-11 (Europe/Berlin) is in pushlive-hello-2026-11.html (26 B)" in said.out + said.err


def test_another_file_is_replaced_and_all_pipelines_are_the_default(asked, tmp_path):
    (tmp_path / "x.html").write_text("old")
    assert run("-o", "x.html") == 0
    assert asked[0] == "/api/report?zone=UTC"
    assert "page" in (tmp_path / "x.html").read_text()


def test_a_dash_is_the_standard_output(asked, tmp_path, capfdbinary):
    assert run("-o", "-") == 0
    assert capfdbinary.readouterr() == (b"<!doctype html><p>page</p>", b"")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_cannot_be_written_is_named(asked, capsys):
    assert run("-o", "no/such/x.html") != 0
    assert "cannot write no/such/x.html" in capsys.readouterr().err


def test_the_data(asked, capsys):
    assert run("--json") == 0
    assert json.loads(capsys.readouterr().out)["month"] == "2026-11"
    assert run("--json", "-o", "x.html") == 2
    assert run("--month", "") == 2
