"""Checks a value against the part of JSON Schema that our schemas use."""

from __future__ import annotations

from typing import Any

TYPES = {
    "string": str,
    "object": dict,
    "array": list,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
}


def problems(value: Any, schema: dict[str, Any], where: str = "") -> list[str]:
    kinds = schema.get("type", [])
    for kind in [kinds] if isinstance(kinds, str) else kinds:
        if kind == "null" and value is None:
            return []
        if kind != "null" and isinstance(value, TYPES[kind]):
            break
    else:
        if kinds:
            return [f"{where} is {value!r}, not {kinds}"]
    found = [
        f"{where} is {value!r}"
        for key in ("enum", "const")
        if key in schema and value not in _allowed(schema)
    ]
    if isinstance(value, list):
        for number, one in enumerate(value):
            found += problems(one, schema.get("items", {}), f"{where}[{number}]")
    if isinstance(value, dict):
        properties, more = schema.get("properties", {}), schema.get("additionalProperties", True)
        found += [f"{where}.{name} is missing" for name in schema.get("required", ()) if name not in value]
        for name, one in value.items():
            if name in properties or isinstance(more, dict):
                found += problems(one, properties.get(name, more), f"{where}.{name}")
            elif more is False:
                found.append(f"{where}.{name} is not in the schema")
    return found


def _allowed(schema: dict[str, Any]) -> list[Any]:
    return schema.get("enum") or [schema["const"]]
