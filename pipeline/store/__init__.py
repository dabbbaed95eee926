"""Everything that Pushlive keeps: runs, releases, environments, events, leases, tokens, messages. Only this package
imports ``redis``."""

from pipeline.store.leases import Lease, LeaseReaper
from pipeline.store.outbox import Outage, Receiver
from pipeline.store.store import Store
from pipeline.store.tokens import Token
from pipeline.store.transaction import Transaction

__all__ = ["Lease", "LeaseReaper", "Outage", "Receiver", "Store", "Token", "Transaction"]
