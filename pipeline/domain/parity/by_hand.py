"""A value that someone changed on an engine, as a line for people. Pure."""

from __future__ import annotations


class ByHand(str):
    """``memory: 64 MiB → 40 MiB``: what Pushlive made, and what is there now; ``back``: the other way, as it is said
    once that was taken back."""

    __slots__ = ("back",)
    back: str

    def __new__(cls, text: str, back: str = "") -> ByHand:
        """Without ``back`` a line that has no direction."""
        one = super().__new__(cls, text)
        one.back = back or text
        return one

    def at(self, what: str, when: str = "") -> ByHand:
        """With the object in which it is before both, and the time behind them."""
        return ByHand(f"{what}: {self}{when}", f"{what}: {self.back}{when}")


def changed(what: str, made: str, has: str) -> ByHand:
    return ByHand(f"{what}: {made} → {has}", f"{what}: {has} → {made}")
