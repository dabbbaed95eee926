"""``index.html`` of a bundle: for people, readable without a network. Everything in it is escaped, and nothing runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

from pipeline.domain.audit_chain import own_detail
from pipeline.evidence import late
from pipeline.lib.text import flow, pairs, printable
from pipeline.lib.units import show_duration, show_size

_CSS = Path(__file__).with_name("page.css")
_VERIFY = "pushlive evidence verify FOLDER --key FILE"
_GOOD = ("live", "baked", "no worse")
_NEITHER = ("not enough traffic to judge", "nothing to compare with", "too coarse to judge")
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def html(about: dict[str, Any], records: Sequence[dict[str, Any]]) -> str:
    """``about``: bundle.json; ``records``: in its order."""
    where = f" in {about['environment']}" if about["environment"] else ""
    parts = [
        f"<h1>{_text(about['name'])}{_text(where)}</h1>",
        f'<p class="dim">Evidence of the installation {_text(about["installation"])}. '
        f"<code>{_VERIFY}</code> checks that nothing of it was changed.</p>",
        _pairs((("image", about["image"]), ("release", about["release"]))),
        *(_record(one, files) for one, files in reversed([*zip(records, about["records"], strict=True)])),
        "<h2>What people did</h2>",
        _acts(about["acts"]),
    ]
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{_text(about['name'])}: evidence</title><style>{_CSS.read_text()}</style></head>\n<body>"
        + "\n".join(parts)
        + "</body></html>\n"
    )


def _record(record: dict[str, Any], files: dict[str, str]) -> str:
    return _run(record, files) if record["kind"] == "run" else _other(record, files)


def _other(record: dict[str, Any], files: dict[str, str]) -> str:
    """A record of another kind: what it is named after, and its other parts as they are."""
    kind, where = record["kind"], record.get("environment", "")
    own = {key: value for key, value in record[kind].items() if value not in ("", {}, [], None)}
    title = " ".join(part for part in (record["id"], kind, "in" if where else "", where) if part)
    return "\n".join(
        (
            f"<h2>{_text(title)}: {_outcome(own.pop('outcome', ''))}</h2>",
            f"<p>{_text(own.pop('reason', ''))}</p>",
            _pairs((_title(key), _fact(one)) for key, one in own.items() if not isinstance(one, list)),
            *(_more(key, one) for key, one in own.items() if isinstance(one, list)),
            *(_more(name, record[name]) for name in record if name not in {*_KNOWN, kind, "environment"}),
            f'<p><a href="{_text(files["record"])}">record</a></p>',
        )
    )


def _fact(value: Any) -> str:
    """Times are texts, so every number with a point is a duration."""
    if isinstance(value, float):
        return show_duration(value)
    return (
        pairs({_title(str(key)): one for key, one in value.items()})
        if isinstance(value, dict)
        else flow(value)
    )


def _run(record: dict[str, Any], files: dict[str, str]) -> str:
    run = record["run"]
    links = " · ".join(
        f'<a href="{_text(files[key])}">{key}</a>' for key in ("record", "log") if key in files
    )
    size = f' <span class="dim">{show_size(record["log"]["size"])}</span>' if record.get("log") else ""
    sections = [
        f"<h2>{_text(record['id'])} {_outcome(run['outcome'])}</h2>",
        f"<p>{_text(run['reason'])}</p>" if run["reason"] else "",
        f'<p class="bad">{_text(_late(record))}</p>' if late.text_of(record) else "",
        _pairs(_facts(run)),
        _failure(run["failure"]),
        _configuration(record.get("configuration")),
        *_section("Steps", _steps(record["steps"])),
        *_section("Checks", _checks(record["checks"])),
        *_section("Approvals", _approvals(record.get("approvals", ()))),
        *_section(_since(record["commits"]), _commits(record["commits"])),
        *(_environment(name, one) for name, one in record["environments"].items()),
        *_section("Base images", _table(("name", "id"), ([b["name"], b["image"]] for b in record["bases"]))),
        *(_more(name, record[name]) for name in sorted(set(record) - _KNOWN)),
        f"<p>{links}{size}</p>",
    ]
    return "\n".join(one for one in sections if one)


_KNOWN = {
    "form",
    "kind",
    "id",
    "pipeline",
    "installation",
    "version",
    "written",
    "not_masked",
    "run",
    "steps",
    "checks",
}
_KNOWN |= {
    "checks",
    "release",
    "bases",
    "build",
    "configuration",
    "commits",
    "environments",
    "acts",
    "log",
    "approvals",
}


def _late(record: dict[str, Any]) -> str:
    said = late.text_of(record)
    return f"{said[:1].upper()}{said[1:]}: what was removed or changed meanwhile is not in it."


def _facts(run: dict[str, Any]) -> Iterable[tuple[str, str]]:
    yield "commit", f"{run['commit']} {run['message']}".strip()
    yield "from", f"{run['source']} {run['ref']}".strip()
    yield "pushed by", run["pusher"]
    yield "requested by", run["by"]
    yield "author", run["author"]
    yield "promoted to", ", ".join(run["promoted"])
    yield "accepted", run["accepted"]
    yield "ended", run["ended"]
    yield "took", show_duration(run["seconds"])
    yield "of that, waiting for a person", show_duration(run["human"]) if run["human"] else ""


def _configuration(found: dict[str, Any] | None) -> str:
    if not found or not found["origin"]:
        return ""
    origin = found["origin"]
    text = f"{origin['commit']} {origin['subject']}, by {origin['author']}"
    return f"<p>Configuration: {_text(text)} ({_text(origin['place'])})</p>"


def _failure(card: dict[str, Any] | None) -> str:
    if not card:
        return ""
    lines = "\n".join(card["evidence"])
    return (
        f'<h3 class="bad">Failed in {_text(card["stage"])}: {_text(card["step"])}</h3>'
        f"<p>{_text(card['message'])}</p><p>{_text(card['advice'])}</p>"
        + (f"<pre>{_text(lines)}</pre>" if lines else "")
        + (f"<pre>{_text(chr(10).join(card['differs']))}</pre>" if card["differs"] else "")
    )


def _steps(steps: Iterable[dict[str, Any]]) -> str:
    rows = ([s["stage"], s["step"], show_duration(s["seconds"]), _ok(s["ok"]), s["detail"]] for s in steps)
    return _table(("stage", "step", "time", "", ""), rows)


def _checks(checks: dict[str, list[dict[str, Any]]]) -> str:
    rows = (
        [stage, one["asked"], show_duration(one["seconds"]), _ok(one["ok"]), one["answer"]]
        for stage, found in checks.items()
        for one in found
    )
    return _table(("environment", "asked", "time", "", "answer"), rows)


def _approvals(approvals: Iterable[dict[str, Any]]) -> str:
    rows = (
        [
            one["environment"],
            one["by"],
            _clock(one["at"]),
            f"{one['number']} of {one['needed']}" if one["needed"] else "",
            f"r{one['release']}" if one["release"] else "",
            one["why"],
        ]
        for one in approvals
    )
    return _table(("environment", "by", "time", "approval", "release", "why"), rows)


def _since(commits: dict[str, Any]) -> str:
    return f"Commits since r{commits['release']}" if commits["release"] else "Commits"


def _commits(commits: dict[str, Any]) -> str:
    rows = [[one["id"][:12], one["author"], one["message"]] for one in commits["list"]]
    more = "<p>… and older ones.</p>" if commits["more"] else ""
    problem = f'<p class="bad">{_text(commits["problem"])}</p>' if commits["problem"] else ""
    return _table(("commit", "author", ""), rows) + more + problem


def _environment(name: str, one: dict[str, Any]) -> str:
    before = f", compared with r{one['before']}" if one["before"] else ""
    lines = "\n".join(one["differences"]) or ("no difference" if one["before"] else "the first release here")
    return f"<h3>Configuration of {_text(name)}{_text(before)}</h3><pre>{_text(lines)}</pre>"


def _acts(acts: Iterable[dict[str, Any]]) -> str:
    rows = (_act(one) for one in acts)
    return _table(("entry", "time", "who", "act", "on", "what", "why", "before", "after"), rows)


def _act(one: dict[str, Any]) -> Sequence[str | Link]:
    """``record``: the file of its own record, "" or missing if it has none."""
    number, file = str(one["number"]), one.get("record", "")
    return (
        Link(number, file) if file else number,
        _clock(one["time"]),
        f"{one['who']} ({one['role']})" if one["role"] else str(one["who"]),
        str(one["act"]),
        " ".join(str(one[key]) for key in ("run", "environment", "release") if one[key]),
        own_detail(one),
        str(one["why"]),
        str(one.get("before", "")),
        str(one.get("after", "")),
    )


def _clock(time: str) -> str:
    """``2026-03-01 12:00:05``"""
    return str(time)[:19].replace("T", " ")


def _more(name: str, value: Any) -> str:
    """A part that this page does not know: as it is in the record."""
    import json

    if value in (None, {}, [], ""):
        return ""
    if isinstance(value, str):
        return f"<h3>{_text(_title(name).capitalize())}</h3><p>{_text(value)}</p>"
    rows = isinstance(value, list) and all(isinstance(one, list) for one in value)
    text = "\n".join(map(json.dumps, value)) if rows else json.dumps(value, indent=1, ensure_ascii=False)
    return f"<h3>{_text(_title(name).capitalize())}</h3><pre>{_text(text)}</pre>"


def _title(key: str) -> str:
    return key.replace("_", " ")


# ─────────────────────────────────────────────────────────────────────────────


def _text(text: object) -> str:
    return escape(
        printable(str(text)) if "\n" not in str(text) else "\n".join(map(printable, str(text).split("\n")))
    )


def _ok(good: bool) -> str:
    return "✓" if good else "✗"


def _outcome(outcome: str) -> str:
    kind = "good" if outcome in _GOOD else "dim" if outcome in _NEITHER else "bad"
    return f'<span class="{kind}">{_text(outcome)}</span>'


def _section(title: str, content: str) -> tuple[str, ...]:
    return (f"<h3>{_text(title)}</h3>", content) if content else ()


def _pairs(pairs: Iterable[tuple[str, str]]) -> str:
    rows = "".join(f"<tr><th>{_text(k)}</th><td><code>{_text(v)}</code></td></tr>" for k, v in pairs if v)
    return f"<table>{rows}</table>" if rows else ""


class Link(NamedTuple):
    """A cell that leads to a file of the bundle."""

    text: str
    file: str


def _table(head: Sequence[str], rows: Iterable[Sequence[str | Link]]) -> str:
    """ "" without rows."""
    body = "".join("<tr>" + "".join(_cell(one) for one in row) + "</tr>" for row in rows)
    titles = "".join(f"<th>{_text(one)}</th>" for one in head)
    return f"<table><tr>{titles}</tr>{body}</table>" if body else ""


def _cell(text: str | Link) -> str:
    if isinstance(text, Link):
        return f'<td><a href="{_text(text.file)}">{_text(text.text)}</a></td>'
    kind = {"✓": ' class="good"', "✗": ' class="bad"'}.get(text, "")
    return f"<td{kind}>{_text(text)}</td>"
