"""A type for text that must not be shown, so that it cannot be shown by accident."""

from __future__ import annotations

from typing import NoReturn

HIDDEN = "•••"


class Secret:
    """Text that prints as •••; ``reveal()`` returns it.

    It cannot be pickled, and neither ``json`` nor ``pipeline.lib.codec`` can write it.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __repr__(self) -> str:
        return HIDDEN

    __str__ = __repr__

    def __reduce_ex__(self, _protocol: object) -> NoReturn:
        raise TypeError("a Secret must not be copied or written")


NO_SECRET = Secret("")
