"""How far an image is on its way to or from a registry."""

from __future__ import annotations

from pipeline.adapters.docker_api.connection import Record
from pipeline.domain.events import Event
from pipeline.lib.units import show_size
from pipeline.ports.builder import Emit
from pipeline.ports.clock import Clock

TELL_EVERY = 5.0  # seconds between two notes
_DONE = ("Pushed", "Layer already exists", "Pull complete", "Already exists")  # and "Mounted from team/base"


class Progress:
    """Layers and bytes, emitted as a note now and then. ``doing`` begins each text."""

    def __init__(self, doing: str, clock: Clock, emit: Emit) -> None:
        self._doing, self._clock, self._emit = doing, clock, emit
        self._layers: dict[str, tuple[int, int]] = {}  # bytes transferred, and all
        self._done: set[str] = set()
        self._told = clock.monotonic()
        self._warned = False

    def see(self, record: Record) -> None:
        """Takes in one of the Engine's records."""
        layer, status, detail = record.get("id"), record.get("status", ""), record.get("progressDetail") or {}
        if not layer:
            return
        if status.startswith("Retrying") and not self._warned:  # Docker retries a layer for about 50 s
            self._warned = True
            text = f"{self._doing}: a layer failed; Docker tries again."
            self._emit(Event("warning", self._clock.now(), text))
        whole = int(detail.get("total") or 0)
        through = min(int(detail.get("current") or 0), whole)
        self._layers[layer] = (through, whole) if whole else self._layers.get(layer, (0, 0))
        if status in _DONE or "Mounted" in status:
            self._done.add(layer)
        if self._clock.monotonic() - self._told >= TELL_EVERY:
            self._told = self._clock.monotonic()
            self._emit(Event("note", self._clock.now(), self._text()))

    def _text(self) -> str:
        through = sum(whole if layer in self._done else a for layer, (a, whole) in self._layers.items())
        size = f"{show_size(through)} of {show_size(sum(whole for _, whole in self._layers.values()))}"
        return f"{self._doing}: {len(self._done)} of {len(self._layers)} layers, {size}"
