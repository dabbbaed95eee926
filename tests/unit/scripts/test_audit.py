"""scripts/audit: a known vulnerability fails, and an audit that was not possible never counts as a pass."""

from __future__ import annotations

import json
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader

import pytest

from tests.support.paths import ROOT

LOADER = SourceFileLoader("audit", str(ROOT / "scripts" / "audit"))
SPEC = spec_from_loader("audit", LOADER)
assert SPEC
audit = module_from_spec(SPEC)
LOADER.exec_module(audit)

GOOD = {"name": "flask", "version": "3.1", "vulns": []}
BAD = {
    "name": "rq", "version": "3.0",
    "vulns": [{"id": "PYSEC-1", "aliases": ["CVE-1"], "fix_versions": ["3.1"], "description": "x"}],
}  # fmt: skip
UNKNOWN = {"name": "docker", "skip_reason": "Dependency not found on PyPI"}


def said(*dependencies: dict[str, object]) -> str:
    return json.dumps({"dependencies": dependencies, "fixes": []})


def run(monkeypatch, capsys, *reports, wrong=(), argv=()):
    left = list(reports)
    monkeypatch.setattr(audit, "ask", lambda _: left.pop(0))
    monkeypatch.setattr(audit, "offline", lambda *_: list(wrong))
    monkeypatch.setattr(audit, "conflicts", list)
    monkeypatch.setattr(audit.sys, "argv", ["audit", *argv])
    code = audit.main()
    return code, capsys.readouterr().out


def test_a_known_vulnerability_fails_and_is_named(monkeypatch, capsys):
    code, out = run(monkeypatch, capsys, audit.parse(said(GOOD, BAD, UNKNOWN)))
    assert code == 1
    assert "✗ rq 3.0: PYSEC-1, CVE-1; fixed in 3.1" in out
    assert "audited: 2 packages, 1 known vulnerabilities; not listed there: docker" in out


def test_no_known_vulnerability_passes(monkeypatch, capsys):
    code, out = run(monkeypatch, capsys, audit.parse(said(GOOD)))
    assert (code, "NOTHING" in out) == (0, False)


def test_without_any_answer_it_says_that_nothing_was_audited(monkeypatch, capsys):
    reports = audit.parse(said(UNKNOWN)), audit.Report(error="no route")
    code, out = run(monkeypatch, capsys, *reports)
    assert code == 0
    assert "NOTHING WAS AUDITED" in out
    assert "pypi: knows none of 1 packages" in out
    assert "osv: no route" in out
    assert run(monkeypatch, capsys, *reports, argv=["--strict"])[0] == 1


def test_the_second_source_is_asked_if_the_first_has_no_answer(monkeypatch, capsys):
    code, out = run(monkeypatch, capsys, audit.Report(error="403"), audit.parse(said(BAD)))
    assert code == 1
    assert "rq 3.0" in out


def test_a_problem_found_offline_fails_as_well(monkeypatch, capsys):
    code, out = run(monkeypatch, capsys, audit.parse(said(GOOD)), wrong=["x is not explained"])
    assert (code, "✗ x is not explained" in out) == (1, True)


@pytest.mark.parametrize(
    ("dependency", "why"),
    [("nosuchthing>=1,<2", "not installed"), ("flask>=99,<100", "is installed, pyproject.toml wants"),
     ("flask>=3", "no upper bound"), ("urllib3>=2,<3", "not explained")],
)  # fmt: skip
def test_a_questionable_dependency_is_found_offline(dependency, why):
    found = audit.offline({"dependencies": [dependency]}, {"nosuchthing", "flask"})
    assert any(why in one for one in found), found


@pytest.mark.long
def test_this_project_passes_the_offline_checks():
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert audit.offline(project, audit.explained()) == []
    assert audit.conflicts() == []
