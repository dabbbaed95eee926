"""Whether the service answers at its own address, if its proxy serves it there."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.config.address.public import own_hosts
from pipeline.config.settings import Settings
from pipeline.maintenance.doctor.check import Check, tried
from pipeline.ports.inspection import Inspection


def examine(settings: Settings, inspection: Inspection) -> Iterator[Check]:
    """One line, or none without PUSHLIVE_SERVE_PUBLIC."""
    if own_hosts(settings):
        yield tried("public URL", inspection.public_url)
