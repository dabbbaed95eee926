"""What an engine reports about itself, for ``pushlive doctor`` and ``pushlive check``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from pipeline.config.promotion.shift import Shift


@dataclass(frozen=True)
class DockerInfo:
    """A Docker Engine. ``memory``: bytes; ``live_restore``: containers outlive a restart of the daemon."""

    version: str
    cores: int
    memory: int
    live_restore: bool


@dataclass(frozen=True)
class NodeSize:
    """What a cluster's nodes have for pods, the largest of each. ``memory``: bytes."""

    cores: float
    memory: int


@dataclass(frozen=True)
class ClusterInfo:
    """One namespace of one cluster. ``missing``: permissions that this account does not have; ``nodes``: whether it may
    list the nodes; ``exists``: False if the API says that there is no such namespace; ``going``: it is being
    deleted; ``limits``: whether this account may list the namespace's LimitRanges; ``volumes``: whether it may manage
    claims, and execute in pods; ``for_accessories``: permissions for accessories that it does not have."""

    host: str
    version: str
    namespace: str
    missing: tuple[str, ...]
    nodes: bool
    exists: bool = True
    going: bool = False
    limits: bool = True
    volumes: bool = True
    for_accessories: tuple[str, ...] = ()


class Inspection(Protocol):
    """Read-only."""

    def docker(self, host: str = "") -> DockerInfo:
        """The Docker Engine at ``host`` (``ssh://…``, ``tcp://…``), or this machine's. Raises TryAgain if it does not
        answer."""

    def networks(self, names: tuple[str, ...], host: str = "") -> dict[str, str]:
        """Those of the Docker networks that no container can join there, with the reason. Raises what ``docker``
        raises."""

    def proxy(self, key: str) -> str:
        """That the proxy of the Docker Engine that ``Where.key`` names answers. Raises EngineAway if it does not,
        another TryAgain if its Engine does not."""

    def public_url(self) -> str:
        """That the service answers at its public URL through this machine's proxy. Raises EngineAway if it does not,
        EngineFailed if its certificate is missing or refused, ConfigError if its name leads nowhere."""

    def cluster(self, key: str) -> ClusterInfo:
        """The cluster and namespace that ``Where.key`` names. Raises TryAgain if the API server does not answer,
        ConfigError or EngineFailed if it cannot be queried."""

    def largest_node(self, key: str) -> NodeSize | None:
        """The most that a node of that cluster has for pods; None if this account may not list the nodes. Raises what
        ``cluster`` raises."""

    def undivided(self, key: str, pipeline: str, environment: str, shift: Shift) -> str:
        """Why the HTTPRoute of that environment on that cluster could not divide its visitors, in sentences with what
        to do; "" if it could. Raises what ``cluster`` raises."""

    def sleepless(self, key: str) -> str:
        """Why nothing in that namespace of that cluster can be put to sleep, in sentences with what to do; "" if it
        can. Raises what ``cluster`` raises."""

    def repository(self, name: str) -> str:
        """Whether the built-in git server's repository takes pushes, in a sentence. Raises EngineFailed if not."""
