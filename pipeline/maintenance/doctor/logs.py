"""``pushlive doctor``: what the logs of runs take, and how long they are kept."""

from __future__ import annotations

from pipeline.config.settings import Settings
from pipeline.lib.units import show_age, show_size
from pipeline.maintenance.doctor.check import Check, check
from pipeline.runlog import kept


def examine(settings: Settings) -> Check:
    found = kept.kept(settings.data)
    size, count = show_size(sum(one.size for one in found)), len(found)
    runs = "1 run" if count == 1 else f"{count} runs"
    age = f"for {show_age(settings.logs_keep)} (PUSHLIVE_LOGS_KEEP)" if settings.logs_keep else "for ever"
    most = f", {show_size(settings.logs_size)} at most (PUSHLIVE_LOGS_SIZE)" if settings.logs_size else ""
    return check("logs", True, f"the logs of {runs} take {size}; each is kept {age}{most}")
