"""Commands of people in memory."""

from __future__ import annotations

import queue
from collections.abc import Iterator

from pipeline.adapters.fake.engine_state import EngineState
from pipeline.adapters.fake.script import require
from pipeline.adapters.workload import tar_of
from pipeline.domain.accessories import AccessorySpec
from pipeline.domain.engine_types import CommandResult, SlotRef, SlotSpec
from pipeline.domain.volumes import volumes_of
from pipeline.errors import AppFailed
from pipeline.ports.clock import Watch
from pipeline.ports.terminal import STDOUT, Wanted

MISSING = "/no/such/program"  # as a command: it cannot be executed


class FakeTerminals(EngineState):
    """Refuses a command in an environment that was not prepared, or in a replica that is not there. ``cat`` repeats its
    input until that ends; any other command prints what ``commands`` returns."""

    def run_session(self, spec: SlotSpec, wanted: Wanted, watch: Watch) -> FakeSession:
        with self.call("run_session", spec, wanted, watch=watch):
            self._require_prepared(spec.ref)
            self._insist_on_room(spec.config.service.memory, wanted.argv[0])
            self._require_image(spec)
            self.given[wanted.session] = spec.reveal()
            self.mounting[wanted.session] = volumes_of(spec)
            return self._started(spec, wanted)

    def exec_session(self, ref: SlotRef, replica: str, wanted: Wanted) -> FakeSession:
        with self.call("exec_session", ref, replica, wanted):
            for accessory, found in self.running.items():
                if accessory.id == replica and found.alive:
                    return self._started(found.spec, wanted)
            require(replica in {one.name for one in self._replicas(ref)}, f"a command in {replica}")
            return self._started(self.contents[ref].spec, wanted)

    def copy_session(self, ref: SlotRef, replica: str, path: str, session: str) -> FakeSession:
        with self.call("copy_session", ref, replica, path, session):
            require(path.startswith("/"), f"a copy of {path}")
            return self._started(self.contents[ref].spec, Wanted(session, tar_of(path)))

    def _started(self, spec: SlotSpec | AccessorySpec, wanted: Wanted) -> FakeSession:
        """In an accessory any command but ``cat`` prints nothing."""
        if wanted.argv[0] == MISSING:
            raise AppFailed(f"{MISSING} cannot be executed.")
        result = None
        if wanted.argv[0] != "cat":
            quiet = CommandResult(0, "", 0.0)
            result = self.commands(spec, wanted.argv) if isinstance(spec, SlotSpec) else quiet
        session = FakeSession(result.output.encode() if result else None, result.exit_code if result else 0)
        self.people[wanted.session] = session
        return session

    def end_session(self, ref: SlotRef, session: str, replica: str = "") -> None:
        with self.call("end_session", ref, session, replica):
            self.mounting.pop(session, None)
            if found := self.people.pop(session, None):
                found.close()


class FakeSession:
    """``printed``: its output, None to repeat its input."""

    def __init__(self, printed: bytes | None, code: int) -> None:
        self._code = code
        self.sizes: list[tuple[int, int]] = []
        self._output: queue.Queue[bytes | None] = queue.Queue()
        if printed is not None:
            self._output.put(printed)
            self._output.put(None)

    def output(self) -> Iterator[tuple[int, bytes]]:
        while (piece := self._output.get()) is not None:
            yield STDOUT, piece

    def write(self, data: bytes) -> None:
        self._output.put(data)

    def end_input(self) -> None:
        self._output.put(None)

    def resize(self, columns: int, rows: int) -> None:
        self.sizes.append((columns, rows))

    def exit_code(self) -> int:
        return self._code

    def close(self) -> None:
        self._output.put(None)
