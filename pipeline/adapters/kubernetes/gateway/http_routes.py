"""Reads and changes the weights of an HTTPRoute that those who run the cluster have made."""

from __future__ import annotations

from pipeline.adapters.kubernetes.api.client import status_of
from pipeline.adapters.kubernetes.api.kube_api import NOT_FOUND, KubeApi
from pipeline.adapters.kubernetes.api.objects import KubeObject
from pipeline.adapters.kubernetes.gateway import weights
from pipeline.adapters.kubernetes.gateway.weights import Backends
from pipeline.domain.engine_types import Share
from pipeline.errors import ConfigError, EngineFailed, TryAgain
from pipeline.lib.retry import poll
from pipeline.ports.clock import Clock

KIND = "HTTPRoute"
INVALID = 422  # the status of a JSON patch whose test fails, too
TRIES = 5  # to change a route that others change at the same time
FOLLOWS_WITHIN = 10.0  # seconds for the Gateway's controller to follow a change
CHECK_EVERY = 0.1  # seconds between two looks at whether it has
_MAKE = "Make it, or name another one (`shift: {steps: […], route: NAME}`)."
_SEE = "`kubectl -n {space} describe httproute {name}` shows it; see docs/guides/shifting.md#on-kubernetes."


class HttpRoutes:
    """Those of one namespace."""

    def __init__(self, api: KubeApi, clock: Clock) -> None:
        self._api, self._clock = api, clock

    def check(self, name: str, backends: Backends, share: Share) -> None:
        """Raises ConfigError unless its visitors could be divided like that, and EngineFailed if the API server refuses
        the change, for want of a permission as well. Changes nothing."""
        self._change(name, backends, share, dry_run=True)

    def shared(self, name: str, backends: Backends) -> Share | None:
        """None as well if there is no such route: then no visitor comes by it."""
        route = self._api.get(KIND, name)
        return weights.shared(route, backends) if route else None

    def divide(self, name: str, backends: Backends, share: Share) -> None:
        """Gives the slot that share. Raises what ``check`` raises, and TryAgain if the Gateway does not follow within
        FOLLOWS_WITHIN. Idempotent."""
        self._change(name, backends, share)
        route = self._followed(name)
        if route is None or not weights.is_followed(route):
            raise TryAgain(
                f"{self._text(name)}: its Gateway has not followed a change of weights within {FOLLOWS_WITHIN:g} s.",
                advice="See whether the Gateway's controller runs.",
            )
        if why := weights.unresolved(route):
            raise EngineFailed(
                f"{self._text(name)} cannot divide its visitors: {why}.", advice=self._see(name)
            )

    def restore(self, name: str, backends: Backends) -> None:
        """All visitors go to what serves. Waits a limited time until the Gateway follows. Idempotent; nothing to do
        without such a route."""
        if self._change(name, backends, None):
            self._followed(name)

    # ── the route ────────────────────────────────────────────────────────────

    def _usable(self, name: str, backends: Backends) -> KubeObject:
        route = self._api.get(KIND, name)
        if route is None:
            raise ConfigError(self._missing(name), advice=_MAKE)
        if why := weights.problem(route, backends) or weights.refusal(route):
            raise ConfigError(
                f"{self._text(name)} cannot divide its visitors: {why}.", advice=self._see(name)
            )
        return route

    def _missing(self, name: str) -> str:
        """The same answer means that the cluster has no such kind of objects."""
        if self._has_kind():
            return f"There is no {self._text(name)}."
        return (
            f"This cluster has no HTTPRoutes: the Gateway API is not installed on it, so there is no {name}."
        )

    def _has_kind(self) -> bool:
        group = self._api.path(KIND).partition("/namespaces/")[0]
        try:
            self._api.request_json("GET", group, "asking for the Gateway API")
        except EngineFailed as error:
            return status_of(error) != NOT_FOUND
        return True

    def _change(self, name: str, backends: Backends, share: Share | None, *, dry_run: bool = False) -> bool:
        """False if there is nothing to change."""
        for left in reversed(range(TRIES)):
            if share:
                route = self._usable(name, backends)
            elif not (route := self._api.get(KIND, name) or {}):
                return False
            if not (changes := weights.changes(route, backends, share)):
                return False
            try:
                self._api.patch(KIND, name, changes, dry_run=dry_run)
                return True
            except EngineFailed as error:
                if status_of(error) != INVALID or not left or self._api.get(KIND, name) == route:
                    raise
        return False

    def _followed(self, name: str) -> KubeObject | None:
        """The route once its Gateway has followed, or as it is when the time for that is over."""
        found: list[KubeObject | None] = [None]

        def follows() -> bool:
            found[0] = self._api.get(KIND, name)
            return found[0] is None or weights.is_followed(found[0])

        poll(follows, CHECK_EVERY, self._clock, timeout=FOLLOWS_WITHIN)
        return found[0]

    def _text(self, name: str) -> str:
        return f"HTTPRoute {name} in the namespace {self._api.namespace}"

    def _see(self, name: str) -> str:
        return _SEE.format(space=self._api.namespace, name=name)
