"""``docs/monitoring``: what Prometheus and Grafana are given fits what ``/metrics`` has."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.support.paths import ROOT
from tests.web.test_metrics import measured
from webhooks.api.exposition import exposition

FOLDER = ROOT / "docs" / "monitoring"
PROMETHEUS_OWN = {"up"}


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load((FOLDER / "alerts.yaml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def dashboard() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FOLDER / "dashboard.json").read_text())
    return found


def queries() -> list[str]:
    return [target["expr"] for panel in dashboard()["panels"] for target in panel.get("targets", ())]


def promtool(*arguments: object) -> None:
    done = subprocess.run(["promtool", *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def series() -> dict[str, set[str]]:
    """The names that a scrape has, each with its labels."""
    text = exposition(measured()).decode()
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(text):
        names = [family.name] if family.type != "counter" else [f"{family.name}_total"]
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
        for name in names:
            found.setdefault(name, set())
    return found


def test_promtool_accepts_the_alerts() -> None:
    promtool("check", "rules", FOLDER / "alerts.yaml")


def test_each_alert_fires_when_it_should_and_only_then() -> None:
    promtool("test", "rules", FOLDER / "alerts.test.yaml")
    tests = yaml.safe_load((FOLDER / "alerts.test.yaml").read_text())["tests"]
    tried = [
        (case["alertname"], bool(case["exp_alerts"])) for one in tests for case in one["alert_rule_test"]
    ]
    assert sorted(tried) == sorted((rule["alert"], fires) for rule in rules() for fires in (True, False))


def test_each_alert_says_how_bad_it_is_and_what_to_do() -> None:
    for rule in rules():
        assert rule["labels"]["severity"] in ("info", "warning", "critical"), rule["alert"]
        assert set(rule["annotations"]) == {"summary", "description"}, rule["alert"]


def test_promtool_parses_each_query_of_the_dashboard(tmp_path: Path) -> None:
    records = [
        {"record": f"query:{number}", "expr": query.replace("$__rate_interval", "5m")}
        for number, query in enumerate(queries())
    ]
    file = tmp_path / "queries.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": records}]}))
    promtool("check", "rules", file)


@pytest.mark.parametrize("query", [*(rule["expr"] for rule in rules()), *queries()])
def test_what_a_query_names_is_measured(query: str) -> None:
    known = series()
    names = set(re.findall(r"\bpushlive_[a-z_]+", query)) | (PROMETHEUS_OWN & set(re.findall(r"\w+", query)))
    assert names
    assert names - PROMETHEUS_OWN <= set(known)
    for name, labels in re.findall(r"(pushlive_[a-z_]+)\{([^}]*)\}", query):
        assert set(re.findall(r"(\w+)\s*[=!]~?", labels)) <= known[name], query


def test_the_dashboard_is_one_that_grafana_imports() -> None:
    found = dashboard()
    assert (found["id"], found["uid"], found["schemaVersion"]) == (None, "pushlive", 39)
    variables = {one["name"]: one for one in found["templating"]["list"]}
    assert list(variables) == ["datasource", "pipeline", "environment"]
    ids = [panel["id"] for panel in found["panels"]]
    assert len(set(ids)) == len(ids)
    taken = set()
    for panel in found["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"])
                 for y in range(place["y"], place["y"] + place["h"])}  # fmt: skip
        assert not cells & taken, panel["title"]
        taken |= cells
        if panel["type"] != "row":
            assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
            assert panel["title"]
            assert [target["refId"] for target in panel["targets"]] == list("ABCDEF"[: len(panel["targets"])])
    used = {name for query in queries() for name in re.findall(r"\$(\w+)", query)} - {"__rate_interval"}
    assert used == {"pipeline", "environment"}


def test_prometheus_reads_the_example(tmp_path: Path) -> None:
    text = (FOLDER / "prometheus.yaml").read_text()
    token = tmp_path / "token"
    token.write_text("a token")
    text = text.replace("/etc/prometheus/pushlive-token", str(token))
    file = tmp_path / "prometheus.yaml"
    file.write_text(text.replace("/etc/prometheus/pushlive-alerts.yaml", str(FOLDER / "alerts.yaml")))
    promtool("check", "config", file)


def test_the_guide_names_each_alert() -> None:
    page = (ROOT / "docs" / "guides" / "monitoring.md").read_text()
    assert [rule["alert"] for rule in rules() if f"`{rule['alert']}`" not in page] == []
