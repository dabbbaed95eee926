"""Receivers are told of a configuration that was refused, once, and that the one in force is right again."""

from __future__ import annotations

import hashlib

from pipeline.config.place.repository import Place
from pipeline.domain import audit_chain
from pipeline.domain.audit_chain import Who
from pipeline.lib import codec
from pipeline.lib.text import summary
from pipeline.notify import messages
from pipeline.store import Store, Transaction
from pipeline.store.configurations import Refused

OF_ALL = "pipelines.yaml"  # what is about no pipeline; none can be called so
TOLD, TURNED_AWAY = "config-told", "config-turned-away"
SHOWN = 300  # characters of what is wrong
STAYS = "The last good configuration stays in force."


class Telling:
    """``place``: where the configuration is."""

    def __init__(self, store: Store, place: Place) -> None:
        self._store, self._place = store, place

    def refused(self, one: Refused) -> bool:
        """True if it was told now, and not before."""
        mark = _mark(one)

        def act(tx: Transaction) -> bool:
            if tx.fact(TOLD) == mark:
                return False
            tx.put_fact(TOLD, mark)
            messages.configuration(tx, one, f"{self._what(one)}: {_problem(one)} {STAYS}")
            return True

        return self._store.facts.get(TOLD) != mark and self._store.transact(OF_ALL, act)

    def right_again(self, now: float) -> bool:
        """True if it was told now: something was wrong, and that was told."""

        def act(tx: Transaction) -> bool:
            if not tx.fact(TOLD):
                return False
            tx.put_fact(TOLD, "")
            text = f"The configuration in {self._place} is right again, and in force."
            messages.configuration(tx, Refused("", at=now), text)
            return True

        return bool(self._store.facts.get(TOLD)) and self._store.transact(OF_ALL, act)

    def turned_away(self, one: Refused, by: Who, kept: str) -> bool:
        """A push that was refused on the built-in server, so that nothing of it is there: recorded and told once for a
        commit. ``kept``: the hash of what stays in force."""
        mark = _mark(one)

        def act(tx: Transaction) -> bool:
            if tx.fact(TURNED_AWAY) == mark:
                return False
            tx.put_fact(TURNED_AWAY, mark)
            entry = audit_chain.entry(
                by,
                "configuration-refused",
                one.at,
                why=one.problem,
                detail=one.commit[:7],
                before=kept or "none",
                after=kept or "none",
            )
            tx.record(entry)
            who = f" by {one.by}" if one.by else ""
            text = f"A push{who} of {one.commit[:7]} to {self._place} was refused: {_problem(one)} {STAYS}"
            messages.configuration(tx, one, text)
            return True

        return self._store.transact(OF_ALL, act)

    def _what(self, one: Refused) -> str:
        who = f", pushed by {one.by}," if one.by else ""
        commit = f" of {one.commit[:7]}{who}" if one.commit else ""
        return f"The configuration in {self._place}{commit} is wrong"


def _problem(one: Refused) -> str:
    text = summary(one.problem.replace("\n", " · "), SHOWN)
    return text if text.endswith((".", "…")) else f"{text}."


def _mark(one: Refused) -> str:
    """The same for the same problem of the same commit."""
    return hashlib.sha256(codec.dump(Refused(one.problem, one.commit)).encode()).hexdigest()
