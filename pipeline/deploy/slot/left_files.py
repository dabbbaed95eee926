"""What a release wrote into its containers and that ends with them: said while they are still there, and in the last
environment copied aside, once until someone has taken the copy away."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable
from pathlib import Path

from pipeline.config.workload.volumes import line_for
from pipeline.deploy.run_context import RunContext
from pipeline.domain import slots
from pipeline.domain.engine_types import Written
from pipeline.domain.environment import Environment, Slot, SlotState, other
from pipeline.errors import PushliveError, StoreUnavailable
from pipeline.lib.units import show_size
from pipeline.ports.engine import Engine

SHOWN = 5  # paths
COPIED = 256 << 20  # bytes that are copied aside at most


class LeftFiles:
    """``ignored``: paths that may end with the release; ``folder``: where copies go, None to make none."""

    def __init__(
        self, context: RunContext, engine: Engine, ignored: tuple[str, ...], folder: Path | None
    ) -> None:
        self._context, self._engine = context, engine
        self._ignored, self._folder = ignored, folder

    def tell(self, environment: Environment, slot: Slot | None) -> None:
        """Warns of the files in the slot that has just lost the traffic. An engine that does not answer is no reason to
        stop: the traffic has moved."""
        record = environment.slots.get(slot) if slot else None
        if slot is None or record is None or record.release is None:
            return
        if found := self._found(environment, slot):
            count = "1 file" if len(found) == 1 else f"{len(found)} files"
            text = (
                f"{environment.id} r{record.release} wrote {count} ({_shown(found)}) that end with its containers in "
                f"{slot}. {_advice(found[0])}; what may end goes under `ignore`"
            )
            self._context.note(text, environment.name, "warning")

    def copy(self, environment: Environment) -> None:
        """Copies what is in the slot that is only warm by now. Idempotent. A copy that is there already is left as it
        is: it may be the one that matters."""
        slot = other(environment.active) if environment.active else ""
        record = environment.slots.get(slot)
        if self._folder is None or record is None or record.state != SlotState.WARM:
            return
        to = self._folder / f"{environment.pipeline}_{environment.name}.tar"
        if to.exists():
            return
        if found := self._found(environment, slot):
            self._context.note(self._copied(environment, slot, found, to), environment.name, "warning")

    def _found(self, environment: Environment, slot: Slot) -> tuple[Written, ...]:
        try:
            found = self._engine.slots.written(slots.slot_ref(environment, slot))
        except StoreUnavailable:
            raise
        except PushliveError:
            return ()
        return tuple(one for one in found if not _is_in(one.root or one.path, self._ignored))

    def _copied(self, environment: Environment, slot: Slot, found: Iterable[Written], to: Path) -> str:
        """Copies, and returns what to say."""
        release = f"r{environment.slots[slot].release}"
        paths = tuple(dict.fromkeys(one.root or one.path for one in found))
        part, size = to.with_suffix(".part"), 0
        try:
            to.parent.mkdir(mode=0o700, exist_ok=True)
            with part.open("wb") as file:
                for piece in self._engine.slots.written_tar(slots.slot_ref(environment, slot), paths):
                    self._context.still_ours()
                    size += len(piece)
                    if size > COPIED:
                        break
                    file.write(piece)
            if size > COPIED:
                part.unlink(missing_ok=True)
                return (
                    f"what {release} wrote was not copied aside: it is more than {show_size(COPIED)}. It stays while "
                    f"{slot} is warm; `docker cp` takes it out of its containers"
                )
            part.replace(to)
        except StoreUnavailable:
            raise
        except (OSError, PushliveError) as error:
            part.unlink(missing_ok=True)
            return f"what {release} wrote was not copied aside: {error}"
        return (
            f"what {release} wrote was copied to {to} ({show_size(size)}). Nothing more is copied from "
            f"{environment.name} until that file is moved away"
        )


def _advice(one: Written) -> str:
    folder = one.root or posixpath.dirname(one.path)
    if folder in ("", "/"):
        return "Let the application write what has to stay into a folder of its own, and name that under `volumes`"
    return f"If they have to stay, write {line_for(folder)} under `service`"


def _shown(found: tuple[Written, ...]) -> str:
    largest = sorted(found, key=lambda one: -(one.size or 0))
    shown = [
        one.path if one.size is None else f"{one.path}, {show_size(one.size)}" for one in largest[:SHOWN]
    ]
    return "; ".join(shown) + (" …" if len(found) > SHOWN else "")


def _is_in(path: str, folders: Iterable[str]) -> bool:
    return any(path == one or path.startswith(f"{one.rstrip('/')}/") for one in folders if one)
