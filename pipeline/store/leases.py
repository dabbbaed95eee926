"""Leases: who works on a run, who may act in an environment. They end by themselves when nobody renews."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from pipeline.store.connection import Client, translate

TTL = 8.0  # seconds; with a sweep every 2 a dead worker's run goes on elsewhere within 15

_RENEW = (
    "if redis.call('get',KEYS[1])==ARGV[1] then return redis.call('pexpire',KEYS[1],ARGV[2]) end return 0"
)
_DROP = "if redis.call('get',KEYS[1])==ARGV[1] then return redis.call('del',KEYS[1]) end return 0"


@dataclass(frozen=True)
class Lease:
    key: str
    token: str


class Leases:
    def __init__(self, client: Client, prefix: str) -> None:
        self._client = client
        self._prefix = prefix
        self._renew = client.register_script(_RENEW)
        self._drop = client.register_script(_DROP)

    def take(self, name: str, holder: str = "", ttl: float = TTL) -> Lease | None:
        """The lease of that name, or None where somebody has it."""
        lease = Lease(f"{self._prefix}lease:{name}", f"{holder}:{secrets.token_hex(8)}")
        with translate():
            taken = self._client.set(lease.key, lease.token, nx=True, px=int(ttl * 1000))
        return lease if taken else None

    def renew(self, lease: Lease, ttl: float = TTL) -> bool:
        """False when it is not ours any more."""
        with translate():
            return bool(self._renew(keys=[lease.key], args=[lease.token, int(ttl * 1000)]))

    def drop(self, lease: Lease) -> None:
        """Gives it back. Twice."""
        with translate():
            self._drop(keys=[lease.key], args=[lease.token])

    def free(self, name: str) -> bool:
        with translate():
            return not self._client.exists(f"{self._prefix}lease:{name}")
