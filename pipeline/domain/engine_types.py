"""What engines are given and what they return: plain, frozen data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from pipeline.config.address.entries import named
from pipeline.config.checks.visitor import own_headers, with_headers
from pipeline.config.engines import DOCKER
from pipeline.config.image_hints import Declared
from pipeline.config.models import Rendered
from pipeline.config.workload.references import referring
from pipeline.domain.environment import Slot
from pipeline.domain.naming import own_name
from pipeline.lib.secret import Secret


@dataclass(frozen=True)
class SlotRef:
    """Names a slot of an environment to an engine."""

    pipeline: str
    environment: str
    index: int
    slot: Slot
    engine: str = DOCKER  # `Where.key`

    @property
    def own_host(self) -> str:
        """The host name that every environment has: ``hello-live.localhost``."""
        return f"{own_name(self.pipeline, self.environment)}.localhost"

    @property
    def output_command(self) -> str:
        """The command that prints what the application wrote in this environment."""
        return f"pushlive logs {self.pipeline} --app --env {self.environment}"


@dataclass(frozen=True)
class Login:
    """A registry login."""

    username: str
    password: Secret
    name: str = ""  # of its secret, as for `pushlive secret set`: "hello REGISTRY_PASSWORD"


def nobody() -> Login | None:
    """For a registry without a login."""
    return None


@dataclass(frozen=True)
class SlotSpec:
    """Everything that an engine needs to put a release into a slot."""

    ref: SlotRef
    release: int
    run: int
    commit: str
    image: str
    config: Rendered
    secrets: dict[str, int] = field(
        default_factory=dict
    )  # versions by name; another version means another container
    reveal: Callable[[], dict[str, Secret]] = field(default=dict, compare=False, repr=False)
    """Returns the values, when a container is created; raises what ``Vault.reveal`` does."""
    passwords: Callable[[], dict[str, Secret]] = field(default=dict, compare=False, repr=False)
    """The same for the secrets of `http.basic`, when a proxy is told whom to let in. No container gets them."""
    remote: str = ""  # the image by digest in a registry, "" if it is only on the build machine
    login: Callable[[], Login | None] = field(default=nobody, compare=False, repr=False)
    """Returns the login for pulling ``remote``; raises what ``Vault.login`` does."""

    form: int = 0  # see `release.FORM`

    @property
    def given(self) -> dict[str, int]:
        """The versions of what its containers are given."""
        apart = self.config.service.proxys_secrets
        return {name: one for name, one in self.secrets.items() if name not in apart}

    @property
    def filled(self) -> tuple[str, ...]:
        """Variables with references in their values: ``reveal`` returns these as well, filled in."""
        return referring(self.config.service.env, self.config.uses)

    scheme: str = field(default="http", compare=False)  # over which people reach it; the engine knows
    elsewhere: tuple[str, ...] = ()
    """Host names of its configuration that another environment has taken over."""

    @property
    def hosts(self) -> tuple[str, ...]:
        """The host names that lead to it once it serves."""
        return tuple(host for host in self.config.hosts if host not in self.elsewhere)

    at_least: int = 0
    """As many replicas as what serves has beyond the configuration: scaled by hand, or by an autoscaler."""

    @property
    def replicas(self) -> int:
        """How many it starts with."""
        return max(self.config.service.web_replicas, self.at_least) if self.web else 0

    @property
    def web(self) -> bool:
        """False if nothing of it takes requests."""
        return self.config.service.web

    @property
    def host(self) -> str:
        """The first host name that its configuration says, also if that leads elsewhere by now: it knows the name."""
        return next(iter(named(self.config.hosts)), self.ref.own_host)

    @property
    def visitor_headers(self) -> dict[str, str]:
        """What a visitor's request has when it reaches the application. Checks come with the same."""
        return {
            "User-Agent": "pushlive",
            "Accept": "*/*",
            "Host": self.host,
            "X-Forwarded-Proto": self.scheme,
        }

    @property
    def health_headers(self) -> dict[str, str]:
        """The same for the health check, which may have its own."""
        return with_headers(self.visitor_headers, own_headers(self.config.service.health))


@dataclass(frozen=True)
class Replica:
    """One container or pod as the engine reports it.

    state: created · starting · running · exited · missing; ``exit_code``, ``out_of_memory``: how it ended last, None
    if it never did or no one knows; ``restarts``: how often the engine has started it again by itself.
    """

    name: str
    address: str
    port: int
    release: int
    state: str
    exit_code: int | None = None
    out_of_memory: bool = False
    reach: str = ""  # where the probe reaches it, if not at the address
    stopped: bool = False  # not by itself: the engine starts one that ends by itself again
    restarts: int = 0
    paused: bool = False  # by a person: its processes are there, and do nothing


@dataclass(frozen=True)
class ProcessReplica:
    """One container of a process beside the web one. ``state``, ``exit_code``, ``restarts``, ``out_of_memory`` and
    ``paused`` as of a ``Replica``; ``process``: its name in the configuration."""

    name: str
    slot: Slot
    process: str
    release: int
    state: str
    exit_code: int | None = None
    restarts: int = 0
    out_of_memory: bool = False
    paused: bool = False

    @property
    def works(self) -> bool:
        """It runs, or will by itself."""
        return self.state != "exited"


@dataclass(frozen=True)
class ReplicaHealth:
    """What the checks on the way of the traffic found of one replica. ``since``: seconds since the epoch; ``said``: why
    it is unhealthy, for people; ``tried``: it gets requests all the same if no replica is healthy."""

    name: str  # as in ``Replica``
    healthy: bool
    since: float
    said: str = ""
    tried: bool = False


@dataclass(frozen=True)
class Route:
    """Where a check sends its request. ``expect``: server names; one of them must have answered."""

    url: str  # "http://127.0.0.1:20003", no trailing slash
    headers: dict[str, str] = field(default_factory=dict)
    expect: tuple[str, ...] = ()
    service: str = ""  # on a cluster, "namespace/name" of the Service


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]  # names in lower case
    body: bytes
    seconds: float
    served_by: str = ""  # the server that the proxy named, "" if it named none


@dataclass(frozen=True)
class Answered:
    """How many requests were answered, and how many of the answers were errors: a status of 5xx, or broken off."""

    requests: int = 0
    errors: int = 0


@dataclass(frozen=True)
class Share:
    """That part of an environment's new visitors goes to that slot, beside the one that serves. ``percent``: more than
    0 and less than 100, in steps of 0.1."""

    slot: Slot
    percent: float


@dataclass(frozen=True)
class Written:
    """A file that ends with its container. ``size``: bytes, None if it is not known; ``root``: the folder that ends
    with it, if only its first file is named (an anonymous volume)."""

    path: str
    size: int | None = None
    root: str = ""


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
    declared: Declared = field(default_factory=Declared)
    bases: tuple[tuple[str, str], ...] = ()  # the images that it was built from: name in the Dockerfile, id
    ran: tuple[
        tuple[str, float], ...
    ] = ()  # the steps that were not cached: name as BuildKit has it, seconds
