"""The kinds of smoke checks, one in each module.

A kind is one class: its keys, how it is shown, what is unwise about it, and how it is performed. To add one, copy
``tcp.py``, and name the class in ``SmokeCheck``. Stored releases hold checks as JSON: a key keeps its name and meaning.
"""

from __future__ import annotations

from typing import get_args

from pipeline.config.checks.base import CheckModel
from pipeline.config.checks.get import HttpCheck
from pipeline.config.checks.health import HealthCheck
from pipeline.config.checks.run import RunCheck
from pipeline.config.checks.tcp import TcpCheck

__all__ = ["KINDS", "CheckModel", "HealthCheck", "HttpCheck", "RunCheck", "SmokeCheck", "TcpCheck"]

SmokeCheck = HttpCheck | TcpCheck | RunCheck

KINDS: dict[str, type[CheckModel]] = {kind.KEY: kind for kind in get_args(SmokeCheck)}
