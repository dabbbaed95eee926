"""The progress line below a run's output on a terminal: stages, elapsed time, countdown."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from pipeline.cli.terminal import Paint, Terminal, clock, columns, plain

REDRAW = 0.25  # seconds


class Progress:
    """What is known of a running run. Times are the service's wall clock, in seconds since the epoch."""

    def __init__(self, run: dict[str, Any]) -> None:
        self.stages: list[str] = [str(stage) for stage in run.get("stages") or []]
        gate = str(run.get("gate") or "")
        self.done = self.stages[: self.stages.index(gate)] if gate in self.stages else []
        self.step = ""
        self.stage = ""
        self.failed = False
        self.started = float(run.get("started") or run.get("accepted") or 0.0)
        self.image_ready = float(run.get("image_ready") or 0.0)
        self.human = float(run.get("human") or 0.0) + float(run.get("shifted") or 0.0)
        self.paused = 0.0  # since when two releases share the traffic: no budget counts that time
        timing = run.get("budget") or {}
        self.budget = float(timing.get("deploy") or 300.0)

    def take(self, event: dict[str, Any]) -> None:
        """Advances by one event."""
        kind, stage = event.get("kind"), str(event.get("stage") or "")
        at = float(event.get("at") or 0.0)
        self.started = self.started or at
        if stage and stage not in self.done:
            self.stage = stage
        part = (event.get("data") or {}).get("shift")
        if part == "begins":
            self.paused = at
        elif self.paused and (part == "over" or kind in ("step", "end")):
            self.human, self.paused = self.human + max(0.0, at - self.paused), 0.0
        if kind == "step":
            self.step = str(event.get("step") or "")
        if kind == "stage" and stage:
            self.done.append(stage)
            self.stage, self.step = self._next(), ""
            if stage == "build":
                self.image_ready = self.image_ready or at

    def _next(self) -> str:
        return next((stage for stage in self.stages if stage not in self.done), "")

    def line(self, now: float, paint: Paint) -> str:
        """``✓ build  ● dev start  ○ qa  ○ live    0:12   4:47 left``"""
        current = self.stage or self._next()
        parts = []
        for stage in self.stages or [current]:
            if stage in self.done:
                parts.append(paint(f"✓ {stage}", "green"))
            elif stage == current:
                step = f" {self.step} ✓" if self.step else ""
                parts.append(paint(f"● {stage}", "bold") + paint(step, "dim"))
            else:
                parts.append(paint(f"○ {stage}", "dim"))
        times = clock(max(0.0, now - self.started)) if self.started else "0:00"
        return "  ".join(parts) + "    " + times + self._countdown(now, paint)

    def _countdown(self, now: float, paint: Paint) -> str:
        if not self.image_ready:
            return ""
        left = self.budget - max(0.0, (self.paused or now) - self.image_ready - self.human)
        if left < 0:
            return "   " + paint(f"{clock(-left)} over {clock(self.budget)}", "red")
        return "   " + paint(f"{clock(left)} left of {clock(self.budget)}", "yellow" if left < 60 else "dim")


class Display:
    """Writes lines; on a terminal the progress line stays below them and is redrawn as time passes."""

    def __init__(self, terminal: Terminal, run: dict[str, Any], now: Callable[[], float]) -> None:
        self._terminal = terminal
        self._progress = Progress(run)
        self._now = now
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._tick, daemon=True) if terminal.live else None

    def __enter__(self) -> Self:
        if self._thread:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        if self._thread:
            self._thread.join()
            self._write("\r\x1b[K")

    def tell(self, event: dict[str, Any], lines: list[str]) -> None:
        """Shows the lines of one event and advances the progress."""
        with self._lock:
            self._progress.take(event)
            if not self._thread:
                self._terminal.say(*lines) if lines else None
            elif lines:
                self._write("\r\x1b[K" + "".join(f"{line}\n" for line in lines) + self._drawn())

    def _tick(self) -> None:
        while not self._stop.wait(REDRAW):
            with self._lock:
                self._write("\r\x1b[K" + self._drawn())

    def _drawn(self) -> str:
        now = self._now()
        # A wrapped line cannot be redrawn, so a narrow terminal shows only the times.
        if columns(self._progress.line(now, plain)) < self._terminal.width:
            return self._progress.line(now, self._terminal.paint)
        return self._progress.line(now, plain).rpartition("    ")[2][: self._terminal.width - 1]

    def _write(self, text: str) -> None:
        self._terminal.out.write(text)
        self._terminal.out.flush()
