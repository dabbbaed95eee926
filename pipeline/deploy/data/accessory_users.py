"""Who uses an accessory: pipelines by the configuration in force, and what is in a slot or on its way there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress

from pipeline.config.models import Config, Rendered
from pipeline.domain.accessories import AccessoryRef
from pipeline.errors import DamagedRecord, NotFound
from pipeline.store import Store

FILE = "pipelines.yaml"


def users(store: Store, config: Config, ref: AccessoryRef, attached: Iterable[str] = ()) -> dict[str, str]:
    """By what each pipeline uses it there: ``FILE``, or a release in words. A pipeline that does not has no entry.
    ``attached``: those that have used it; others can only use it by the file."""
    by_file = {name: FILE for name in config.pipelines if _in_file(config, ref, name)}
    others = {name: used_by(store, config, ref, name) for name in attached if name not in by_file}
    return {**by_file, **{name: why for name, why in others.items() if why}}


def used_by(store: Store, config: Config, ref: AccessoryRef, pipeline: str) -> str:
    """By what that pipeline uses it there, "" if it does not."""
    if _in_file(config, ref, pipeline):
        return FILE
    try:
        names = _names(store, ref)
        found = _releases(store, ref, pipeline)
        return ", and ".join(why for why, rendered in found if _uses(rendered, *names))
    except DamagedRecord:  # the keeper reports it
        return "a record of it is damaged, so this is not certain"


def _in_file(config: Config, ref: AccessoryRef, pipeline: str) -> bool:
    found = config.pipelines.get(pipeline)
    return (
        found is not None
        and ref.environment in found.environments
        and _uses(found.render(ref.environment), ref.name)
    )


def _names(store: Store, ref: AccessoryRef) -> set[str]:
    """The one that it has, and those by which releases from before a rename know it there."""
    record = store.accessories.get(ref.name, ref.environment)
    former = [one.split("/") for one in record.formerly] if record else []
    return {ref.name, *(name for name, environment in former if environment == ref.environment)}


def _uses(rendered: Rendered, *names: str) -> bool:
    return any(use.accessory in names for use in rendered.uses.values())


def _releases(store: Store, ref: AccessoryRef, pipeline: str) -> Iterator[tuple[str, Rendered]]:
    """Those in a slot, and those of runs that have not ended."""
    name, record = ref.environment, store.environment(pipeline, ref.environment)
    releases = {one.release: f"which is {one.state} there" for one in record.slots.values()} if record else {}
    for run in store.open_runs(pipeline):
        if run.release is not None:
            releases.setdefault(run.release, f"of {run.id}, which has not ended")
    for number, why in releases.items():
        with suppress(NotFound):  # it was lost with an earlier store
            release = store.release(pipeline, number)
            if name in release.environments:
                yield f"r{number}, {why}", release.environments[name]
