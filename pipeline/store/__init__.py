"""All that is kept: runs, releases, environments, events, leases, tokens. The only place that knows Redis."""

from pipeline.store.leases import Lease, Watchman
from pipeline.store.store import Store, Transaction
from pipeline.store.tokens import Token

__all__ = ["Lease", "Store", "Token", "Transaction", "Watchman"]
