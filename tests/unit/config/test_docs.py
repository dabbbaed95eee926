"""pipelines.schema.json and docs/configuration.md are made from the models and never stale."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.config.docs import (
    DOCUMENTATION_FILE,
    SCHEMA_FILE,
    documentation,
    json_schema,
    schema_text,
    settings_table,
)
from pipeline.config.models import Config, Environment, Pipeline, Service
from pipeline.config.scaffold import starter
from pipeline.config.settings import Settings, load
from tests.support.paths import ROOT

STALE = "stale: run `python -m pipeline.config.docs`"
EXAMPLE = ROOT / "pipelines.yaml"
TYPES: dict[str, Any] = {"object": dict, "array": list, "string": str, "integer": int, "number": (int, float)}
TYPES |= {"null": type(None), "boolean": bool}


def test_the_committed_files_are_up_to_date() -> None:
    assert SCHEMA_FILE.read_text(encoding="utf-8") == schema_text(), STALE
    assert DOCUMENTATION_FILE.read_text(encoding="utf-8") == documentation(), STALE


def fits(value: Any, schema: dict[str, Any], root: dict[str, Any]) -> bool:
    """As much of JSON Schema as ours uses; an unknown keyword is an error."""
    checks = {
        "$ref": lambda ref: fits(value, root["$defs"][ref.rsplit("/", 1)[1]], root),
        "anyOf": lambda options: any(fits(value, option, root) for option in options),
        "type": lambda kinds: any(_typed(value, k) for k in ([kinds] if isinstance(kinds, str) else kinds)),
        "enum": lambda allowed: value in allowed,
        "pattern": lambda text: not isinstance(value, str) or re.search(text, value) is not None,
        "minimum": lambda low: isinstance(value, str) or value >= low,
        "maximum": lambda high: isinstance(value, str) or value <= high,
        "minLength": lambda low: len(value) >= low,
        "maxLength": lambda high: len(value) <= high,
        "minItems": lambda low: len(value) >= low,
        "minProperties": lambda low: len(value) >= low,
        "required": lambda names: set(names) <= set(value),
        "propertyNames": lambda names: all(fits(name, names, root) for name in value),
        "properties": lambda known: all(fits(value[k], known[k], root) for k in known if k in value),
        "patternProperties": lambda known: all(
            fits(value[k], inner, root) for p, inner in known.items() for k in value if re.search(p, k)
        ),
        "additionalProperties": lambda more: all(
            more is True or (more is not False and fits(value[k], more, root))
            for k in _further(value, schema)
        ),
        "items": lambda inner: all(fits(item, inner, root) for item in value),
    }  # fmt: skip
    if "type" in schema and not checks["type"](schema["type"]):
        return False
    notes = {"$schema", "$defs", "title", "description", "default", "examples"}
    return all(checks[word](schema[word]) for word in schema if word not in notes)


def _typed(value: Any, kind: str) -> bool:
    return isinstance(value, TYPES[kind]) and (kind == "boolean" or not isinstance(value, bool))


def _further(value: dict[str, Any], schema: dict[str, Any]) -> list[str]:
    patterns = schema.get("patternProperties", {})
    known = schema.get("properties", {})
    return [key for key in value if key not in known and not any(re.search(p, key) for p in patterns)]


def valid(text: str) -> bool:
    schema = json_schema()
    return fits(yaml.safe_load(text), schema, schema)


def test_an_editor_accepts_the_example_and_the_starter(tmp_path: Path) -> None:
    assert valid(EXAMPLE.read_text(encoding="utf-8"))
    assert valid(starter(tmp_path, "hello"))


@pytest.mark.parametrize(
    "body",
    [
        "{environments: {dev: , live: {}}}",
        "{service: , smoke: , environments: {dev: {env: , smoke: }}}",
        "{service: {env: {PORT: 8080}, keep_warm: 0, cpu: 250m}, environments: {dev: }}",
        "{registry: r.example/x, environments: {dev: {engine: kubernetes}, live: {engine: {namespace: a}}}}",
        "{registry: {repository: r.example/x}, environments: {dev: {engine: {kubernetes: , ingress: a}}}}",
        "{service: {cpu: 1.5, memory: 1GiB, ready: 1m30s}, environments: {dev: }}",
        "{smoke: [{get: /, json: {a: true, b: 1, c: null}}, {tcp: 80}, {run: [./x]}], environments: {dev: }}",
    ],
)
def test_an_editor_accepts_what_the_loader_accepts(body: str) -> None:
    assert valid(f"pipelines: {{hello: {body}}}")


@pytest.mark.parametrize(
    "body",
    [
        "{environments: {}}",
        "{}",
        "{environments: {Dev: }}",
        "{environments: {dev: {memroy: 1GiB}}}",
        "{environments: {dev: {ready: 5}}}",
        "{environments: {dev: {ready: 0}}}",
        "{environments: {dev: {drain: 5}}}",
        "{environments: {dev: {ready: soon}}}",
        "{environments: {dev: {memory: 128}}}",
        "{environments: {dev: {port: 70000}}}",
        "{environments: {dev: {promote: maybe}}}",
        "{environments: {dev: {engine: {context: a}}}}",
        "{registry: {username: a}, environments: {dev: }}",
        "{service: {security: lax}, environments: {dev: }}",
        "{environments: {dev: {env: {1A: x}}}}",
        "{environments: {dev: {smoke: [{get: /, tcp: 80}]}}}",
        "{environments: {dev: {smoke: [{json_path: {}}]}}}",
    ],
)
def test_an_editor_marks_what_the_loader_refuses(body: str) -> None:
    assert not valid(f"pipelines: {{hello: {body}}}")


def test_defaults_are_written_with_units() -> None:
    definitions = json_schema()["$defs"]
    assert definitions["Service"]["properties"]["memory"]["default"] == "256MiB"
    assert definitions["Build"]["properties"]["timeout"]["default"] == "10m"
    assert "default" not in definitions["Environment"]["properties"]["memory"]  # it is what `service` says
    assert "json" in definitions["HttpCheck"]["properties"]
    json.dumps(json_schema())


def test_every_key_and_setting_is_described_in_the_documentation() -> None:
    text = documentation()
    for model in (Config, Pipeline, Service, Environment):
        for name in model.model_fields:
            assert f"| `{name}` |" in text
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    assert len(rows) > 60
    assert all(row.rstrip(" |").split(" | ")[-1].strip() for row in rows)
    assert not any(re.search(r"\|\s*\|$", row) for row in rows)


def test_documented_defaults_are_read_as_the_settings_defaults() -> None:
    table = settings_table()
    assert len(table) == len(Settings.model_fields)
    environ = {name: default for name, (default, _) in table.items() if default and name != "PUSHLIVE_DATA"}
    assert load(environ) == Settings()
