"""``tcp``: a connection to a port of every replica."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from pydantic import Field

from pipeline.config.checks.base import Asker, RepeatedCheck, Verdict
from pipeline.config.fields import Duration, Limit


class TcpCheck(RepeatedCheck):
    """Open a TCP connection to the new release's port."""

    tcp: int = Field(ge=1, le=65535)
    """The port inside the container."""
    within: Limit = 2.0
    """The time limit for the connection."""
    retry: Duration = 3.0
    """How long a failing check is repeated before it counts as failed."""

    ALWAYS_HASHED = frozenset({"tcp", "within", "retry"})
    KEY: ClassVar[str] = "tcp"
    EXAMPLE: ClassVar[str] = "{tcp: port}"

    def show(self) -> str:
        return f"TCP {self.tcp}"

    def unwise(self, service_port: int, alone: bool) -> Iterator[str]:
        if alone and self.tcp == service_port:
            yield f"only opens port {self.tcp}, which `health` already does, and is the only check"

    def perform(self, asker: Asker) -> Verdict:
        seconds = asker.connect(self.tcp, self.within)
        return Verdict(True, f"connected in {seconds * 1000:.0f} ms")
