"""``pipelines.schema.json`` for editors and ``docs/configuration.md`` for people, both from the models.

``python -m pipeline.config.docs`` writes both; a test fails while the committed ones are stale.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from pipeline.config.checks import KINDS, HealthCheck
from pipeline.config.cost.prices import Costs, Machine
from pipeline.config.engines import Registry, Where
from pipeline.config.http.keys import Http
from pipeline.config.https.keys import Hsts
from pipeline.config.introspection import Hint, fields_of, hint_of, key_of, keys_of
from pipeline.config.judging.metrics import Metrics
from pipeline.config.models import (
    Config,
    Environment,
    Notify,
    Pipeline,
    Service,
)
from pipeline.config.ownership import owner
from pipeline.config.previews.keys import Branches, Previews
from pipeline.config.promotion.approvals import Promote
from pipeline.config.promotion.freezes import Days, Environments, Window
from pipeline.config.promotion.shift import Shift
from pipeline.config.settings import Secret, Settings
from pipeline.config.workload.accessory import Accessory, AccessoryHealth, Use
from pipeline.config.workload.backup import AccessoryBackup, Backup, Destination
from pipeline.config.workload.bake import Bake
from pipeline.config.workload.kubernetes import (
    AccessoryOptions,
    ClaimOptions,
    IngressOptions,
    KubernetesOptions,
    Requests,
    ServiceOptions,
)
from pipeline.config.workload.liveness import Liveness
from pipeline.config.workload.processes import Process, ProcessReady
from pipeline.config.workload.release import ReleaseCommand
from pipeline.config.workload.volumes import Volume
from pipeline.lib.units import show_size, write_duration

ROOT = Path(__file__).resolve().parents[2]
SCHEMA_FILE = ROOT / "pipelines.schema.json"
DOCUMENTATION_FILE = ROOT / "docs" / "configuration.md"
_SECTIONS: tuple[tuple[str, type[BaseModel]], ...] = (
    ("The whole file", Config),
    ("`accessories.<name>`", Accessory),
    ("`accessories.<name>.health`", AccessoryHealth),
    ("`accessories.<name>.backup`", AccessoryBackup),
    ("`accessories.<name>.kubernetes`", AccessoryOptions),
    ("`pipelines.<name>`", Pipeline),
    ("`budget`", keys_of(Config)["budget"].base),
    ("`costs`", Costs),
    ("`costs.machines.<name>`", Machine),
    ("`notify`", Notify),
    ("`freeze`: each", Window),
    ("`freeze`: each: `env`", Environments),
    ("`freeze`: each: `days`", Days),
    ("`source`", keys_of(Pipeline)["source"].base),
    ("`build`", keys_of(Pipeline)["build"].base),
    ("`registry`", Registry),
    ("`previews`", Previews),
    ("`previews`: `branches`", Branches),
    ("`service`", Service),
    ("`health`", HealthCheck),
    ("`liveness`", Liveness),
    ("`http`", Http),
    ("`release`", ReleaseCommand),
    ("`requests`", Requests),
    ("`kubernetes`", KubernetesOptions),
    ("`kubernetes.service`", ServiceOptions),
    ("`kubernetes.ingress`", IngressOptions),
    ("`kubernetes.volumes`: each", ClaimOptions),
    ("`volumes`: each", Volume),
    ("`volumes`: each: `backup`", Backup),
    ("`backup.to`", Destination),
    ("`processes.<name>`", Process),
    ("`processes.<name>.ready`", ProcessReady),
    *((f"`smoke`: `{key}`", kind) for key, kind in KINDS.items()),
    ("`environments.<name>`", Environment),
    ("`bake`", Bake),
    ("`hsts`", Hsts),
    ("`metrics`", Metrics),
    ("`promote`", Promote),
    ("`shift`", Shift),
    ("`uses.<name>`", Use),
    ("`engine`", Where),
)


def json_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of ``pipelines.yaml`` as people write it: durations are text."""
    schema = Config.model_json_schema(by_alias=True)
    definitions: dict[str, Any] = schema.pop("$defs")
    models = {model.__name__: model for _, model in _SECTIONS}
    for name, definition in [*definitions.items(), ("Config", schema)]:
        _as_written(definition, models[name])
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "pipelines.yaml",
        **{key: value for key, value in schema.items() if key != "title"},
        "$defs": {name: definitions[name] for name in sorted(definitions)},
    }


def _as_written(definition: dict[str, Any], model: type[BaseModel]) -> None:
    """Turns one model's schema from what Python holds into what people write."""
    definition.pop("title", None)
    for name, spec in model.model_fields.items():
        key = key_of(name, spec)
        hint = keys_of(model)[key]
        entry = definition["properties"][key]
        entry.pop("title", None)
        if "default" in entry:
            entry["default"] = _written(spec.default, hint)
            nothing = entry["default"] in ("", [], {}, None) or isinstance(spec.default, BaseModel)
            if nothing or (model is Environment and name in Service.model_fields):
                del entry["default"]  # in an environment the default is what `service` says
        if hint.kind == "duration" and any(hasattr(m, "gt") for m in hint.metadata):
            del entry["maximum"]
            entry |= {"type": "string", "pattern": entry["pattern"].replace("0|", "", 1)}
        if hint.shape == "mapping":
            _closed(entry, hint)
        if hint.has_parts:
            definition["properties"][key] = entry = _or_empty(entry)
        if hint.short:
            texts = {"type": "array", "items": {"type": "string"}}
            text = {"enum": hint.choices} if hint.choices else {"type": "string"}
            entry["anyOf"].insert(0, texts if hint.listed else text)
            if hint.has_text:
                entry["anyOf"].insert(0, {"type": "string"})


def _closed(entry: dict[str, Any], hint: Hint) -> None:
    """Refuses names that do not match; allows ``PORT: 8080``, which is read as text."""
    if "patternProperties" in entry:
        entry["additionalProperties"] = False
    for values in (*entry.get("patternProperties", {}).values(), entry.get("additionalProperties")):
        if isinstance(values, dict) and hint.parts[1].base is str:
            values["type"] = ["string", "number"]
        if isinstance(values, dict) and hint.parts[1].short:
            kind = "number" if hint.parts[1].base.NUMBER else "string"
            values["anyOf"] = [{"type": kind}, {"$ref": values.pop("$ref")}]


def _or_empty(entry: dict[str, Any]) -> dict[str, Any]:
    """The same or null, for a block whose lines are all commented out."""
    if "anyOf" in entry:
        return entry
    outer: dict[str, Any] = {key: entry.pop(key) for key in ("description", "default") if key in entry}
    return outer | {"anyOf": [entry, {"type": "null"}]}


def _written(value: Any, hint: Hint) -> Any:
    if value is None:
        return None
    if hint.kind == "duration":
        return write_duration(value)
    if hint.kind == "size":
        return show_size(value).replace(" ", "")
    return list(value) if isinstance(value, tuple) else value


# -- documentation


def documentation() -> str:
    """The text of ``docs/configuration.md``."""
    return "\n".join([*_head(), *_file_sections(), *_setting_section()]) + "\n"


def _head() -> Iterator[str]:
    yield "# Configuration"
    yield ""
    yield "<!-- Written by `python -m pipeline.config.docs` from the models in pipeline/config/. -->"
    yield ""
    yield "`pipelines.yaml` says what happens to a push; `PUSHLIVE_…` variables configure the service itself."
    yield "`pushlive init` writes a first file, `pushlive check` finds every problem with its line, and"
    yield "`pushlive plan` shows what a changed file would change. Editors that know"
    yield "[`pipelines.schema.json`](../pipelines.schema.json) complete and check as you type."
    yield "The commented example is [`pipelines.yaml`](../pipelines.yaml)."
    yield ""
    yield "Durations have units (`500ms`, `30s`, `1h30m`), and so have sizes (`128MiB`, `1GB`)."
    yield "Tags, anchors and aliases, duplicate keys, unknown keys and most keys that would have no effect"
    yield "are errors; `pushlive check` warns of the others. YAML reads `on`, `off`, `yes` and `no` as booleans:"
    yield "put them in quotes."
    yield ""
    yield "The *owner* of a key is who may change it with `pushlive deploy PIPELINE --config FILE`: a maintainer"
    yield "changes every key, a developer only their own. See [security](security.md#who-may-change-the-configuration)."
    yield ""
    yield "## `pipelines.yaml`"


def _file_sections() -> Iterator[str]:
    for title, model in _SECTIONS:
        yield from ("", f"### {title}", "", *(() if model is Config else (_about(model), "")))
        yield from ("| key | value | default | owner | meaning |", "| --- | --- | --- | --- | --- |")
        inherited = Service.model_fields if model is Environment else {}
        if inherited:
            meaning = (
                "Only for this environment; `env`, `secrets` and `processes` are added to those of `service`."
            )
            yield f"| *every key of `service`* | | as in `service` | as in `service` | {meaning} |"
        for name, spec in fields_of(model).items():
            if name not in inherited:
                yield _row(model, key_of(name, spec), spec)


def _about(model: type[BaseModel]) -> str:
    return " ".join((inspect.getdoc(model) or "").split())


def _row(model: type[BaseModel], key: str, spec: FieldInfo) -> str:
    hint = keys_of(model)[key]
    default = "**required**" if spec.is_required() else _default(spec.default, hint)
    who = "see there" if hint.base is Service else owner(model, key)
    return f"| `{key}` | {_cell(_type(hint))} | {default} | {who} | {_cell(spec.description or _about(hint.base))} |"


def _type(hint: Hint) -> str:
    if hint.shape == "model":
        text = f"{hint.short.partition(', or {')[0]}, or " if hint.short else ""
        return f"{text}see {_link(hint.base)}"
    if hint.shape == "check":
        return " or ".join(f"`{kind}`" for kind in KINDS) + " checks"
    if hint.shape == "list":
        inner = hint.parts[0]
        if inner.shape == "model":
            return f"a list of {_link(inner.base)}"
        return f"a list of {_type(inner)}" if inner.shape == "check" else hint.words
    if hint.shape == "mapping":
        inner = hint.parts[1]
        if inner.short:
            return f"names, each with {inner.short.partition(', or {')[0]}, or see {_link(inner.base)}"
        return "names, with keys under each" if inner.shape == "model" else f"names, each with {inner.words}"
    return hint.words


def _link(model: type[BaseModel]) -> str:
    """A link to the model's section."""
    title = next(title for title, one in _SECTIONS if one is model)
    anchor = re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")
    return f"[{title}](#{anchor})"


def _default(value: Any, hint: Hint) -> str:
    written = _written(value, hint)
    if isinstance(value, BaseModel) or written in ("", [], {}, None):
        return ""
    if isinstance(written, bool):
        return f"`{str(written).lower()}`"
    if isinstance(written, list):
        return f"`[{', '.join(written)}]`"
    if isinstance(written, bool):
        return f"`{str(written).lower()}`"
    return f"`{written:g}`" if isinstance(written, float) else f"`{written}`"


def _cell(text: str) -> str:
    parts = " ".join(text.replace("|", "\\|").split()).split("`")
    return "`".join(part if n % 2 else part.replace("<", "&lt;") for n, part in enumerate(parts))


def _setting_section() -> Iterator[str]:
    yield from ("", "## Settings of the service", "")
    yield "Each process reads them from its environment when it starts. Any of them can be given in a file instead: add"
    yield "`_FILE` to the name of the variable, as in `PUSHLIVE_GITHUB_SECRET_FILE=/run/secrets/github`."
    yield "An unknown variable that begins with `PUSHLIVE_` is an error."
    yield from ("", "| variable | default | meaning |", "| --- | --- | --- |")
    for name, (default, meaning) in settings_table().items():
        shown = f"`{default}`" if default else ""
        yield f"| `{name}` | {shown} | {_cell(meaning)} |"
    yield ""
    yield "The command line reads only `PUSHLIVE_URL` and `PUSHLIVE_TOKEN` (or `PUSHLIVE_TOKEN_FILE`)."


def settings_table() -> dict[str, tuple[str, str]]:
    """Variable → (default as it would be written, meaning)."""
    table = {}
    for name, spec in Settings.model_fields.items():
        default = "~/.local/share/pushlive" if spec.default_factory else _setting(spec)
        table[f"PUSHLIVE_{name.upper()}"] = (default, spec.description or "")
    return table


def _setting(spec: FieldInfo) -> str:
    value, kind = spec.default, hint_of(spec.annotation, tuple(spec.metadata)).kind
    if isinstance(value, Secret) or value == ():
        return ""
    if kind == "size":
        return show_size(value).replace(" ", "") if value else "0"
    if kind in ("duration", "age"):
        return write_duration(value)
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def schema_text() -> str:
    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"


def main() -> None:
    """Writes both files."""
    SCHEMA_FILE.write_text(schema_text(), encoding="utf-8")
    DOCUMENTATION_FILE.write_text(documentation(), encoding="utf-8")


if __name__ == "__main__":
    main()
