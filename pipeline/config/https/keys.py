"""The keys of an environment that say how its host names are reached over HTTPS."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from pydantic import model_validator

from pipeline.config.fields import Duration, Model
from pipeline.lib.units import write_duration

HttpsMode = Literal["redirect", "both"]

CAUTIOUS = 7 * 86400.0  # seconds: a mistake is over within a week
PRELOADED = 365 * 86400.0  # seconds: what the lists of browsers ask for at least


class Hsts(Model):
    """Browsers are told to come by HTTPS only (`Strict-Transport-Security`), for so long after each visit. A duration
    is `max_age` alone. It cannot be taken back before: a browser that was told does not use HTTP until then."""

    SHORT = "a duration such as 1d or 180d, 0 for not at all, or {max_age: 180d, subdomains: true}"

    max_age: Duration = 0.0
    """For how long. `0`: nothing is told."""
    subdomains: bool = False
    """For all names below the host as well."""
    preload: bool = False
    """That the host may be in the lists that browsers are built with, which takes months to undo."""

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, given: Any) -> Any:
        return given if isinstance(given, dict | Hsts) else {"max_age": given}

    def unwise(self, https: HttpsMode | None) -> Iterator[tuple[str, str]]:
        """The key, "" for `hsts` itself, and the text of a warning."""
        if not self.max_age:
            if self.subdomains or self.preload:
                yield "", "has no effect without max_age; write for example 180d"
            return
        if https == "both":
            yield "", "browsers come by HTTPS only once they were told, though `https: both` serves HTTP too"
        if self.max_age > CAUTIOUS:
            text = f"for {write_duration(self.max_age)} no browser that was here comes by HTTP, even if there is no"
            yield (
                "",
                f"{text} certificate then; begin with 1d, and accept this warning once all works over HTTPS",
            )
        if self.preload and (not self.subdomains or self.max_age < PRELOADED):
            yield "preload", "browsers' lists take a host only with subdomains and a max_age of 365d or more"

    def __str__(self) -> str:
        if not self.max_age:
            return "none"
        more = [word for word in ("subdomains", "preload") if getattr(self, word)]
        return ", ".join([write_duration(self.max_age), *more])
