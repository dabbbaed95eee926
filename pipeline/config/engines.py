"""Where an environment runs, where its images are stored, and what is decided by the kind of engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Annotated, Any

from pydantic import AfterValidator, model_validator

from pipeline.config import validators
from pipeline.config.fields import Empty, Model, Words


class Where(Model):
    """Where an environment runs: `docker` (this machine's Engine), `kubernetes` (the cluster that kubectl uses), or a
    mapping that names an engine. `namespace` or `ingress` alone means Kubernetes."""

    docker: (
        Annotated[
            str,
            Empty(""),
            AfterValidator(validators.docker_host),
            Words("ssh://user@host or tcp://host:port"),
        ]
        | None
    ) = None
    """Another machine's Docker Engine, see [operations](operations.md#another-machines-docker-engine)."""
    kubernetes: (
        Annotated[str, Empty(""), AfterValidator(validators.context), Words("the name of a context")] | None
    ) = None
    """A context of the kubeconfig. If empty: the current one, or the cluster that Pushlive runs in."""
    namespace: Annotated[str, AfterValidator(validators.namespace), Words("the name of a namespace")] = ""
    """The namespace on the cluster. Default: the context's own."""
    ingress: Annotated[
        str, AfterValidator(validators.ingress_class), Words("the name of an IngressClass")
    ] = ""
    """The IngressClass for the host names. Default: the cluster's own."""

    ALWAYS_HASHED = frozenset({"docker", "kubernetes", "namespace", "ingress"})
    SHORT = "docker or kubernetes, or {kubernetes: CONTEXT, namespace: NAME, ingress: CLASS}"

    @model_validator(mode="before")
    @classmethod
    def _one_way(cls, given: Any) -> Any:
        """Gives each engine one spelling, so that equal engines compare equal."""
        if isinstance(given, str):
            if given not in _NAMES:
                raise ValueError(f"{given[:60]!r} is not an engine; write {cls.SHORT}")
            given = {given: ""}
        if not isinstance(given, dict):
            return given
        docker, on_cluster = given.get("docker"), [key for key in _CLUSTER if given.get(key)]
        if docker is not None and given.get("kubernetes") is not None:
            raise ValueError("give either `docker` or `kubernetes`, not both")
        if docker is not None and on_cluster:
            raise ValueError(
                f"`{on_cluster[0]}` is for Kubernetes and has no effect on Docker; remove it, or remove `docker`"
            )
        more = {"kubernetes": ""} if on_cluster and given.get("kubernetes") is None else {}
        return {**given, "docker": docker or None, **more}

    @property
    def kind(self) -> EngineKind:
        return next(kind for kind in KINDS if kind.fits(self))

    @property
    def key(self) -> str:
        """One text for each engine: ``docker``, ``docker:ssh://u@h``, ``kubernetes``,
        ``kubernetes:CONTEXT/NAMESPACE`` (either may be empty). The ingress class is not part of it."""
        which = self.kind.which(self)
        return f"{self.kind.name}:{which}" if which else self.kind.name

    def __str__(self) -> str:
        return self.key + (f" with ingress {self.ingress}" if self.ingress else "")


_CLUSTER = ("namespace", "ingress")


@dataclass(frozen=True)
class EngineKind:
    """A kind of engine: all that the rest of Pushlive decides by it. What is made for it (its adapters) is in
    ``pipeline.runtime.bootstrap``, and how it is examined in ``pipeline.maintenance.doctor.demands``: a table each."""

    name: str
    """How it is written in ``pipelines.yaml``, and the first word of a key. Kinds may share it."""
    fits: Callable[[Where], bool]
    which: Callable[[Where], str]
    """The rest of the key, "" if it has none."""
    parse: Callable[[str], Where]
    """The engine that this rest of a key means."""
    inside: Callable[[Where, str, str], str]
    """Where an environment is, in words, for one that has no URL: of the engine, ``pipeline-environment``, and the
    name of its Service."""
    local: bool = False
    """This machine's own: images are built there, so it needs no registry, and its ports are reached here."""
    proxied: bool = True
    """Pushlive's own proxy is in front of it."""
    keeps_stopped: bool = True
    """A container that has ended stays, with its output and its files, until it is removed."""
    cannot: Mapping[str, str] = field(default_factory=dict, hash=False)
    """The keys of a service that it cannot follow, with the reason."""
    scaled_by_others: bool = False
    """People and autoscalers may change the number of replicas of what runs."""
    machines: bool = False
    """It places each replica on one of several machines."""
    start_margin: float = 300.0
    """Seconds that starting may take on top of the application's own `ready`: an image is pulled, a machine added."""
    cleanup_command: str = ""
    """What a person calls to remove what no record mentions, with {pipeline} and {environment}; "" if `pushlive gc`
    removes it, because the engine belongs to one installation."""


def _cluster_key(where: Where) -> str:
    which = f"{where.kubernetes}/{where.namespace}"
    return "" if which == "/" else which


def _cluster_of(which: str) -> Where:
    context, _, namespace = which.rpartition(
        "/"
    )  # a context's name may contain a slash, a namespace's cannot
    return Where(kubernetes=context, namespace=namespace)


def _cluster_words(where: Where, _: str, service: str) -> str:
    namespace = f" in the namespace {where.namespace}" if where.namespace else " on Kubernetes"
    return f"Service {service}{namespace}{f' of {where.kubernetes}' if where.kubernetes else ''}"


_NOT_ON_DOCKER = {
    "annotations": "containers have labels alone (`labels`)",
    "requests": "it reserves nothing for containers, and `cpu` and `memory` are limits",
    "kubernetes": "it has no such objects",
}
LOCAL = EngineKind(
    name="docker",
    fits=lambda where: where.kubernetes is None and not where.docker,
    which=lambda _: "",
    parse=lambda which: Where(docker=which),
    inside=lambda _, name, __: f"{name} on this machine",
    local=True,
    cannot=_NOT_ON_DOCKER,
    start_margin=60.0,
)
REMOTE_DOCKER = EngineKind(
    name="docker",
    fits=lambda where: bool(where.docker),
    which=lambda where: where.docker or "",
    parse=lambda which: Where(docker=which),
    inside=lambda where, name, _: f"{name} on the Docker Engine at {where.docker}",
    cannot=_NOT_ON_DOCKER,
)
KUBERNETES = EngineKind(
    name="kubernetes",
    fits=lambda where: where.kubernetes is not None,
    which=_cluster_key,
    parse=_cluster_of,
    inside=_cluster_words,
    proxied=False,
    keeps_stopped=False,
    cannot={
        "one": "releases take turns only on Docker so far",
        "pids": "Kubernetes limits processes by node (the kubelet's `podPidsLimit`)",
        "ulimits": "Kubernetes has no such key, and the nodes' container runtime sets them",
        "networks": "pods have the cluster's own network, and NetworkPolicies say who reaches whom there",
        "devices": "Kubernetes gives devices by device plugins",
        "binds": "a pod may run on any node, which has folders of its own; `volumes` are there on each",
    },
    scaled_by_others=True,
    machines=True,
    cleanup_command="kubectl delete deployment,service,ingress,pdb,configmap,secret "
    "-l pushlive/pipeline={pipeline},pushlive/environment={environment}",
)
KINDS = (LOCAL, REMOTE_DOCKER, KUBERNETES)
_NAMES = tuple(dict.fromkeys(kind.name for kind in KINDS))

DOCKER = LOCAL.name  # the key of this machine's own Engine


def where_of(key: str) -> Where:
    """The engine with that ``Where.key``. Raises ValueError for any other text."""
    name, _, which = key.partition(":")
    for kind in KINDS:
        if kind.name == name and kind.fits(found := kind.parse(which)):
            return found
    raise ValueError(f"{key[:80]!r} is not the key of an engine")


def kind_of(key: str) -> EngineKind:
    """The kind of the engine with that ``Where.key``. Raises ValueError for any other text."""
    return where_of(key).kind


@lru_cache(maxsize=1024)
def machines_of(key: str) -> str:
    """The ``Where.key`` without the namespace: environments in all namespaces of a cluster run on the same nodes."""
    where = where_of(key)
    return Where(kubernetes=where.kubernetes).key if where.kubernetes is not None else key


class Registry(Model):
    """Where images are pushed after the build, and where other machines pull them from. A repository, or a mapping with
    a login."""

    repository: Annotated[
        str,
        AfterValidator(validators.image_repository),
        Words("a repository such as registry.example.com/team/hello"),
    ]
    """The repository: `registry.example.com/team/hello`, without scheme and tag."""
    username: Annotated[str, AfterValidator(validators.username), Words("a user name")] = ""
    """The user for the login. Default: the login that `docker login` stored on this machine, or none."""
    password: Annotated[str, AfterValidator(validators.secret_name), Words("the name of a secret")] = ""
    """The name of the secret with the password or token, set by `pushlive secret set`."""

    SHORT = "a repository such as registry.example.com/team/hello, or {repository: …, username: …, password: SECRET}"

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, given: Any) -> Any:
        return {"repository": given} if isinstance(given, str) else given

    @model_validator(mode="after")
    def _whole_login(self) -> Registry:
        if bool(self.username) != bool(self.password):
            there, missing = ("username", "password") if self.username else ("password", "username")
            raise ValueError(f"has `{there}` but no `{missing}`; a login needs both")
        return self

    @property
    def host(self) -> str:
        """``registry.example.com:5000``"""
        return self.repository.partition("/")[0]
