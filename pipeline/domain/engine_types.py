"""What is said to engines and comes back from them: plain, frozen data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from pipeline.config.engines import DOCKER
from pipeline.config.models import Rendered
from pipeline.domain.environment import Slot
from pipeline.lib.secret import Secret


@dataclass(frozen=True)
class SlotRef:
    """A slot of an environment, as the engine is told."""

    pipeline: str
    environment: str
    index: int
    slot: Slot
    engine: str = DOCKER  # `Where.key` of what it runs on


@dataclass(frozen=True)
class Login:
    """Who logs in to a registry."""

    username: str
    password: Secret
    name: str = ""  # of the secret it is from, as `pushlive secret set` takes it: "hello REGISTRY_PASSWORD"


def nobody() -> Login | None:
    """The login where there is none."""
    return None


@dataclass(frozen=True)
class SlotSpec:
    """All that an engine needs to put a release into a slot."""

    ref: SlotRef
    release: int
    run: int
    commit: str
    image: str
    config: Rendered
    secrets: dict[str, int] = field(
        default_factory=dict
    )  # versions by name: a part of what the containers are
    reveal: Callable[[], dict[str, Secret]] = field(default=dict, compare=False, repr=False)
    """The values, for whoever makes a container; raises what ``Vault.reveal`` does."""
    remote: str = ""  # the image by digest in a registry, "" where it is on the build machine alone
    login: Callable[[], Login | None] = field(default=nobody, compare=False, repr=False)
    """To the registry of ``remote``, for whoever takes the image from there; raises what ``Vault.login`` does."""


@dataclass(frozen=True)
class Replica:
    """One container (or pod) as the engine has it.

    state: created · starting · running · exited · missing
    """

    name: str
    address: str
    port: int
    release: int
    state: str
    exit_code: int | None = None
    out_of_memory: bool = False
    reach: str = ""  # where that probe asks, if it is not the address


@dataclass(frozen=True)
class Route:
    """Where a check asks. ``expect`` holds the server names of which one must have answered."""

    url: str  # "http://127.0.0.1:20003", no trailing slash
    headers: dict[str, str] = field(default_factory=dict)
    expect: tuple[str, ...] = ()
    service: str = ""  # on a cluster, "namespace/name": whose pods answer there


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]  # names in lower case
    body: bytes
    seconds: float
    served_by: str = ""  # the server the proxy named, "" where it named none


@dataclass(frozen=True)
class CommandResult:
    exit_code: int
    output: str
    seconds: float


@dataclass(frozen=True)
class Image:
    digest: str
    reused: bool
    steps: int = 0
    cached: int = 0
