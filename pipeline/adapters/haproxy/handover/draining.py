"""What is kept of a proxy that was replaced, while it ends what it has: a file beside the state."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from pipeline.adapters.haproxy.files import unwritable, write

# Seconds. A connection between two requests ends by itself within a minute (``timeout http-keep-alive``): with less
# time, one could be cut off just when its client sends the next request.
LEAST = 65.0
MOST = 600.0  # meanwhile two proxies take memory, and what another version needs has to wait
_FILE = "draining.json"


def limit(drain: float) -> float:
    """The seconds that it has. ``drain``: the longest one of the applications that it serves."""
    return min(max(drain, LEAST), MOST)


@dataclass(frozen=True)
class Draining:
    """``until``: on the monotonic clock of this machine; ``limit``: seconds that it had; ``control``: where a remote
    one takes commands."""

    until: float
    limit: float
    control: int = 0

    def over(self, now: float) -> bool:
        """True as well if the machine was started again since, and its clock with it."""
        return not 0 < self.until - now <= self.limit


class Mark:
    """The file. It is there from the moment in which the proxy is to take no more connections until it is gone."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / _FILE

    def read(self) -> Draining | None:
        """None if no proxy is being replaced. One that cannot be read counts as over."""
        try:
            return Draining(**json.loads(self._path.read_text()))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError):
            return Draining(0.0, LEAST)

    def write(self, draining: Draining) -> None:
        """Raises EngineFailed if it cannot be written."""
        try:
            write(self._path, json.dumps(asdict(draining)))
        except OSError as error:
            raise unwritable(self._path.parent, error) from error

    def remove(self) -> None:
        with suppress(FileNotFoundError):
            self._path.unlink()
