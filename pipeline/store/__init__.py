"""Everything that Pushlive keeps: runs, releases, environments, events, leases, tokens, messages. No other package
knows the keys."""

from pipeline.store.leases import Lease, LeaseReaper
from pipeline.store.outbox import Outage, Receiver
from pipeline.store.store import Store
from pipeline.store.tokens import Token
from pipeline.store.transaction import Transaction

__all__ = ["Lease", "LeaseReaper", "Outage", "Receiver", "Store", "Token", "Transaction"]
