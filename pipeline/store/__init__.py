"""All that is kept: runs, releases, environments, events, leases, tokens, messages. The only place that knows Redis."""

from pipeline.store.leases import Lease, LeaseReaper
from pipeline.store.outbox import Box, Trouble
from pipeline.store.store import Store
from pipeline.store.tokens import Token
from pipeline.store.transaction import Transaction

__all__ = ["Box", "Lease", "LeaseReaper", "Store", "Token", "Transaction", "Trouble"]
