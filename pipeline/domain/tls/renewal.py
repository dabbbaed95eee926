"""When a certificate is renewed, how long to wait after a failure, and when a person is told. Times are seconds."""

from __future__ import annotations

import hashlib

HOUR, DAY = 3600.0, 86400.0
WARNED = 14 * DAY
KEPT = 7 * DAY  # after its end, of one that no environment needs any more
DUPLICATES = 4  # of one name within WEEK; Let's Encrypt refuses the sixth
ORDERS = 40  # of one installation within WEEK that begin without a certificate before it; 50 of a domain are its limit
WEEK = 7 * DAY

_FAILED = (15 * 60.0, DAY)  # after an order: five failures of a name within an hour are refused
_ASTRAY = (60.0, HOUR)  # before an order: only we are asked


def renew_at(name: str, not_before: float, not_after: float) -> float:
    """Two thirds of its life after its beginning, up to a thirtieth of it earlier: not all names at once, and the same
    time at each look."""
    life = max(0.0, not_after - not_before)
    return not_before + life * (2 / 3 - _share(name) / 30)


def within(name: str, window: tuple[float, float]) -> float:
    """A time in the window that the authority names (RFC 9773), the same at each look."""
    start, end = window
    return start + max(0.0, end - start) * _share(name)


def pause(failures: int, *, ordered: bool) -> float:
    """How long to wait after that many failures in a row, 1 or more."""
    first, most = _FAILED if ordered else _ASTRAY
    return min(most, first * 2.0 ** min(failures - 1, 20))


def warn_at(not_before: float, not_after: float) -> float:
    """From when on a person has to know that it was not renewed: 14 days before its end, and never before two thirds
    of a short life are over."""
    return not_after - min(WARNED, max(0.0, not_after - not_before) * 0.3)


def _share(name: str) -> float:
    """0 to 1."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4]) / 2**32
