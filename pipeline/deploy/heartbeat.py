"""Renews the leases that a worker holds."""

from __future__ import annotations

import threading
import time

from pipeline.errors import StoreUnavailable
from pipeline.store import Lease, Store
from pipeline.store.leases import TTL

RENEW_EVERY = 2.0  # seconds


class LeaseHeartbeat:
    """Renews leases in a thread. ``lost``: another worker has one of them, or may have it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._leases: dict[str, Lease] = {}
        self._stop = threading.Event()
        self._refused = False
        self._renewed = time.monotonic()
        self._thread = threading.Thread(target=self._loop, name="renew-leases", daemon=True)

    @property
    def lost(self) -> bool:
        """True once another worker has a lease, or may: the store has not answered for almost a lease's life."""
        return self._refused or time.monotonic() - self._renewed > TTL - 1.0

    def __enter__(self) -> LeaseHeartbeat:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(timeout=10)
        for lease in tuple(self._leases.values()):
            self.drop(lease)

    def hold(self, lease: Lease) -> None:
        self._leases[lease.key] = lease

    def ours(self) -> bool:
        """Asks the store whether this worker still has all its leases; if it does not answer, ``lost`` decides."""
        if self.lost:
            return False
        try:
            return self._store.leases.ours(tuple(self._leases.values()))
        except StoreUnavailable:
            return True

    def drop(self, lease: Lease) -> None:
        self._leases.pop(lease.key, None)
        try:
            self._store.leases.drop(lease)
        except StoreUnavailable:
            return  # it expires

    def _loop(self) -> None:
        while not self._stop.wait(RENEW_EVERY):
            began = time.monotonic()
            try:
                held = [
                    lease for lease in tuple(self._leases.values()) if not self._store.leases.renew(lease)
                ]
            except StoreUnavailable:
                continue
            self._renewed = began
            # A lease dropped while we were renewing is no loss.
            self._refused = self._refused or any(lease.key in self._leases for lease in held)
