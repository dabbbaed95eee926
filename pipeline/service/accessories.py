"""What people do with accessories."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pipeline.config.diff import accessory_differences
from pipeline.config.workload.accessory import Accessory
from pipeline.config.workload.accessory_rules import pairs
from pipeline.deploy.data.accessory_users import FILE
from pipeline.deploy.data.unfinished import refusal
from pipeline.domain import audit_chain
from pipeline.domain.accessories import AccessoryRecord, AccessoryRef
from pipeline.domain.audit_chain import Who
from pipeline.errors import PushliveError, RequestError, StoreUnavailable
from pipeline.ports.clock import Deadline
from pipeline.service.app.accessory_acts import LIMIT, insist_on_volume, refuse_half_upgraded
from pipeline.service.app.accessory_upgrades import AccessoryUpgrades
from pipeline.service.app.unfinished import text_of, why_stopped


class Accessories(AccessoryUpgrades):
    """Acts take effect before they return, or tell what they do."""

    def overview(self) -> list[dict[str, Any]]:
        """Every accessory of every environment that is configured or there: ``{"name", "environment", "state", "why",
        "image", "volume", "used_by", "changes", "command", "left", "unfinished"}``. ``state``: ready · not ready ·
        stopped · missing · unknown; ``why``: not ready, or stopped; ``changes``: what ``command`` would change, in
        words; ``left``: why it is no longer needed, "" if it is; ``unfinished``: that it does not have all its data
        yet, "" if it has."""
        config, found = self._config(), {one.id: one for one in self._store.accessories.all()}
        damaged = self._store.accessories.damaged()
        names = {*(f"{name}/{environment}" for name, environment in pairs(config)), *found, *damaged}
        rows = []
        for name, _, environment in (key.partition("/") for key in sorted(names)):
            record, broken = found.get(f"{name}/{environment}"), damaged.get(f"{name}/{environment}")
            row = self._row(name, environment, record, config.accessories.get(name))
            rows.append({**row, "state": "unknown", "why": broken.message} if broken else row)
        return rows

    def _row(
        self, name: str, environment: str, record: AccessoryRecord | None, now: Accessory | None
    ) -> dict[str, Any]:
        state, why = self._state(record)
        shown = record.config if record else now or Accessory(image="none")
        changes = list(accessory_differences(record.config, now)) if record and now else []
        users = self._care.users(record) if record else {}
        if record and now is None:
            changes = ["it is no longer in pipelines.yaml; it goes on as it is"]
        return {
            "name": name,
            "environment": environment,
            "state": state,
            "why": why,
            "image": shown.image,
            "volume": shown.volume,
            "used_by": sorted(record.attached.keys() & users.keys()) if record else [],
            "changes": changes,
            "command": self._changed_by(record, now),
            "left": _left(users) if record else "",
            "unfinished": text_of(self._store, AccessoryRef(name, environment).volume),
        }

    def _changed_by(self, record: AccessoryRecord | None, now: Accessory | None) -> str:
        """The command that makes it as pipelines.yaml says; another image gets a copy of the data first."""
        if record is None or now is None or now == record.config:
            return ""
        if now.image != record.config.image:
            return f"pushlive accessory upgrade {record.name} {record.environment}"
        return f"pushlive accessory apply {record.name} {record.environment}"

    def _state(self, record: AccessoryRecord | None) -> tuple[str, str]:
        if record is None:
            return "missing", "the first run that needs it makes it"
        if record.stopped:
            return "stopped", why_stopped(self._store, record)
        try:
            why = self._engines.of(record.engine).accessories.accessory_unready(self._care.spec(record))
        except StoreUnavailable:
            raise
        except PushliveError as error:
            return "unknown", error.message
        return ("not ready", why) if why else ("ready", "")

    # ── acts ─────────────────────────────────────────────────────────────────

    def start(self, name: str, by: Who, *, environment: str, as_it_is: bool = False) -> tuple[str, ...]:
        """Makes it if there is none, starts it, and waits until it is ready. ``as_it_is``: also with data of which a
        restore was broken off. Raises RequestError without it."""
        self.insist_on_store()
        watch = Deadline(self._clock, LIMIT, "starting the accessory")
        with self._care.lease(f"{name}/{environment}", watch) as lease:
            ref = AccessoryRef(name, environment)
            if as_it_is and (left := self._unfinished.of(ref.volume)) and not left.source:
                self._unfinished.end(left.ref)
            self._refuse_unfinished(ref)
            record = replace(self._care.configured(name, environment), stopped="")
            detail = "as it is" if as_it_is else ""
            self._store.accessories.put(record, lease, self._entry_of(by, "start", record, detail))
            self._of(record, lease).keep_accessory(self._care.spec(record), watch)
        self._move_entries()
        self._care.await_ready(record, watch)
        return (f"{record.id} is ready.",)

    def stop(self, name: str, by: Who, *, environment: str) -> tuple[str, ...]:
        """It stays stopped until a person starts it. Its data stay. Raises InUse while a backup of it runs, as all acts
        that end its container do."""
        self.insist_on_store()
        watch = Deadline(self._clock, LIMIT, "stopping the accessory")
        with (
            self._care.lease(f"{name}/{environment}", watch) as lease,
            self._stopping(AccessoryRef(name, environment)),
        ):
            record = replace(self._known_record(name, environment), stopped=audit_chain.actor(by).name)
            self._store.accessories.put(record, lease, self._entry_of(by, "stop", record))
            self._of(record, lease).halt_accessory(record.ref)
        self._move_entries()
        return (
            f"{record.id} is stopped; its data stay. Deploys that need it fail until "
            f"`pushlive accessory start {name} {environment}`.",
        )

    def restart(self, name: str, by: Who, *, environment: str) -> tuple[str, ...]:
        self.insist_on_store()
        watch = Deadline(self._clock, LIMIT, "restarting the accessory")
        with (
            self._care.lease(f"{name}/{environment}", watch) as lease,
            self._stopping(AccessoryRef(name, environment)),
        ):
            record = replace(self._known_record(name, environment), stopped="")
            self._refuse_unfinished(record.ref)
            self._store.accessories.put(record, lease, self._entry_of(by, "restart", record))
            self._of(record, lease).restart_accessory(self._care.spec(record), watch)
        self._move_entries()
        self._care.await_ready(record, watch)
        return (f"{record.id} was restarted and is ready.",)

    def apply(self, name: str, by: Who, *, environment: str) -> tuple[str, ...]:
        """Makes it as pipelines.yaml says now, with the data that it has. Raises EngineFailed if it does not become
        ready then."""
        self.insist_on_store()
        watch = Deadline(self._clock, LIMIT, "applying the accessory")
        with (
            self._care.lease(f"{name}/{environment}", watch) as lease,
            self._stopping(AccessoryRef(name, environment)),
        ):
            before = self._known_record(name, environment)
            refuse_half_upgraded(before)
            self._refuse_unfinished(before.ref)
            record = self._care.renewed(before)
            changes = accessory_differences(before.config, record.config)
            insist_on_volume(before, record)
            detail = "; ".join(changes)
            self._store.accessories.put(record, lease, self._entry_of(by, "apply", record, detail))
            self._of(record, lease).replace_accessory(self._care.spec(record), watch)
        self._move_entries()
        self._care.await_ready(record, watch)
        what = "; ".join(changes) or "nothing had changed"
        return (f"{record.id} is as pipelines.yaml says, and ready: {what}.",)

    def remove(self, name: str, by: Who, *, environment: str) -> tuple[str, ...]:
        """Removes its container and its record; its volume and its secrets stay. Raises RequestError while something
        uses it there, NotFound."""
        self.insist_on_store()
        watch = Deadline(self._clock, LIMIT, "removing the accessory")
        with (
            self._care.lease(f"{name}/{environment}", watch) as lease,
            self._stopping(AccessoryRef(name, environment)),
        ):
            record = self._known_record(name, environment)
            if waits := self._unfinished.to_be_copied(str(record.ref.volume)):
                raise refusal(self._store, waits, RequestError)
            if users := self._care.users(record):
                raise _in_use(record, users)
            self._of(record, lease).remove_accessory(record.ref)
            self._store.accessories.forget(record.ref, lease, self._entry_of(by, "rm", record))
            self._store.facts.set(f"accessory-problem:{record.id}", "")
        self._move_entries()
        if not record.config.volume:
            return (f"{record.id} is removed.",)
        return (
            f"{record.id} is removed. Its data and its secrets stay: one of this name gets them again.",
            f"`pushlive volume rm {record.ref.volume}` removes the data for ever.",
        )

    def last_output(self, name: str, *, environment: str, lines: int = 200) -> tuple[str, ...]:
        """Its last lines of output, without secrets. Raises NotFound."""
        record = self._known_record(name, environment)
        found = self._of(record).accessory_output(record.ref, lines)
        mask, _ = self._vault.mask(name)
        return mask.lines(found)


def _in_use(record: AccessoryRecord, users: dict[str, str]) -> RequestError:
    shown = ", ".join(f"{name} ({why})" for name, why in users.items())
    by_file = FILE in users.values()
    return RequestError(
        f"{record.id} was not removed: it is in use by {shown}.",
        advice=f"Remove it from `uses` of {', '.join(name for name, why in users.items() if why == FILE)} in "
        "pipelines.yaml, deploy that, and wait until no release in a slot there uses it."
        if by_file
        else "Deploy a release that does not use it, and wait until no release in a slot there does.",
    )


def _left(users: dict[str, str]) -> str:
    """Why one that is there is no longer needed."""
    if FILE in users.values():
        return ""
    still = ", ".join(f"{name} ({why})" for name, why in users.items())
    return f"no pipeline in pipelines.yaml uses it there{f'; still in use by {still}' if still else ''}"
