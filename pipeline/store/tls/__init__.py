"""What is known of the certificates that the service gets by itself."""

from __future__ import annotations

from pipeline.domain.tls.record import Records
from pipeline.lib import codec
from pipeline.store.facts import Facts
from pipeline.store.transaction import Transaction

CERTIFICATES = "certificates"


def kept(facts: Facts) -> Records:
    return read(facts.get(CERTIFICATES))


def in_transaction(tx: Transaction) -> Records:
    return read(tx.fact(CERTIFICATES))


def keep(tx: Transaction, records: Records) -> None:
    tx.put_fact(CERTIFICATES, codec.dump(records))


def read(text: str) -> Records:
    """What cannot be read counts as not there: the files tell what is valid, and the rest is tried again."""
    try:
        return codec.load(Records, text) if text else Records()
    except ValueError:
        return Records()
