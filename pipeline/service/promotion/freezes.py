"""`pushlive freeze` and `thaw`: when no run enters environments, by hand."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

from pipeline.domain import audit_chain, gates
from pipeline.domain.audit_chain import Who
from pipeline.domain.promotion import approvals, freezing
from pipeline.domain.promotion.freezing import FREEZE, THAW, FreezeAct
from pipeline.domain.run import Run
from pipeline.errors import ConfigError, DamagedRecord, NotFound
from pipeline.lib import windows
from pipeline.service.audited import Audited
from pipeline.service.promotion.until import end_of
from pipeline.service.views import obstacle_of

_WITHOUT = "Without --until and --for the freeze lasts until a thaw."


class FreezeCommands(Audited):
    """``pipeline``, ``environment``: "" for all of them. A reason is needed: those who wait read it."""

    def freeze(
        self,
        by: Who,
        *,
        pipeline: str = "",
        environment: str = "",
        reason: str = "",
        until: str = "",
        lasting: str = "",
        zone: str = "UTC",
    ) -> tuple[str, ...]:
        """No push and no deploy enters there until a thaw, or until that time: ``until`` is a date and a time or a time
        in ``zone``, ``lasting`` a duration; it ends within a year. Raises ConfigError, NotFound."""
        self.insist_on_store()
        now, end = self._clock.now(), end_of(until, lasting, zone, self._clock.now(), _WITHOUT)
        act = self._act(FREEZE, by, pipeline, environment, reason)
        act = replace(act, until=end, zone=zone)
        detail = f"until {windows.utc(end)}" if end else "until a thaw"
        look = self._freezes.look()
        frozen = [f"{name}/{where}" for name, where in self._places(act) if look.frozen(name, where, now)]
        self._record(act, by, detail, _frozen(frozen), f"frozen {detail}")
        over = f" until {windows.show(end, zone, now)}" if end else ""
        lifts = f"`{freezing.command_for(THAW, act.pipeline, act.environment)}` lifts it"
        return (f"{_scope(act)} frozen{over}: {act.reason}. Reverts are still allowed; {lifts}.",)

    def thaw(
        self, by: Who, *, pipeline: str = "", environment: str = "", reason: str = ""
    ) -> tuple[str, ...]:
        """Ends the freezes by hand there, and the windows of pipelines.yaml that are open now. Runs that wait for it go
        on within seconds. Raises ConfigError, NotFound."""
        self.insist_on_store()
        act = self._act(THAW, by, pipeline, environment, reason)
        now, look = self._clock.now(), self._freezes.look()
        places = [*self._places(act)]
        frozen = [(name, where) for name, where in places if look.frozen(name, where, now)]
        if not frozen:
            return (f"{_none(act)} frozen now.",)
        act = replace(act, opened=tuple(one for place in places for one in look.opened(*place, now)))
        named = [f"{name}/{where}" for name, where in frozen]
        self._record(act, by, ", ".join(named), _frozen(named), "open")
        return (*self._opened(frozen),)

    # ─────────────────────────────────────────────────────────────────────────

    def _act(self, act: str, by: Who, pipeline: str, environment: str, reason: str) -> FreezeAct:
        if not reason.strip():
            raise ConfigError(
                f"to {act} needs a reason: those whose runs wait read it.",
                advice="Give it with --reason TEXT. Nothing was done.",
            )
        known = self._known_places()
        if pipeline and pipeline not in known:
            advice = f"There are: {', '.join(known) or 'none yet'}."
            if any(pipeline in names for names in known.values()):
                everywhere = freezing.command_for(act, "", pipeline)
                advice += f" That environment of every pipeline: `{everywhere}`."
            raise NotFound(f"there is no pipeline {pipeline!r}.", advice=advice)
        names = [*dict.fromkeys(name for one in ([pipeline] if pipeline else known) for name in known[one])]
        if environment and environment not in names:
            whose = pipeline or "no pipeline"
            raise NotFound(
                f"{whose} has {'no' if pipeline else 'an'} environment {environment!r}.",
                advice=f"There are: {', '.join(names) or 'none yet'}.",
            )
        who = audit_chain.actor(by).name
        return FreezeAct(act, pipeline, environment, reason.strip(), who, self._clock.now())

    def _record(self, act: FreezeAct, by: Who, detail: str, before: str, after: str) -> None:
        entry = self._entry(
            by,
            act.act,
            pipeline=act.pipeline,
            environment=act.environment,
            why=act.reason,
            detail=detail,
            before=before,
            after=after,
        )
        self._freezes.add(act, entry)
        self._move_entries()

    def _known_places(self) -> dict[str, tuple[str, ...]]:
        """Every pipeline with its environments: those of the file, and those that still run."""
        config = self._config()
        found = {name: tuple(one.environments) for name, one in config.pipelines.items()}
        for name in self._store.pipelines():
            with suppress(DamagedRecord):
                records = tuple(self._store.environments(name))
                if records or name in found:
                    found[name] = tuple(dict.fromkeys([*found.get(name, ()), *records]))
        return found

    def _places(self, act: FreezeAct) -> Iterator[tuple[str, str]]:
        for name, environments in self._known_places().items():
            yield from ((name, where) for where in environments if act.is_for(name, where))

    def _opened(self, places: list[tuple[str, str]]) -> Iterator[str]:
        now, look = self._clock.now(), self._freezes.look()
        for name, where in places:
            still = look.frozen(name, where, now)  # by a window that follows at once, or an act meanwhile
            if still:
                yield f"{name}/{where}: {still.text(where, now)}."
                continue
            following = look.following(name, where, now)
            again = f" until {windows.show(following.since, following.zone, now)}" if following else ""
            yield f"{name}/{where} is open{again}."
            yield from self._goes_on(name, where, now)

    def _goes_on(self, name: str, where: str, now: float) -> Iterator[str]:
        """What becomes of the run that waits there, now that nothing freezes it."""
        record = self._store.environment(name, where)
        for run in gates.waiting_at(self._store.open_runs(name), where)[-1:]:
            back = obstacle_of(self._store, run)
            waits = f"{run.id} (r{run.release}) still waits"
            if record and (hold := record.hold):
                why = f"{where} is held: {hold.reason} (by {hold.by})"
                yield f"{waits}: {why}. `pushlive resume {name} --env {where}` lifts the hold."
            elif back:
                yield f"{waits}: {back['text']}. `{back['again']}` puts it back there."
            elif gates.needs_promotion(self._deciding(run), where, run, now):
                rule = approvals.rule(self._deciding(run), where) or approvals.PLAIN
                needs = approvals.text(run, where, rule, now)
                yield f"{waits}: {needs}. `pushlive promote '{run.id}'` approves it."
            elif run.frozen:
                yield f"{run.id} (r{run.release}) continues to {where} within seconds."

    def still_waits(self, run: Run) -> str:
        """What a run that was promoted waits for yet: more approvals, the end of a freeze, or both; "" if it goes on.
        ``run``: as ``promote`` returned it."""
        now, where = self._clock.now(), run.gate or (run.promoted[-1] if run.promoted else "")
        freeze = self._freezes.frozen(run.pipeline, where, now) if where else None
        frozen = freeze.text(where, now) if freeze else ""
        if not run.gate:
            return frozen
        rule = approvals.rule(self._deciding(run), where) or approvals.PLAIN
        then = f"; then it waits for the freeze: {frozen}" if frozen else ""
        return f"{approvals.text(run, where, rule, now)}{then}"


def _scope(act: FreezeAct) -> str:
    if act.pipeline and act.environment:
        return f"{act.pipeline}/{act.environment} is"
    if act.environment:
        return f"{act.environment} of every pipeline is"
    return f"every environment of {act.pipeline or 'every pipeline'} is"


def _none(act: FreezeAct) -> str:
    """The beginning of "… frozen now" for what is not."""
    if act.pipeline and act.environment:
        return f"{_scope(act)} not"
    if act.environment:
        return f"{act.environment} of no pipeline is"
    return f"no environment of {act.pipeline} is" if act.pipeline else "no environment is"


def _frozen(places: list[str]) -> str:
    """What was frozen before, in words."""
    return f"frozen: {', '.join(places)}" if places else "not frozen"
