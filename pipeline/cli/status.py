"""``pushlive status`` and ``runs``."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from pipeline.cli.command import JSON, PIPELINE, argument, command, whole_number
from pipeline.cli.context import DONE, Context, pipeline_name
from pipeline.cli.terminal import Cell, Paint, age, cleaned, cut, origin_text, table
from pipeline.errors import NotFound
from pipeline.lib.text import printable_lines
from pipeline.lib.units import show_duration, show_size

_MESSAGE = 72  # columns of a commit's message, also where no terminal says how wide it is
_OUTCOMES = {"live": "green", "failed": "red", "superseded": "dim", "cancelled": "dim", "ignored": "dim"}


@command("show what is live in each environment and whether it can be reverted", PIPELINE, JSON)
def status(context: Context) -> int:
    name = pipeline_name(context.args.pipeline)
    answer = context.ask("GET", "/api/status" + (f"?pipeline={quote(name)}" if name else ""))
    if context.json:
        context.print_json(answer)
        return DONE
    terminal = context.terminal
    if text := answer.get("unknown_store"):
        terminal.complain(*(terminal.paint(line, "red bold") for line in printable_lines(f"! {text}")))
    if text := answer.get("replaced"):
        terminal.complain(*(terminal.paint(line, "yellow bold") for line in printable_lines(f"! {text}")))
    if answer.get("config_error"):
        terminal.complain(*config_warning(str(answer["config_error"]), terminal.paint))
    for text in answer.get("undelivered") or ():
        terminal.complain(*(terminal.paint(line, "yellow") for line in printable_lines(f"! {text}")))
    for one in answer.get("costs") or ():
        line = f"! {one['text']}  → `pushlive cost`"
        terminal.complain(*(terminal.paint(each, "yellow") for each in printable_lines(line)))
    entries = [entry for entry in cleaned(answer["pipelines"]) if not name or entry["name"] == name]
    if name and not entries:
        raise NotFound(f"there is no pipeline {name}.", advice="`pushlive status` lists the pipelines.")
    if not entries:
        terminal.say("No pipelines yet. `pushlive init` writes a pipelines.yaml to start from.")
    for number, entry in enumerate(entries):
        terminal.data(*([""] if number else []))
        terminal.data(*pipeline_lines(entry, context.client.now(), terminal.paint, terminal.width))
    if origin := cleaned(answer.get("origin")):
        terminal.data("", terminal.paint(f"Configuration: {origin_text(origin)}", "dim"))
    return DONE


def config_warning(text: str, paint: Paint) -> list[str]:
    """The service keeps using the last good file; nobody should overlook that."""
    lines = printable_lines(text.strip())
    return [
        paint("! pipelines.yaml cannot be used as it is; the last good version stays in use.", "yellow bold"),
        *(f"  {line}" for line in lines),
        "",
    ]


def pipeline_lines(entry: dict[str, Any], now: float, paint: Paint, width: int) -> list[str]:
    """One pipeline: a title with its latest run, a table of its environments, and what needs a person."""
    title = paint(str(entry["name"]), "bold")
    source = " · ".join(str(entry[key]) for key in ("source", "branch") if entry.get(key))
    if source:
        title += "  " + paint(source, "dim")
    if run := entry.get("run"):
        text, style = run_state(run)
        when = float(run.get("ended") or run.get("accepted") or now)
        title += "  " + run["id"] + " " + paint(text, style) + paint(f" {age(now - when)} ago", "dim")
    head = ("", "", "commit", "message", "age", "slot", "", "", "")
    rows = [environment_row(environment, now) for environment in entry["environments"]]
    lines = [
        title,
        *table(head, rows, paint, width=width, flexible=3, spare=(3, 8), right=(4,), long={7: 40}),
    ]
    for environment in entry["environments"]:
        lines += _beside(environment, now, paint)
    return lines + _below(entry, paint)


def environment_row(environment: dict[str, Any], now: float) -> tuple[Cell, ...]:
    """environment, release, commit, message, age, slot, state, revert, address"""
    release = environment.get("release")
    serves = release is not None
    slot = str(environment.get("slot") or "")
    state: Cell = ("serving", "green") if serves else ("empty", "dim")
    health = environment.get("health") or {}
    if health.get("state") == "down":
        state = ("down", "red")
    elif environment.get("problem"):
        state = ("problem", "red")
    elif health.get("state") == "degraded":
        state = (f"{health['serving']}/{health['replicas']} serve", "yellow")
    elif environment.get("maintenance"):
        state = ("maintenance", "yellow")
    elif environment.get("hold"):
        state = ("hold", "yellow")
    elif environment.get("freeze"):
        state = ("frozen", "yellow")
    elif asleep := environment.get("asleep"):
        state = ("waking" if asleep.get("waking") else f"asleep {age(now - float(asleep['since']))}", "dim")
    since = environment.get("since")
    return (
        (str(environment["name"]), "bold"),
        f"r{release}" if serves else ("–", "dim"),
        (str(environment.get("commit") or "")[:7], "dim"),
        cut(str(environment.get("message") or ""), _MESSAGE),
        age(now - float(since)) if since else "",
        (f"● {slot}", slot if slot in ("blue", "green") else "") if slot else "",
        state,
        _revert(environment.get("revert") or {}),
        (str(environment.get("url") or environment.get("address") or ""), "dim"),
    )


def _revert(revert: dict[str, Any]) -> Cell:
    text = str(revert.get("text") or "")
    return (text, "") if revert.get("ready") or not text else (f"revert {text}", "dim")


def _beside(environment: dict[str, Any], now: float, paint: Paint) -> list[str]:
    """``3 replicas, … · worker 2 of 2, restarted 3 times · mail ok 5m ago · volume data 12 MiB``"""
    known = []
    if asleep := environment.get("asleep"):
        known.append(str(asleep["text"]))
    if often := (environment.get("health") or {}).get("revived"):
        known.append(f"did not answer and was started again {_times(often)}")
    if environment.get("autoscaled") and (health := environment.get("health")):
        known.append(f"{health['replicas']} replicas, which an autoscaler sets")
    for one in environment.get("processes") or ():
        running = "–" if one["running"] is None else one["running"]
        often = f", restarted {_times(one['restarts'])}" if one["restarts"] else ""
        known.append(f"{one['process']} {running} of {one['replicas']}{often}")
    for one in environment.get("cron") or ():
        last = [f"{run['outcome']} {age(now - float(run['ended']))} ago" for run in one["runs"][:1]]
        state = "at work" if one.get("running") else next(iter(last), "has not run yet")
        known.append(f"{one['process']} {state}")
    known += [str(one["text"]) for one in environment.get("volumes") or ()]
    answers = environment.get("answers") or {}
    known += [
        str(one["text"])
        for one in (answers, answers.get("latency") or {})
        if one.get("verdict", "worse") != "worse"
    ]
    if (figures := environment.get("figures") or {}).get("text") and not figures["problem"]:
        known.append(str(figures["text"]))
    if untimed := figures.get("latency"):
        known.append(str(untimed))
    for one in environment.get("backups") or ():
        if good := one["good"]:
            ago = age(now - float(good["at"]))
            known.append(f"backup of {one['of']} {ago} ago, {show_size(int(good['size']))}")
    if shift := environment.get("shift"):
        known.append(str(shift["text"]))
    if instead := (environment.get("revert") or {}).get("instead"):
        known.append(str(instead))
    bake = environment.get("bake") or {}
    if bake.get("state") in ("baking", "baked"):
        known.append(str(bake["text"]))
    return [paint(f"  · {environment['name']}: {' · '.join(known)}", "dim")] if known else []


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _failing(name: str, environment: dict[str, Any], paint: Paint) -> list[str]:
    """Processes beside the web one that do not run as they should, and where to look."""
    where, lines = environment["name"], []
    for one in environment.get("processes") or ():
        if one["text"]:
            down = one["state"] == "down"
            text = f"  {'✗' if down else '!'} {where}: {one['process']}: {one['text']}"
            see = paint(f"`pushlive logs {name} {where} --process {one['process']}`", "bold")
            lines.append(paint(text, "red" if down else "yellow") + "  → " + see)
    return lines


def _scheduled(name: str, environment: dict[str, Any], paint: Paint) -> list[str]:
    """Processes whose last run by a schedule went wrong."""
    bad = ("failed", "timed out", "missed", "unknown")
    return [
        paint(f"  ! {environment['name']}: cron {one['process']} {run['outcome']}", "yellow")
        + f"  → `pushlive cron {name} --env {environment['name']}`"
        for one in environment.get("cron") or []
        for run in one["runs"][:1]
        if run["outcome"] in bad
    ]


def _below(entry: dict[str, Any], paint: Paint) -> list[str]:
    name, lines = entry["name"], []
    if entry.get("problem"):
        lines.append(paint(f"  ✗ {entry['problem']}", "red"))
    preview = entry.get("preview")
    if entry.get("removed"):
        whose = "" if preview else f"{name} "
        lines.append(paint(f"  ! {whose}{entry['removed']}", "yellow"))
    elif preview:
        lines.append(paint(f"  · {preview['text']}", "yellow" if preview["state"] == "waiting" else "dim"))
    run = entry.get("run") or {}
    if run.get("waits_for"):
        lines.append(paint(f"  · {run['id']}: {run['waits_for']}", "dim"))
    if (unusual := run.get("unusual")) and unusual["seconds"] > unusual["usual"]:
        lines.append(paint(f"  · {run['id']}: {unusual['text']}", "dim"))
    for environment in entry["environments"]:
        where = environment["name"]
        if environment.get("removed") and not entry.get("removed"):
            lines.append(paint(f"  ! {where} {environment['removed']}", "yellow"))
        if problem := (environment.get("figures") or {}).get("problem"):
            lines.append(paint(f"  ! {where}: requests are not counted: {problem}", "yellow"))
        lines += _health(name, environment, paint) + _worse(name, environment, paint)
        if environment.get("problem"):
            lines.append(paint(f"  ✗ {where}: {environment['problem']}", "red"))
        for one in environment.get("unfinished") or ():
            text = f"  ✗ {where}: {one['text']}"
            lines.append(paint(text, "red") + "  → " + paint(f"`{one['command']}`", "bold"))
        for one in environment.get("accessories") or ():
            if one.get("problem"):
                text = f"  ✗ {where}: accessory {one['name']}: {one['problem']}"
                lines.append(paint(text, "red") + "  → " + paint("`pushlive accessory status`", "bold"))
        for one in environment.get("backups") or ():
            if one["problem"]:
                text = f"  ! {where}: backup of {one['of']}: {one['problem']}"
                lines.append(paint(text, "yellow") + "  → " + paint("`pushlive backups`", "bold"))
        said = str((environment.get("hold") or {}).get("reason") or "")
        if (bake := environment.get("bake") or {}).get("state") == "failed" and bake["text"] not in said:
            lines.append(paint(f"  ! {where}: {bake['text']}", "yellow"))
        lines += _failing(name, environment, paint) + _scheduled(name, environment, paint)
        if maintenance := environment.get("maintenance"):
            ends = paint(f"`{maintenance['command']}`", "bold")
            lines.append(paint(f"  ! {where} is {maintenance['text']}", "yellow") + "  → " + ends)
        if hold := environment.get("hold"):
            by = f" ({hold['by']})" if hold.get("by") else ""
            resume = paint(f"`pushlive resume {name} --env {where}`", "bold")
            lines.append(paint(f"  ! {where} is held: {hold['reason']}{by}", "yellow") + "  → " + resume)
        lines += _freezes(environment, paint)
        for item in environment.get("quarantine") or []:
            release = f"`pushlive unquarantine {name} r{item['release']} --env {where}`"
            lines.append(
                paint(f"  · {where}: r{item['release']} in quarantine: {item['reason']}  → {release}", "dim")
            )
    for one in entry.get("forecasts") or ():
        lines.append(paint(f"  ! {one['text']}", "yellow") + f"  → `pushlive timings {name}`")
    if undeployed := entry.get("undeployed"):
        lines.append(paint(f"  · {undeployed['text']}  → `{undeployed['command']}`", "dim"))
    lines += [line for one in waits(entry) for line in _waiting(name, one, paint)]
    return lines


def waits(entry: dict[str, Any]) -> list[dict[str, Any]]:
    """Every run that waits; earlier services name one."""
    found: list[dict[str, Any]] = entry.get("waits") or [entry["waiting"]] * bool(entry.get("waiting"))
    return found


def _waiting(name: str, waiting: dict[str, Any], paint: Paint) -> list[str]:
    release = f"r{waiting['release']}, " if waiting.get("release") else ""
    command = (
        f"resume {name} --env {waiting['gate']}" if waiting.get("held") else f"promote '{waiting['id']}'"
    )
    text = f"  ▷ {waiting['id']} ({release}{waiting['short']}) waits before {waiting['gate']}"
    more = [paint(f"    ! {one}", "yellow") for one in waiting.get("returning") or ()]
    if freeze := waiting.get("freeze"):
        return [paint(f"{text}: {freeze['text']}", "yellow"), *more]
    if waiting.get("frozen") and not waiting.get("held"):
        return [paint(f"{text} and continues within seconds: nothing freezes it any more", "yellow"), *more]
    if back := waiting.get("taken_back"):
        return [
            paint(f"{text}: {back['text']}", "yellow") + "  → " + paint(f"`{back['again']}`", "bold"),
            paint(f"    to promote it all the same: `{back['force']}`", "dim"),
            *more,
        ]
    if approval := waiting.get("approval"):
        text += f": {approval['text']}"
    return [paint(text, "yellow") + "  → " + paint(f"`pushlive {command}`", "bold"), *more]


def _freezes(environment: dict[str, Any], paint: Paint) -> list[str]:
    if freeze := environment.get("freeze"):
        return [paint(f"  ! {freeze['text']}", "yellow") + "  → " + paint(f"`{freeze['command']}`", "bold")]
    found = [environment.get("thaw"), environment.get("next_freeze")]
    return [paint(f"  · {one['text']}", "dim") for one in found if one]


def _health(name: str, environment: dict[str, Any], paint: Paint) -> list[str]:
    """What is wrong with the release that serves, and where to look."""
    health, where = environment.get("health") or {}, environment["name"]
    if not health.get("text"):
        return []
    down = health["state"] == "down"
    line = paint(f"  {'✗' if down else '!'} {where}: {health['text']}", "red" if down else "yellow")
    return [line + "  → " + paint(f"`pushlive logs {name} --app --env {where}`", "bold")]


def _worse(name: str, environment: dict[str, Any], paint: Paint) -> list[str]:
    """That the release that serves answers with more errors, or more slowly, than the one before it."""
    answers, where = environment.get("answers") or {}, environment["name"]
    see = paint(f"`pushlive logs {name} --app --env {where}`", "bold")
    would = (answers.get("trial") or {}).get("would")
    more = f". {would}" if would else ""
    found = [one for one in (answers, answers.get("latency") or {}) if one.get("verdict") == "worse"]
    return [
        paint(
            f"  ! {where}: r{answers['release']}: {one['text']}{more if one is found[-1] else ''}", "yellow"
        )
        + f"  → {see}"
        for one in found
    ]


def run_state(run: dict[str, Any]) -> tuple[str, str]:
    """A run's state in a word or two, and its style."""
    if run.get("state") == "ended":
        outcome = str(run.get("outcome"))
        return outcome, _OUTCOMES.get(outcome, "")
    if run.get("state") == "waiting":
        return f"waits before {run.get('gate')}", "yellow"
    if run.get("behind"):  # an earlier service does not say
        return f"waits for {run['behind']}", "yellow"
    stage = f" {run['stage']}" if run.get("stage") else ""
    return f"{run.get('state')}{stage}", "cyan"


@command(
    "list the latest runs",
    PIPELINE,
    argument("--limit", type=whole_number, default=20, metavar="N", help="how many (default: 20)"),
    JSON,
)
def runs(context: Context) -> int:
    name = pipeline_name(context.args.pipeline)
    answer = context.newest("/api/runs", name)
    if context.json:
        context.print_json(answer)
        return DONE
    found = cleaned(answer["runs"])
    if not found:
        context.terminal.say("No runs yet. `git push` or `pushlive deploy PIPELINE` starts the first one.")
        return DONE
    terminal = context.terminal
    rows = [run_row(run, context.client.now()) for run in found]
    head = ("run", "", "release", "commit", "message", "by", "accepted", "took", "waited")
    terminal.data(
        *table(head, rows, terminal.paint, width=terminal.width, flexible=4, right=(6, 7, 8), indent="")
    )
    return DONE


def run_row(run: dict[str, Any], now: float) -> tuple[Cell, ...]:
    """run, state, release, commit, message, by, accepted, took, waited"""
    whole = float(run.get("seconds") or 0.0)
    took = float(run.get("machine", whole))  # an earlier service does not say
    waited = whole - took
    back = f"revert to r{run['release']}: " if run.get("release") else "revert: "
    kind = back if run.get("kind") == "revert" else ""
    return (
        (str(run["id"]), "bold"),
        run_state(run),
        f"r{run['release']}" if run.get("release") else "",
        (str(run.get("short") or str(run.get("commit") or "")[:7]), "dim"),
        cut(kind + str(run.get("message") or run.get("reason") or ""), _MESSAGE),
        str(run.get("by") or run.get("pusher") or ""),
        (f"{age(now - float(run['accepted']))} ago", "dim"),
        (show_duration(took) if took else "") + _unusual(run),
        (show_duration(waited) if waited >= 0.1 else "", "dim"),
    )


def _unusual(run: dict[str, Any]) -> str:
    """How much slower (+) or faster (-) it was than usual: ``pushlive show`` says why."""
    found = run.get("unusual")
    if not found:
        return ""
    more = float(found["seconds"]) - float(found["usual"])
    return f" ({'+' if more > 0 else '-'}{show_duration(abs(more))})"
