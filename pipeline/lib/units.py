"""Durations, sizes and CPU shares as people write and read them: ``5m``, ``500ms``, ``128MiB``, ``250m``.

The command line starts with this, so it imports next to nothing. The types of configuration fields are in
``pipeline.config.fields``.
"""

from __future__ import annotations

import re
import time

_NUMBER = r"[0-9]{1,12}(?:\.[0-9]{1,12})?"  # bounded, so that nothing becomes infinite
_DURATION = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SIZE = {"": 1, "B": 1, "kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9}
_SIZE |= {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30}
_SIZE |= {"TB": 10**12, "TiB": 2**40, "Ti": 2**40}


def is_number(text: str, digits: int = 9) -> bool:
    """True for one to that many ASCII digits. ``isdigit`` alone is true for ``²`` too, which ``int`` refuses."""
    return text.isascii() and text.isdigit() and len(text) <= digits


def parse_duration(value: object) -> float:
    """Seconds from ``5m``, ``1m30s`` or ``500ms``; 0 may be written without a unit, no other number."""
    text = str(value).strip()
    if text in ("0", "0.0"):
        return 0.0
    parts = re.findall(rf"({_NUMBER})(ms|s|m|h|d)", text)
    if not parts or "".join(n + u for n, u in parts) != text:
        raise ValueError(
            f"{text[:40]!r} is not a duration; write numbers with units: 500ms, 30s, 5m, 1h30m, 2d"
        )
    return sum(float(number) * _DURATION[unit] for number, unit in parts)


def parse_age(value: object) -> float:
    """As ``parse_duration``, or years of 365 days: ``2y``."""
    text = str(value).strip()
    years = re.fullmatch(rf"({_NUMBER})y", text)
    if years:
        return float(years[1]) * 365 * _DURATION["d"]
    try:
        return parse_duration(text)
    except ValueError:
        raise ValueError(f"{text[:40]!r} is not an age; write a number with a unit: 90d, 2y") from None


def parse_size(value: object) -> int:
    """Bytes from ``128MiB`` or ``1GB``."""
    match = re.fullmatch(rf"({_NUMBER})\s*([A-Za-z]*)", str(value).strip())
    if match and match[2] not in _SIZE:
        units = ", ".join(unit for unit in _SIZE if unit)
        raise ValueError(f"{str(value)[:40]!r} has an unknown unit; write one of {units}")
    if isinstance(value, bool) or not match:
        raise ValueError(f"{str(value)[:40]!r} is not a size; write a number with a unit: 64MiB, 1GiB, 500MB")
    return int(float(match[1]) * _SIZE[match[2]])


def parse_cpu(value: object) -> float:
    """Cores from ``250m`` (thousandths) or ``1.5``."""
    match = re.fullmatch(rf"({_NUMBER})(m?)", str(value).strip())
    if isinstance(value, bool) or not match or float(match[1]) == 0:
        raise ValueError(f"{str(value)[:40]!r} is not a CPU share; write cores or thousandths: 250m, 0.5, 2")
    return float(match[1]) * (0.001 if match[2] else 1)


def show_duration(seconds: float) -> str:
    """``4:58`` for minutes, ``0.34s`` below one: for people, not for parsing."""
    if seconds < 0:
        return "-" + show_duration(-seconds)
    if seconds >= 60:
        whole = int(seconds)
        hours, rest = divmod(whole, 3600)
        return f"{hours}:{rest // 60:02}:{rest % 60:02}" if hours else f"{rest // 60}:{rest % 60:02}"
    return f"{seconds:.3f}s" if 0 < seconds < 0.01 else f"{seconds:.2f}s"


def show_age(seconds: float) -> str:
    """How long ago, in one unit: ``12 s``, ``3 min``, ``5 h``, ``2 d``."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return f"{max(0, int(seconds))} s"


def write_duration(seconds: float) -> str:
    """The shortest text that ``parse_duration`` reads back as the same: ``5m``, ``90s``, ``500ms``."""
    for unit in ("d", "h", "m", "s"):
        if seconds and seconds % _DURATION[unit] == 0:
            return f"{int(seconds / _DURATION[unit])}{unit}"
    return f"{round(seconds * 1000)}ms" if seconds else "0s"


def show_size(count: float) -> str:
    """``128 MiB``."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(count) < 1024 or unit == "GiB":
            return f"{count:.0f} {unit}" if count % 1 == 0 or unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    raise AssertionError("unreachable")


def show_time(at: float) -> str:
    """A point in time, given in seconds since the epoch: ``2026-03-01 12:00:05 UTC``."""
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(at))


def bracketed(address: str) -> str:
    """An address as a URL has it: ``[fd00::1]``."""
    return f"[{address}]" if ":" in address else address


def show_rate(count: int, seconds: float) -> str:
    """How often that many in so much time are: ``3.5 a week``, ``2.0 a day``."""
    days = seconds / 86400
    return f"{count / days:.1f} a day" if count >= days else f"{7 * count / days:.1f} a week"
