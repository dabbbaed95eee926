"""Checks against a fake engine."""

from __future__ import annotations

from pipeline.adapters.fake.engine import FakeEngine
from pipeline.adapters.fake.engine_state import addresses
from pipeline.adapters.fake.script import Script
from pipeline.domain.engine_types import Answer, Route
from pipeline.errors import NothingListens


class FakeProbe(Script):
    """Is answered by what the engine serves. Refuses TCP connections to anything that does not run there."""

    def __init__(self, engine: FakeEngine) -> None:
        super().__init__()
        self._engine = engine

    def get(self, route: Route, path: str, timeout: float) -> Answer:
        with self.call("get", route, path, timeout):
            index, _, slot = route.headers.get("X-Pushlive-Slot", "").partition("-")
            if slot:
                return self._engine.answer(int(index[1:]), slot, path)
            number = int(route.url.removeprefix("http://e").removesuffix(".fake"))
            return self._engine.answer(number, self._engine.active_at(number), path)

    def tcp(self, address: str, port: int, timeout: float) -> float:
        with self.call("tcp", address, port, timeout):
            for one in self._engine.contents.values():
                if one.alive and one.spec.config.service.port == port and address in addresses(one.spec):
                    return 0.001
            raise NothingListens(f"TCP {address}:{port}: connection refused, nothing listens there.")
