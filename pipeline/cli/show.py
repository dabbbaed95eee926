"""``pushlive show``: one run with its times, its checks, and why it failed."""

from __future__ import annotations

import time
from typing import Any

from pipeline.cli.command import JSON, RUN, command
from pipeline.cli.context import DONE, Context
from pipeline.cli.status import run_state
from pipeline.cli.terminal import Cell, Paint, cleaned, origin_text, table, waterfall
from pipeline.lib.units import show_duration
from pipeline.runlog.failure_card import failure_card

_BAR = 28  # columns
NOTED = 0.5  # seconds in no step


@command("show a run: its steps, times and checks, and why it failed", RUN, JSON)
def show(context: Context) -> int:
    _, path = context.run_path(context.args.run)
    answer = context.ask("GET", path)
    if context.json:
        context.print_json(answer)
    else:
        terminal = context.terminal
        terminal.data(*run_lines(cleaned(answer), terminal.paint, terminal.width))
    return DONE


def run_lines(answer: dict[str, Any], paint: Paint, width: int) -> list[str]:
    """Everything about one run."""
    run, timing = answer["run"], answer.get("timing") or {}
    blocks = [
        header(run, answer.get("release"), paint, (answer.get("configuration") or {}).get("origin")),
        stage_lines(timing, paint, width),
        shift_lines(run, timing, paint),
        [*time_lines(timing, paint), *unusual_lines(run, paint)],
        check_lines(run.get("checks") or {}, paint, width),
        failure_card(run["failure"], paint) if run.get("failure") else [],
        next_lines(run, paint),
    ]
    lines: list[str] = []
    for block in blocks:
        lines += ["", *block] if block and lines else block
    return lines


def header(
    run: dict[str, Any],
    release: dict[str, Any] | None,
    paint: Paint,
    origin: dict[str, Any] | None = None,
) -> list[str]:
    state, style = run_state(run)
    title = f"{paint(run['id'], 'bold')}  {paint(state, style + ' bold')}"
    if run.get("reason") and run["reason"] != (run.get("failure") or {}).get("message"):
        title += f"  {run['reason']}"
    what = f"{run.get('short') or run['commit'][:7]} {run.get('message') or ''}".rstrip()
    ref = str(run.get("ref") or "").removeprefix("refs/heads/")
    who = run.get("by") or run.get("pusher")
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(float(run.get("accepted") or 0)))
    parts = [f"{run['kind']} to {ref}" if run["kind"] == "push" and ref else run["kind"]]
    parts += [f"by {who}"] if who else []
    parts += [f"author {run['author']}"] if run.get("author") not in (None, "", who) else []
    parts += [when]
    if release:
        parts.append(
            f"release r{release['number']}, image {str(release['image']).removeprefix('sha256:')[:12]}"
        )
    bakes = [
        paint(
            f"{one['environment']}: {one['text']}",
            "yellow" if one["state"] in ("taken back", "failed") else "dim",
        )
        for one in run.get("bakes") or ()
    ]
    bakes += [paint(f"{one['environment']}: {one['text']}", "yellow") for one in run.get("trials") or ()]
    bakes += [paint(run["waits_for"], "yellow")] if run.get("waits_for") else []
    from_commit = [paint(f"configuration {origin_text(origin)}", "dim")] if origin else []
    return [title, what, paint(" · ".join(parts), "dim"), *from_commit, *_approved(run, paint), *bakes]


def _approved(run: dict[str, Any], paint: Paint) -> list[str]:
    """Who let it into which environment, and when."""
    people: dict[str, list[str]] = {}
    for one in run.get("approvals") or ():
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(float(one["at"])))
        people.setdefault(str(one["environment"]), []).append(f"{one['by']} ({when})")
    return [paint(f"approved for {name} by {', '.join(found)}", "dim") for name, found in people.items()]


def stage_lines(timing: dict[str, Any], paint: Paint, width: int) -> list[str]:
    """Stages and steps with their times; each bar begins where the one before ended."""
    stages = timing.get("stages") or []
    whole = sum(float(stage["seconds"]) for stage in stages)
    over, begun = str(timing.get("over") or ""), 0.0
    rows: list[tuple[Cell, ...]] = []
    for stage in stages:
        seconds, inside = float(stage["seconds"]), begun
        pad, bar = waterfall(begun, seconds, whole, _BAR)
        rows.append(((stage["stage"], "bold"), "", (show_duration(seconds), "bold"), (pad + bar, "dim"), ""))
        for step in stage.get("steps") or []:
            rows.append(_step_row(stage["stage"], step, inside, whole, over))
            inside += float(step["seconds"])
        begun += seconds
    head = ("", "", "", "", "")
    return table(head, rows, paint, width=width, flexible=4, right=(2,), indent="") if rows else []


def _step_row(stage: str, step: dict[str, Any], begun: float, whole: float, over: str) -> tuple[Cell, ...]:
    seconds, failed = float(step["seconds"]), not step.get("ok", True)
    late = over == f"{stage}/{step['step']}"
    style = "red" if failed else "yellow" if late else "cyan"
    pad, bar = waterfall(begun, seconds, whole, _BAR)
    detail = str(step.get("detail") or "")
    if late:
        detail = f"over the budget  {detail}".rstrip()
    mark = "✗ " if failed else ""
    name = (mark + str(step["step"]), "red" if failed else "")
    return (
        "",
        name,
        show_duration(seconds),
        (pad + bar, style),
        (detail, style if failed or late else "dim"),
    )


def shift_lines(run: dict[str, Any], timing: dict[str, Any], paint: Paint) -> list[str]:
    """What a release answered with each part of the visitors that it had, and where it is in that now. Those of a
    release that failed are on its card."""
    found = [
        (str(stage["stage"]), str(line))
        for stage in timing.get("stages") or []
        for step in stage.get("steps") or []
        if step.get("ok", True)
        for line in step.get("figures") or ()
    ]
    lines = [paint(f"{stage}: {line}", "dim") for stage, line in found]
    if shift := run.get("shift"):
        before = shift["figures"][:-1]
        lines += [paint(f"{shift['environment']}: {line}", "dim") for line in before]
        lines.append(f"{shift['environment']}: {shift['text']}")
    return lines


def time_lines(timing: dict[str, Any], paint: Paint) -> list[str]:
    """Waiting and working times, and both budgets."""
    if not timing:
        return []
    budget = timing.get("budget") or {}
    deploy, whole = float(timing.get("deploy") or 0), float(timing.get("whole") or 0)
    rows: list[tuple[Cell, ...]] = [
        (("queue wait", "dim"), show_duration(float(timing.get("queue") or 0)), _behind(timing), ""),
        (("human wait", "dim"), show_duration(float(timing.get("human") or 0)), "", ""),
        (("machine time", "dim"), show_duration(float(timing.get("machine") or 0)), _between(timing), ""),
    ]
    if budget.get("deploy"):
        limit = float(budget["deploy"])
        left = limit - deploy if timing.get("left") is None else float(timing["left"])
        rows.append(
            (
                ("image ready → live", "dim"),
                show_duration(deploy),
                f"of {show_duration(limit)}",
                _left(timing, left),
            )
        )
    if budget.get("whole"):
        verdict: Cell = ("serious: over the whole budget", "red bold") if timing.get("serious") else ""
        rows.append(
            (
                ("push → live", "dim"),
                show_duration(whole),
                f"of {show_duration(float(budget['whole']))}",
                verdict,
            )
        )
    return table(("", "", "", ""), rows, paint, right=(1,), indent="")


def _behind(timing: dict[str, Any]) -> str:
    """What of the queue no budget counts."""
    seconds = float(timing.get("after_shift") or 0)
    return f"{show_duration(seconds)} of it behind another run's shift" if seconds >= 0.01 else ""


def _between(timing: dict[str, Any]) -> str:
    """What of the machine time no step accounts for, if it is worth a word."""
    seconds = float(timing.get("between") or 0)
    return f"{show_duration(seconds)} of it in no step" if seconds >= NOTED else ""


def unusual_lines(run: dict[str, Any], paint: Paint) -> list[str]:
    """What made it slower or faster than usual."""
    unusual = run.get("unusual")
    if not unusual:
        return []
    return [paint(str(unusual["text"]), "yellow" if unusual["seconds"] > unusual["usual"] else "green")]


def _left(timing: dict[str, Any], left: float) -> Cell:
    if left >= 0:
        return f"{show_duration(left)} left", "green"
    spender = f", most of it in {timing['over']}" if timing.get("over") else ""
    return f"{show_duration(-left)} over{spender}", "yellow bold"


def check_lines(checks: dict[str, Any], paint: Paint, width: int) -> list[str]:
    """Smoke checks by stage: the request, the answer, and how long it took."""
    rows: list[tuple[Cell, ...]] = []
    for stage, results in checks.items():
        for number, check in enumerate(results):
            ok = bool(check["ok"])
            tries = f"{check['attempts']} attempts" if int(check.get("attempts") or 1) > 1 else ""
            rows.append(
                (
                    (stage if number == 0 else "", "bold"),
                    ("✓", "green") if ok else ("✗", "red bold"),
                    str(check["asked"]),
                    (str(check["answer"]), "" if ok else "red"),
                    show_duration(float(check["seconds"])),
                    (tries, "dim"),
                )
            )
    head = ("", "", "check", "answer", "took", "")
    return table(head, rows, paint, width=width, flexible=3, right=(4,), indent="") if rows else []


def next_lines(run: dict[str, Any], paint: Paint) -> list[str]:
    """The command that a person most likely needs now."""
    name, state, outcome = run["pipeline"], run.get("state"), run.get("outcome")
    if state == "waiting" and run.get("held"):
        resume = f"`pushlive resume {name} --env {run.get('gate')}`"
        after = [str(run["approval"]["text"])] if run.get("approval") else []
        return [*after, f"{paint(resume, 'bold')} lifts the hold"]
    if freeze := run.get("freeze"):
        return [str(freeze["text"]), f"{paint('`' + freeze['command'] + '`', 'bold')} lets it in now"]
    if state == "waiting" and run.get("frozen"):
        return [f"nothing freezes {run.get('gate')} any more: it continues within seconds"]
    if back := run.get("taken_back"):
        return [
            str(back["text"]),
            f"{paint('`' + back['again'] + '`', 'bold')} puts it back there",
            paint(f"`{back['force']}` promotes it all the same", "dim"),
        ]
    if state == "waiting":
        promote = f"`pushlive promote '{run['id']}'`"
        if approval := run.get("approval"):
            return [str(approval["text"]), f"{paint(promote, 'bold')} approves it"]
        return [f"{paint(promote, 'bold')} lets it into {run.get('gate')}"]
    if state != "ended":
        follow = f"`pushlive follow '{run['id']}'`"
        return [f"{paint(follow, 'bold')} follows it"]
    if outcome in ("failed", "cancelled"):
        again = (run.get("newer") or {}).get("command") or f"pushlive retry '{run['id']}'"
        log = [f"`pushlive logs '{run['id']}'` prints its whole log"] if outcome == "failed" else []
        if refused := run.get("no_retry"):
            return [*(paint(text, "dim") for text in log), str(refused)]
        return [paint(text, "dim") for text in (*log, f"`{again}` runs it again")]
    if outcome == "live" and run.get("revert"):
        return [paint(f"`pushlive revert {name}` puts the previous release back", "dim")]
    return []
