"""Leases: which worker has a run, and who may act in an environment. The holder renews its lease every few seconds. The
reaper frees a lease whose holder has stopped renewing it.

No wall clock decides: with an expiry in the server, setting the clock would end every lease at once, or none for an
hour. Each renewal takes the next number of a counter (a beat), and a reaper frees a lease whose beat has not changed
for ``TTL`` seconds on the reaper's own monotonic clock.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipeline.errors import LeaseLost
from pipeline.store.connection import Client, translate

TTL = 8.0  # seconds without a renewal; a dead worker's run continues in another worker within 15

# KEYS: the lease, the hash of beats, the counter. ARGV: the token, the lease's name.
_BEAT = "redis.call('hset',KEYS[2],ARGV[2],redis.call('incr',KEYS[3])) return 1"
_TAKE = f"if redis.call('exists',KEYS[1])==1 then return 0 end redis.call('set',KEYS[1],ARGV[1]) {_BEAT}"
_RENEW = f"if redis.call('get',KEYS[1])~=ARGV[1] then return 0 end {_BEAT}"
_END = "redis.call('hdel',KEYS[2],ARGV[2]) return redis.call('del',KEYS[1])"
_DROP = f"if redis.call('get',KEYS[1])~=ARGV[1] then return 0 end {_END}"
# ARGV[1] is the beat that the reaper saw.
_FREE = f"if redis.call('hget',KEYS[2],ARGV[2])~=ARGV[1] then return 0 end {_END}"

# KEYS: plain keys, then hashes. ARGV: a field of each of the hashes. A value of a wrong type is read as none: who
# needs it reads it again, and is told.
_READ = """
local found, plain = {}, #KEYS - #ARGV
for i, key in ipairs(KEYS) do
  local value = i <= plain and redis.call('get', key) or i > plain and redis.pcall('hget', key, ARGV[i - plain])
  found[i] = type(value) == 'string' and value or false
end
return found
"""


@dataclass(frozen=True)
class Lease:
    key: str
    token: str
    name: str = ""

    def lost(self) -> LeaseLost:
        """The exception for a lease that this process no longer holds."""
        return LeaseLost(f"another worker has taken over {self.key}; this one stops.")


def insist(
    pipe: Any, fences: Sequence[Lease], *more: str, fields: Sequence[tuple[str, str]] = ()
) -> list[str | None]:
    """Raises LeaseLost if this process no longer holds one of them. ``pipe`` must already watch their keys. Returns
    what is read in the same round trip: the values of the keys ``more``, then those of the ``fields``, each a hash's
    key with a field's name; None for what is not there, or for a key that is no hash."""
    keys = [*(fence.key for fence in fences), *more]
    if fields:
        hashes, names = zip(*fields, strict=True)
        found: list[str | None] = pipe.eval(_READ, len(keys) + len(fields), *keys, *hashes, *names)
    else:
        found = pipe.mget(keys) if keys else []
    for fence, token in zip(fences, found, strict=False):
        if token != fence.token:
            raise fence.lost()
    return found[len(fences) :]


class Leases:
    def __init__(self, client: Client, prefix: str) -> None:
        self._client = client
        self._prefix = prefix
        scripts = (_TAKE, _RENEW, _DROP, _FREE)
        self._take, self._renew, self._drop, self._free = map(client.register_script, scripts)

    def take(self, name: str, holder: str = "") -> Lease | None:
        """The lease of that name, None if it is held. ``holder``: a name for people."""
        lease = Lease(self._key(name), f"{holder}:{secrets.token_hex(8)}", name)
        with translate():
            taken = self._take(keys=self._keys(name), args=[lease.token, name])
        return lease if taken else None

    def renew(self, lease: Lease) -> bool:
        """False if this process no longer holds it."""
        with translate():
            return bool(self._renew(keys=self._keys(lease.name), args=[lease.token, lease.name]))

    def ours(self, leases: Iterable[Lease]) -> bool:
        """True while this process holds each of them."""
        held = tuple(leases)
        with translate():
            found = self._client.mget([lease.key for lease in held]) if held else []
        return found == [lease.token for lease in held]

    def drop(self, lease: Lease) -> None:
        """Gives the lease back. Idempotent."""
        with translate():
            self._drop(keys=self._keys(lease.name), args=[lease.token, lease.name])

    def free(self, name: str) -> bool:
        """True if no one holds the lease."""
        with translate():
            return not self._client.exists(self._key(name))

    def holder(self, name: str) -> str:
        """The holder's name as given to ``take``, "" if no one holds the lease."""
        with translate():
            return str(self._client.get(self._key(name)) or "").rpartition(":")[0]

    def beats(self) -> dict[str, str]:
        """Every lease that is held, with its last beat."""
        with translate():
            return {str(name): str(beat) for name, beat in self._client.hgetall(self._beats).items()}

    def free_silent(self, name: str, beat: str) -> bool:
        """Frees the lease unless it was renewed after that beat; True if it did."""
        with translate():
            return bool(self._free(keys=self._keys(name), args=[beat, name]))

    @property
    def _beats(self) -> str:
        return f"{self._prefix}beats"

    def _key(self, name: str) -> str:
        return f"{self._prefix}lease:{name}"

    def _keys(self, name: str) -> list[str]:
        return [self._key(name), self._beats, f"{self._prefix}last-beat"]


@dataclass
class LeaseReaper:
    """Frees the leases of dead processes. One for each process that looks; several at once are harmless."""

    leases: Leases
    _seen: dict[str, tuple[str, float]] = field(
        default_factory=dict
    )  # by name: the beat, and when first seen

    def look(self, monotonic: float) -> tuple[str, ...]:
        """Frees every lease that was not renewed for ``TTL`` seconds since this reaper first saw its beat; returns
        their names. ``monotonic``: this process's own clock, in seconds. Raises StoreUnavailable."""
        # Emptied first: if the store does not answer, the time counts from the next look.
        before, self._seen = self._seen, {}
        for name, beat in self.leases.beats().items():
            known, since = before.get(name, ("", monotonic))
            self._seen[name] = (beat, since if known == beat else monotonic)
        silent = [(name, beat) for name, (beat, since) in self._seen.items() if monotonic - since >= TTL]
        return tuple(name for name, beat in silent if self.leases.free_silent(name, beat))
