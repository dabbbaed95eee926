"""What notifications say, and which receivers get them. A message is queued in the outbox by the transaction that
records what it is about; ``pipeline.notify.delivery`` sends it.

The receivers are those of the run's own configuration. A configuration that was deployed by hand does not choose them:
then they are those of the current pipelines.yaml.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from pipeline.config.models import Config
from pipeline.domain import budget
from pipeline.domain.capacity import words
from pipeline.domain.capacity.trend import Shortage
from pipeline.domain.cron.records import CronEntry
from pipeline.domain.environment import Bake, Down, Environment, Trial, WorseOutcome
from pipeline.domain.outages import what_next
from pipeline.domain.run import Kind, Outcome, Run
from pipeline.domain.volumes import UnfinishedCopy, VolumeRef
from pipeline.domain.watching import trials
from pipeline.errors import ConfigError, single_stops
from pipeline.lib import codec
from pipeline.lib.text import one_line
from pipeline.lib.units import show_duration, write_duration
from pipeline.store import Transaction
from pipeline.store.configurations import CURRENT, Refused, parsed

TEXT = 600  # characters of one text in a message


@dataclass(frozen=True)
class Notice:
    """One message as it is kept in the outbox. The receiver gets ``id`` with it: the same id twice is the same message.
    ``at``: seconds since the epoch."""

    id: str
    event: str
    at: float
    text: str
    pipeline: str
    run: int = 0  # 0 if it is not about a run
    kind: str = ""
    outcome: str = ""
    environment: str = ""
    release: int | None = None
    commit: str = ""
    message: str = ""
    by: str = ""
    reason: str = ""
    serious: bool = False
    shift: dict[str, Any] = field(
        default_factory=dict
    )  # of a release that had a part of the visitors: its figures


def ended(tx: Transaction, run: Run) -> Run:
    """Queues the notification of a run's end; returns the run. Call it once, where the end is recorded."""
    config = _config(tx, run)
    reverted = run.kind == Kind.REVERT and run.outcome == Outcome.LIVE
    event = "reverted" if reverted else str(run.outcome)
    ran = run.outcome in (Outcome.LIVE, Outcome.FAILED)
    serious = ran and _serious(config, run)
    # The reason of a live run says already that it was serious by its own configuration.
    marked = run.outcome == Outcome.LIVE and _serious(_parsed(tx.config(run.config)), run)
    text = ("SERIOUS · " if serious and not marked else "") + _end_text(run)
    notice = _of_run(run, f"{run.id}/{run.outcome}", event, run.ended, text)
    where = run.failure.stage if run.failure else run.stage
    notice = _with(notice, environment=where, outcome=str(run.outcome), serious=serious)
    _queue(tx, config, replace(notice, shift=_shift(run)))
    return run


def _shift(run: Run) -> dict[str, Any]:
    """Of the last environment in which a release of the run had a part of the visitors; {} if there is none."""
    return next((step.data for step in reversed(run.steps) if step.step == budget.SHIFT), {})


def waits(tx: Transaction, run: Run, why: str, text: str) -> Run:
    """Queues the notification that the run waits before ``run.gate``; returns the run. ``text``: as its event says it,
    with what lets the run go on."""
    text = f"{run.id} {text}"
    name = f"{run.id}/waiting/{run.gate}/{_stamp(run.gate_since)}"
    notice = _with(_of_run(run, name, "waiting", run.gate_since, text), environment=run.gate, reason=why)
    _queue(tx, _config(tx, run), notice)
    return run


def opened(tx: Transaction, run: Run, environment: str, since: float, now: float, still: str = "") -> Run:
    """Queues the notification that the freeze is over for whose end the run has waited since then; returns the run.
    ``still``: why it does not go on, as a hold."""
    goes = f"still waits with r{run.release}: {still}" if still else f"continues with r{run.release}"
    text = f"{environment} of {run.pipeline} is no longer frozen: {run.id} {goes}"
    name = f"{run.id}/opened/{environment}/{_stamp(since)}"
    _queue(tx, _config(tx, run), _with(_of_run(run, name, "opened", now, text), environment=environment))
    return run


def held(tx: Transaction, environment: Environment, digest: str, run: Run | None = None) -> Environment:
    """Queues the notification that the environment is on hold, by a person or because of ``run``; returns the
    environment. ``digest``: the hash of the configuration that names the receivers, if there is no run."""
    if environment.hold is None:
        return environment
    why, by, at = environment.hold.reason, environment.hold.by, environment.hold.since
    resume = f"`pushlive resume {environment.pipeline} --env {environment.name}`"
    text = f"{environment.id} is held: {why} (by {by}). To lift the hold: {resume}"
    notice = Notice(f"{environment.id}/held/{_stamp(at)}", "held", at, text, environment.pipeline)
    if run:
        notice = _of_run(run, notice.id, "held", at, text)
    config = _config(tx, run) if run else _parsed(tx.config(digest))
    _queue(tx, config, _with(notice, environment=environment.name, reason=why, by=by))
    return environment


def down(tx: Transaction, environment: Environment) -> None:
    """Queues the notification that the release that serves there does not work any more."""
    found = environment.down
    if found is None:
        return
    text = f"{environment.id} is down: r{found.release}, {found.said}. {what_next(environment)}"
    _of_health(tx, environment, found, "down", found.since, text)


def degraded(tx: Transaction, environment: Environment) -> None:
    """Queues the notification that only some replicas of the release that serves there still do."""
    found = environment.degraded
    if found is None:
        return
    text = f"{environment.id} is degraded: r{found.release}, {found.said}. {what_next(environment)}"
    _of_health(tx, environment, found, "degraded", found.since, text)


def up(tx: Transaction, environment: Environment, found: Down, now: float, what: str = "down") -> None:
    """Queues the notification that ``what`` was reported is over: that it is down, or degraded."""
    does = "is up again" if what == "down" else "serves with all replicas again,"
    text = (
        f"{environment.id} {does} with r{environment.serving}. r{found.release} was reported as {what} "
        f"{show_duration(now - found.since)} ago."
    )
    _of_health(tx, environment, found, "up", now, text)


def restarted(tx: Transaction, environment: Environment, replica: str, said: str, now: float) -> None:
    """Queues the notification that a web container did not answer and is started again."""
    release = environment.serving
    what = f"{environment.id}: {replica} of r{release} did not answer and was started again: {said}"
    text = f"{what}. {what_next(environment)}"
    name = f"{environment.id}/restarted/{replica}/{_stamp(now)}"
    notice = Notice(name, "restarted", now, "", environment.pipeline, release=release)
    notice = _with(notice, text=text, environment=environment.name, reason=said)
    _queue(tx, _parsed(tx.config(tx.fact(CURRENT))), notice)


def bake_failed(tx: Transaction, environment: Environment, bake: Bake) -> None:
    """Queues the notification that a release failed while it was watched, and was left where it is."""
    text = f"{environment.id}: {bake.reason}. {what_next(environment)}"
    _of_bake(tx, environment, bake, "bake", text)


def baked(tx: Transaction, environment: Environment, bake: Bake) -> None:
    """Queues the notification that a release did not fail while it was watched."""
    text = f"{environment.id}: r{bake.release} is baked, {write_duration(bake.lasts)} after its switch"
    _of_bake(tx, environment, bake, "baked", text)


def _of_bake(tx: Transaction, environment: Environment, bake: Bake, event: str, text: str) -> None:
    name = f"{environment.id}/{event}/{bake.run}/{_stamp(bake.since)}"
    notice = Notice(name, event, bake.ended, "", environment.pipeline, release=bake.release)
    notice = _with(notice, text=text, environment=environment.name, reason=bake.reason)
    _queue(tx, _parsed(tx.config(tx.fact(CURRENT))), notice)


def worse(tx: Transaction, environment: Environment, trial: Trial) -> None:
    """Queues the notification that a release answers worse than the one before it, and what followed from that."""
    text = f"{environment.id}: {trials.text(trial, environment.pipeline)}."
    if trial.outcome != WorseOutcome.TAKEN_BACK:
        text += f" {what_next(environment)}"
    name = f"{environment.id}/worse/{trial.run}/{_stamp(trial.since)}"
    notice = Notice(name, "worse", trial.ended, "", environment.pipeline, release=trial.release)
    notice = _with(notice, text=text, environment=environment.name, reason=trial.reason)
    _queue(tx, _parsed(tx.config(tx.fact(CURRENT))), notice)


def slowing(tx: Transaction, run: Run, budget: str, text: str) -> None:
    """Queues the notification that a budget will be exceeded if runs keep growing; ``run`` is the one that shows it."""
    see = f"`pushlive timings {run.pipeline}` shows which steps grow."
    notice = _of_run(
        run, f"{run.id}/slowing/{budget}", "slowing", run.ended, f"{run.pipeline}: {text}. {see}"
    )
    _queue(tx, _config(tx, run), _with(notice, reason=text))


def process_failing(tx: Transaction, environment: Environment, process: str) -> None:
    """Queues the notification that a process beside the web one does not stay up: a part of what serves is missing."""
    found = environment.failing[process]
    see = f"`pushlive logs {environment.pipeline} {environment.name} --process {process}` prints its output."
    text = f"{environment.id} is degraded: {process} of r{found.release}: {found.said}. {see}"
    _of_health(tx, environment, found, "degraded", found.since, text, process)


def process_up(tx: Transaction, environment: Environment, process: str, found: Down, now: float) -> None:
    """Queues the notification that this is over."""
    ago = show_duration(now - found.since)
    text = f"{environment.id}: {process} runs again, with r{environment.serving}."
    if process not in environment.processes:
        text = f"{environment.id}: r{environment.serving} has no process {process} any more."
    text += f" {process} of r{found.release} was reported {ago} ago."
    _of_health(tx, environment, found, "up", now, text, process)


def cron(tx: Transaction, environment: Environment, process: str, entry: CronEntry, text: str) -> None:
    """Queues the notification that a run by a schedule failed, or did not take place."""
    name = f"{environment.id}/cron/{process}/{_stamp(entry.at)}/{entry.outcome}"
    see = f"`pushlive cron {environment.pipeline} --env {environment.name}`"
    notice = Notice(name, "cron", entry.ended, "", environment.pipeline, release=entry.release or None)
    whole = _with(notice, text=f"{text}. Its output: {see}", environment=environment.name, reason=entry.said)
    _queue(tx, _parsed(tx.config(tx.fact(CURRENT))), whole)


def backup(tx: Transaction, ref: VolumeRef, pipelines: Iterable[str], at: float, text: str) -> None:
    """Queues the notification that a backup failed, is late, or is good again, for the receivers of those pipelines."""
    see = "`pushlive backups` shows the last good one."
    what = f"{ref.owner}/{ref.environment}" if ref.kind == "accessory" else str(ref)
    config = _parsed(tx.config(tx.fact(CURRENT)))
    for pipeline in pipelines:
        name = f"{ref}/backup/{pipeline}/{_stamp(at)}"
        notice = Notice(name, "backup", at, "", pipeline)
        whole = _with(notice, text=f"{what}: {text}. {see}", environment=ref.environment, reason=text)
        _queue(tx, config, whole)


def unfinished(tx: Transaction, one: UnfinishedCopy, pipelines: Iterable[str], at: float) -> None:
    """Queues the notification that the copy of a volume was broken off, for the receivers of those pipelines."""
    config = _parsed(tx.config(tx.fact(CURRENT)))
    for pipeline in pipelines:
        name = f"{one.ref}/unfinished/{pipeline}/{_stamp(one.since)}"
        notice = Notice(name, "backup", at, "", pipeline)
        whole = _with(
            notice, text=f"{one.text()}. {one.advice}", environment=one.ref.environment, reason=one.text()
        )
        _queue(tx, config, whole)


def cost(tx: Transaction, pipeline: str, name: str, at: float, text: str) -> None:
    """Queues the notification that a month comes close to a cap, or passes it. ``pipeline``: "" for the month in all,
    which every receiver is told of; ``name``: tells it from every other message about that cap."""
    config = _parsed(tx.config(tx.fact(CURRENT)))
    notice = Notice(f"cost/{pipeline or 'in all'}/{name}", "cost", at, "", pipeline)
    whole = _with(notice, text=f"{text}. `pushlive cost` shows what costs how much.", reason=text)
    if pipeline:
        _queue(tx, config, whole)
    else:
        _queue_for_all(tx, config, whole)


def configuration(tx: Transaction, told: Refused, text: str) -> None:
    """Queues the notification about a configuration that was refused, or that is right again, for the receivers of the
    one in force: those of every pipeline."""
    config = _parsed(tx.config(tx.fact(CURRENT)))
    name = f"configuration/{_stamp(told.at)}/{told.commit[:12] or 'file'}"
    notice = Notice(name, "configuration", told.at, "", "", commit=told.commit)
    _queue_for_all(tx, config, _with(notice, text=text, by=told.by, reason=told.problem))


def _queue_for_all(tx: Transaction, config: Config, notice: Notice) -> None:
    """Queues one message for each receiver of any pipeline that wants it."""
    text = codec.dump(notice)
    receivers = (*config.notify, *(one for name in config.pipelines for one in config.notify_of(name)))
    for url in dict.fromkeys(one.url for one in receivers if notice.event in one.when):
        tx.message(url, text)


def shortage(tx: Transaction, one: Shortage, now: float) -> None:
    """Queues the notification that something of a machine will be used up, for the receivers of every pipeline."""
    name = f"filling/{one.engine}/{one.what}/{_stamp(now)}"
    text = f"{words.text(one, now)}. {words.advice(one)}"
    notice = _with(Notice(name, "filling", now, "", ""), text=text, reason=words.text(one, now))
    _queue_for_all(tx, _parsed(tx.config(tx.fact(CURRENT))), notice)


def _of_health(
    tx: Transaction,
    environment: Environment,
    found: Down,
    event: str,
    at: float,
    text: str,
    process: str = "",
) -> None:
    name = "/".join(filter(None, (environment.id, event, process, _stamp(found.since))))
    notice = Notice(name, event, at, text, environment.pipeline, release=environment.serving)
    notice = _with(notice, text=text, environment=environment.name, reason=found.said)
    _queue(tx, _parsed(tx.config(tx.fact(CURRENT))), notice)


def _stamp(at: float) -> str:
    return str(int(at * 1000))


def _with(notice: Notice, **changes: str | bool) -> Notice:
    short = {k: single_stops(one_line(v))[:TEXT] if isinstance(v, str) else v for k, v in changes.items()}
    return replace(notice, **short)  # type: ignore[arg-type]


def _of_run(run: Run, name: str, event: str, at: float, text: str) -> Notice:
    return _with(
        Notice(
            name,
            event,
            at,
            single_stops(one_line(text))[: 2 * TEXT],
            run.pipeline,
            run.number,
            run.kind.value,
            release=run.release,
            commit=run.commit,
        ),
        message=run.message,
        by=run.pusher or run.by,
        reason=run.reason,
    )


def _end_text(run: Run) -> str:
    why = run.reason
    if run.failure:
        where = f"{run.failure.stage}/{run.failure.step}"
        why = f"{where}: {run.failure.message} {run.failure.advice}".strip()
    what = f"reverted {run.stages[-1]}" if run.kind == Kind.REVERT and run.outcome == Outcome.LIVE else ""
    what = what or ("is live" if run.outcome == Outcome.LIVE else str(run.outcome))
    who = run.pusher or run.by
    about = " ".join(part for part in (run.short, run.message) if part)
    return f"{run.id} {what}: {why}" + (f" · {about}" if about else "") + (f" · by {who}" if who else "")


def _serious(config: Config, run: Run) -> bool:
    limits = config.budget_of(run.pipeline) if run.pipeline in config.pipelines else config.budget
    return bool(budget.timing(run, limits, run.ended)["serious"])


def _config(tx: Transaction, run: Run) -> Config:
    """The configuration that names the receivers."""
    by_hand = run.from_release is not None
    return _parsed(tx.config(tx.fact(CURRENT) if by_hand else run.config))


def _parsed(text: str) -> Config:
    try:
        return parsed(text)
    except ConfigError:
        return Config()  # written by another version: better no notification than a failed run


def _queue(tx: Transaction, config: Config, notice: Notice) -> None:
    """Queues one message for each receiver that wants it, even if several of its ``when`` apply."""
    occasions = {notice.event} | ({"serious"} if notice.serious else set())
    text = codec.dump(notice)
    wanted = [one.url for one in config.notify_of(notice.pipeline) if occasions & set(one.when)]
    for url in dict.fromkeys(wanted):
        tx.message(url, text)
