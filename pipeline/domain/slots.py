"""Which slot a run uses, and how slots change. Pure rules."""

from __future__ import annotations

from dataclasses import replace

from pipeline.config.models import Service
from pipeline.domain.engine_types import SlotRef, SlotSpec
from pipeline.domain.environment import Environment, Slot, SlotRecord, SlotState, other
from pipeline.domain.release import Release
from pipeline.domain.run import Kind, Run

GOOD = 50  # good releases that an environment remembers


def slot_ref(environment: Environment, slot: Slot) -> SlotRef:
    return SlotRef(environment.pipeline, environment.name, environment.index, slot, environment.engine)


def spec_of(ref: SlotRef, release: Release, run: int, secrets: dict[str, int] | None = None) -> SlotSpec:
    """The spec of that release in that slot. ``secrets``: the versions, if they are not the release's own."""
    config = release.environments[ref.environment]
    versions = release.secrets.get(ref.environment, {}) if secrets is None else secrets
    return SlotSpec(
        ref,
        release.number,
        run,
        release.commit,
        release.image,
        config,
        versions,
        remote=release.remote,
        form=release.form,
    )


def slot_for(environment: Environment, run: Run, release: int) -> Slot:
    """The slot that this run uses: the one that already serves the release, the one that the run used before a crash,
    or the idle one (in which the release may be warm)."""
    if environment.active and environment.serving == release:
        return environment.active
    for slot, record in environment.slots.items():
        if record.run == run.number and record.release == release and record.state != SlotState.FAILED:
            return slot
    return other(environment.active) if environment.active else "blue"


def mark_of(record: SlotRecord) -> str:
    """Names the switch that moved traffic away from that slot, for ``Traffic.detach``."""
    return f"{record.run}-{record.since:.3f}"


def switched(environment: Environment, run: Run, slot: Slot) -> bool:
    """True if this run's switch is recorded (the run is taken up again after a crash)."""
    record = environment.slots.get(slot)
    return environment.active == slot and record is not None and record.run == run.number


def unfinished(environment: Environment, run: Run) -> bool:
    """True if this run started something here that was not verified: it took a slot, or moved traffic."""
    mine = [slot for slot, record in environment.slots.items() if record.run == run.number]
    begun = [slot for slot in mine if environment.slots[slot].state == SlotState.STARTING]
    return bool(begun) or (environment.active in mine and not run.passed(environment.name, "verify"))


def is_warm(
    environment: Environment, slot: Slot, release: int, secrets: dict[str, int] | None = None
) -> bool:
    """True if the release is warm in that slot; with ``secrets``, only with these versions of them."""
    record = environment.slots.get(slot)
    same = record is not None and record.state == SlotState.WARM and record.release == release
    return same and (secrets is None or (record is not None and record.secrets == secrets))


def carried(serving: Service, now: int, kind: Kind, wanted: Service) -> int:
    """How many replicas the next release, ``wanted``, starts with at least. ``now``: what the one that serves is set
    to. A deploy may have been made to reduce the number, unless others raised it; a revert never reduces it, and what
    is scaled by others starts with as many as they have set."""
    return now if wanted.autoscaled or now > serving.web_replicas or kind == Kind.REVERT else 0


def starting(environment: Environment, slot: Slot, run: Run, spec: SlotSpec, now: float) -> Environment:
    """The run takes the slot for that spec."""
    record = SlotRecord(spec.release, run.number, SlotState.STARTING, now, secrets=spec.secrets)
    return replace(environment, slots={**environment.slots, slot: record})


def serving(environment: Environment, slot: Slot, run: Run, now: float, keep_warm: float) -> Environment:
    """After the switch: the slot serves, the other one is warm; not for long if it slept, since nothing of it runs."""
    slots = dict(environment.slots)
    slots[slot] = replace(slots[slot], state=SlotState.SERVING, since=now, until=0.0, run=run.number)
    old = other(slot)
    if environment.active == old and old in slots:
        until = now if environment.asleep else now + keep_warm
        slots[old] = replace(slots[old], state=SlotState.WARM, since=now, until=until)
    return replace(environment, active=slot, slots=slots, switching=None, shift=None, asleep=None)


def verified(environment: Environment, release: Release, run: Run) -> Environment:
    """The release is good here: a later revert may go back to it, and no older run may follow."""
    good = (*(number for number in environment.good if number != release.number), release.number)
    pairs = {**environment.pairs, release.number: pair_of(environment, release)}
    worked = {number for number, pair in pairs.items() if pair == pairs[release.number]}
    unfit = {number: one for number, one in environment.failed.items() if number not in worked}
    good = _newest(replace(environment, good=good, pairs=pairs, failed=unfit))
    unfit = {number: one for number, one in unfit.items() if number in good}
    pairs = {number: pair for number, pair in pairs.items() if number in good}
    newest = environment.newest_run if run.kind == Kind.REVERT else max(environment.newest_run, run.number)
    interrupt, pair = _cleared(environment, run), pairs[release.number]
    back = tuple(one for one in environment.taken_back if (one.image, one.fingerprint) != pair)
    return replace(
        environment,
        good=good,
        pairs=pairs,
        newest_run=newest,
        interrupt=interrupt,
        taken_back=back,
        failed=unfit,
    )


def _newest(environment: Environment) -> tuple[int, ...]:
    """The last of the good releases, and the one that a revert goes back to however long ago it was here: after many
    deploys of one image it is not among the last."""
    newest, target = environment.good[-GOOD:], revert_target(environment)
    return newest if target is None or target in newest else (target, *newest[1:])


def pair_of(environment: Environment, release: Release) -> tuple[str, str]:
    """The image and the fingerprint: what goes into quarantine, and what was taken back."""
    return release.image, release.fingerprint(environment.name)


def switched_back(environment: Environment, slot: Slot, run: Run, now: float, keep: float) -> Environment:
    """After a failed verification: the old slot serves again if it is warm, otherwise none."""
    slots = dict(environment.slots)
    slots[slot] = replace(slots[slot], state=SlotState.FAILED, since=now, until=now + keep)
    old = other(slot)
    back = old if old in slots and slots[old].state == SlotState.WARM else None
    if back:
        slots[back] = replace(slots[back], state=SlotState.SERVING, since=now, until=0.0)
    interrupt = _cleared(environment, run)
    return replace(environment, active=back, slots=slots, switching=None, shift=None, interrupt=interrupt)


def failed(environment: Environment, slot: Slot, run: Run, now: float, keep: float) -> Environment:
    """The slot is kept for inspection for ``keep`` seconds, unless it serves or another run has it."""
    record = environment.slots.get(slot)
    shift = environment.shift if environment.shift and environment.shift.run != run.number else None
    cleared = replace(environment, switching=None, shift=shift, interrupt=_cleared(environment, run))
    if record is None or record.run != run.number or environment.active == slot:
        return cleared
    kept = replace(record, state=SlotState.FAILED, since=now, until=now + keep)
    return replace(cleared, slots={**environment.slots, slot: kept})


def _cleared(environment: Environment, run: Run) -> int:
    return 0 if environment.interrupt == run.number else environment.interrupt


def revert_target(environment: Environment) -> int | None:
    """The newest release that was good here before the serving one. Releases with the image and configuration of the
    serving one, of one in quarantine, or of one that did not work here last and is not warm, are skipped. None if there
    is no other."""
    return target_before(environment, environment.serving)


def passed_over(environment: Environment) -> str:
    """Why ``revert_target`` passes over the good releases that were here before: "r1 has the image and configuration of
    r2"; "" if there are none."""
    serving_now = environment.serving
    others = list(_before(environment, serving_now))
    pair = environment.pairs.get(serving_now) if serving_now else None
    alike = [number for number in others if pair and environment.pairs.get(number) == pair]
    if not others or serving_now is None:
        return ""
    unfit = [number for number in unfit_before(environment) if number not in alike]
    left = [number for number in others if number not in alike and number not in unfit]
    said = [f"{_listed(alike, 'has', 'have')} the image and configuration of r{serving_now}"] if alike else []
    said += [f"{_listed(left)} in quarantine"] if left else []
    return ", ".join([*said, *(f"r{number} {_why_unfit(environment, number)}" for number in unfit)])


def unfit_before(environment: Environment) -> tuple[int, ...]:
    """The good releases before the one that serves that a revert passes over because they did not work here last,
    oldest first; not those that are in quarantine as well."""
    bad = {(entry.image, entry.fingerprint) for entry in environment.quarantine}
    pairs, unfit = environment.pairs, _unfit(environment)
    return tuple(
        number
        for number in _before(environment, environment.serving)
        if pairs.get(number) in unfit and pairs.get(number) not in bad
    )


def _unfit(environment: Environment) -> set[tuple[str, str]]:
    """The pairs of the releases that did not work here last. One that is warm is not among them: more will be seen of
    it, and the person who reverts is told what is wrong with it now."""
    warm = {record.release for record in environment.slots.values() if record.state == SlotState.WARM}
    return {
        environment.pairs[one] for one in environment.failed if one in environment.pairs and one not in warm
    }


def _why_unfit(environment: Environment, number: int) -> str:
    pair = environment.pairs.get(number)
    alike = (one for key, one in environment.failed.items() if environment.pairs.get(key) == pair)
    found = environment.failed.get(number) or next(alike)
    return f"did not work here last ({found.said})"


def _listed(numbers: list[int], one: str = "is", several: str = "are") -> str:
    """``r1 is``, ``r1 and r2 are``, ``r1, r3 to r5 and r8 are``: three or more without a gap are a range."""
    spans: list[list[int]] = []
    for number in sorted(numbers):
        if spans and number == spans[-1][-1] + 1:
            spans[-1].append(number)
        else:
            spans.append([number])
    texts: list[str] = []
    for span in spans:
        whole = len(span) > 2
        texts += [f"r{span[0]} to r{span[-1]}"] if whole else [f"r{number}" for number in span]
    *most, last = texts
    named = f"{', '.join(most)} and {last}" if most else last
    return f"{named} {one if len(numbers) == 1 else several}"


def target_before(environment: Environment, serving_now: int | None) -> int | None:
    """``revert_target``, if that release serves."""
    candidates = candidates_before(environment, serving_now)
    return candidates[0] if candidates else None


def candidates_before(environment: Environment, serving_now: int | None) -> tuple[int, ...]:
    """All releases that a revert may go back to, if that one serves, newest first."""
    bad = _unfit(environment) | {(entry.image, entry.fingerprint) for entry in environment.quarantine}
    if serving_now in environment.pairs:
        bad.add(environment.pairs[serving_now])
    before = _before(environment, serving_now)
    return tuple(number for number in reversed(before) if environment.pairs.get(number) not in bad)


def _before(environment: Environment, serving_now: int | None) -> tuple[int, ...]:
    """The releases that were good here before that one."""
    good = environment.good
    return good[: good.index(serving_now)] if serving_now in good else good


def expired(environment: Environment, now: float) -> tuple[str, ...]:
    """Slots whose time to be kept is over."""
    kept = (SlotState.WARM, SlotState.FAILED)
    return tuple(slot for slot, r in environment.slots.items() if r.state in kept and r.until <= now)
