"""What would go unnoticed: a configuration that was reverted and comes back, since pipelines.yaml still has it, or one
that was only sent and is undone by the next release. Pure rules."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress

from pipeline.config.parts import differing, lines
from pipeline.domain.environment import Environment
from pipeline.domain.release import Release
from pipeline.domain.run import Run
from pipeline.errors import DamagedRecord, NotFound

CHAIN = 50  # configurations that were sent one after the other

Releases = Callable[[int], Release]
Runs = Callable[[int], Run]


def notices(
    environment: Environment | None, release: Release, release_of: Releases, run_of: Runs
) -> tuple[str, ...]:
    """What a person has to know before that release enters the environment, as sentences without a full stop.
    ``release_of``, ``run_of``: the records by their numbers; what they cannot find or read is left out."""
    serving = _release(release_of, environment.serving if environment else None)
    if environment is None or serving is None or serving.number == release.number:
        return ()
    if environment.name not in serving.environments or environment.name not in release.environments:
        return ()
    return (
        *_reverted(environment, serving, release, release_of),
        *_undone(environment, serving, release, release_of, run_of),
    )


def _reverted(
    environment: Environment, serving: Release, release: Release, release_of: Releases
) -> Iterator[str]:
    name = environment.name
    now, new = serving.environments[name], release.environments[name]
    left = differing(now, new)
    reasons = {entry.release: entry.reason for entry in environment.quarantine}
    reasons |= {entry.release: entry.reason for entry in environment.taken_back}
    for number in sorted(reasons, reverse=True):
        bad = _release(release_of, number)
        if bad is None or name not in bad.environments or number == serving.number:
            continue
        again = left - differing(new, bad.environments[name])
        if again:
            left -= again
            what = ", ".join(lines(now, new, sorted(again)))
            yield f"{release.name} brings back to {name} what {bad.name} had ({reasons[number]}): {what}"


def _undone(
    environment: Environment, serving: Release, release: Release, release_of: Releases, run_of: Runs
) -> Iterator[str]:
    name = environment.name
    sent = _sent(serving, release_of, run_of)
    if sent is None or name not in sent[1].environments:
        return
    run, base = sent
    now, new = serving.environments[name], release.environments[name]
    gone = differing(now, new) & differing(base.environments[name], now)
    if gone:
        by = f" by {run.by}" if run.by else ""
        what = ", ".join(lines(now, new, sorted(gone)))
        yield (
            f"{release.name} undoes in {name} what {run.id} brought with `deploy --config`{by}: {what}. "
            "To keep it, write it into pipelines.yaml"
        )


def _sent(serving: Release, release_of: Releases, run_of: Runs) -> tuple[Run, Release] | None:
    """The run that brought the configuration of that release, if it was sent, and the release before all that was
    sent."""
    found: tuple[Run, Release] | None = None
    release = serving
    for _ in range(CHAIN):
        run: Run | None = None
        with suppress(NotFound, DamagedRecord):
            run = run_of(release.run)
        base = _release(release_of, run.from_release) if run else None
        if run is None or base is None:
            break
        found, release = (found[0] if found else run, base), base
    return found


def _release(release_of: Releases, number: int | None) -> Release | None:
    if number is not None:
        with suppress(NotFound, DamagedRecord):
            return release_of(number)
    return None
