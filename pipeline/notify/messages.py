"""What is told to receivers outside, and to whom. A message is left in the outbox by the same transaction that
records what it tells of; ``pipeline.notify.delivery`` delivers it.

Receivers are those of the configuration that the run obeys; a configuration that somebody deployed by hand does not
choose them: for such a run those of the file in force are told.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from pipeline.config.models import Config
from pipeline.domain import budget
from pipeline.domain.environment import Environment
from pipeline.domain.run import Kind, Outcome, Run
from pipeline.errors import ConfigError
from pipeline.lib import codec
from pipeline.lib.text import one_line
from pipeline.store import Transaction
from pipeline.store.configurations import CURRENT, parsed

TEXT = 600  # characters of one text in a message


@dataclass(frozen=True)
class Notice:
    """One message as it waits in the outbox. ``id`` is told to the receiver: the same one twice is one message."""

    id: str
    event: str
    at: float
    text: str
    pipeline: str
    run: int = 0  # 0: no run's doing
    kind: str = ""
    outcome: str = ""
    environment: str = ""
    release: int | None = None
    commit: str = ""
    message: str = ""
    by: str = ""
    reason: str = ""
    serious: bool = False


def ended(tx: Transaction, run: Run) -> Run:
    """Tells how the run ended. To be called once, where the end is recorded; returns the run."""
    config = _config(tx, run)
    reverted = run.kind == Kind.REVERT and run.outcome == Outcome.LIVE
    event = "reverted" if reverted else str(run.outcome)
    ran = run.outcome in (Outcome.LIVE, Outcome.FAILED)
    serious = ran and _serious(config, run)
    notice = _of_run(run, f"{run.id}/{run.outcome}", event, run.ended, _end_text(run, serious))
    where = run.failure.stage if run.failure else run.stage
    notice = _with(notice, environment=where, outcome=str(run.outcome), serious=serious)
    _leave(tx, config, notice)
    return run


def waits(tx: Transaction, run: Run, why: str, command: str) -> Run:
    """Tells that the run waits before ``run.gate`` for a person; returns the run."""
    text = f"{run.id} waits before {run.gate}: {why}. To go on with r{run.release}: {command}"
    name = f"{run.id}/waiting/{run.gate}/{_stamp(run.gate_since)}"
    notice = _with(_of_run(run, name, "waiting", run.gate_since, text), environment=run.gate, reason=why)
    _leave(tx, _config(tx, run), notice)
    return run


def held(tx: Transaction, place: Environment, digest: str, run: Run | None = None) -> Environment:
    """Tells that the environment is held, by a person or by what happened to ``run``; returns it. ``digest``: of the
    configuration that names the receivers."""
    if place.hold is None:
        return place
    why, by, at = place.hold.reason, place.hold.by, place.hold.since
    text = f"{place.id} is held: {why} (by {by}). To lift it: pushlive resume {place.pipeline} --env {place.name}"
    notice = Notice(f"{place.id}/held/{_stamp(at)}", "held", at, text, place.pipeline)
    if run:
        notice = _of_run(run, notice.id, "held", at, text)
    config = _config(tx, run) if run else _parsed(tx.config(digest))
    _leave(tx, config, _with(notice, environment=place.name, reason=why, by=by))
    return place


def _stamp(at: float) -> str:
    return str(int(at * 1000))


def _with(notice: Notice, **changes: str | bool) -> Notice:
    short = {k: one_line(v)[:TEXT] if isinstance(v, str) else v for k, v in changes.items()}
    return replace(notice, **short)  # type: ignore[arg-type]


def _of_run(run: Run, name: str, event: str, at: float, text: str) -> Notice:
    return _with(
        Notice(
            name,
            event,
            at,
            one_line(text)[: 2 * TEXT],
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


def _end_text(run: Run, serious: bool) -> str:
    said = run.reason if run.outcome != Outcome.FAILED or not run.failure else ""
    if run.failure:
        where = f"{run.failure.stage}/{run.failure.step}"
        said = f"{where}: {run.failure.message} {run.failure.advice}".strip()
    what = f"reverted {run.stages[-1]}" if run.kind == Kind.REVERT and run.outcome == Outcome.LIVE else ""
    what = what or ("is live" if run.outcome == Outcome.LIVE else str(run.outcome))
    mark = "SERIOUS · " if serious and "SERIOUS" not in said else ""
    who = run.pusher or run.by
    about = " ".join(part for part in (run.short, run.message) if part)
    return (
        f"{mark}{run.id} {what}: {said}" + (f" · {about}" if about else "") + (f" · by {who}" if who else "")
    )


def _serious(config: Config, run: Run) -> bool:
    limits = config.budget_of(run.pipeline) if run.pipeline in config.pipelines else config.budget
    return bool(budget.timing(run, limits, run.ended)["serious"])


def _config(tx: Transaction, run: Run) -> Config:
    by_hand = run.from_release is not None
    return _parsed(tx.config(tx.fact(CURRENT) if by_hand else run.config))


def _parsed(text: str) -> Config:
    try:
        return parsed(text)
    except ConfigError:
        return Config()  # an older version wrote it: nobody is told, and no run fails for it


def _leave(tx: Transaction, config: Config, notice: Notice) -> None:
    """One message for each receiver that wants it, however many of its occasions it is."""
    occasions = {notice.event} | ({"serious"} if notice.serious else set())
    text = codec.dump(notice)
    wanted = [one.url for one in config.notify_of(notice.pipeline) if occasions & set(one.when)]
    for url in dict.fromkeys(wanted):
        tx.message(url, text)
