"""Where an environment runs and where its images lie: two of ``pipelines.yaml``'s models, and what all are made of."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, model_validator

from pipeline.config import validators
from pipeline.config.fields import Model
from pipeline.lib.units import Empty, Words


class Where(Model):
    """On what an environment runs: `docker` (this machine's Engine), `kubernetes` (the cluster that kubectl would
    take), or a mapping that says which one. `namespace` or `ingress` alone means Kubernetes."""

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
        Annotated[str, Empty(""), AfterValidator(validators.context), Words("a context's name")] | None
    ) = None
    """A context of the kubeconfig. Left empty: the current one, or the cluster that Pushlive itself runs in."""
    namespace: Annotated[str, AfterValidator(validators.namespace), Words("a namespace's name")] = ""
    """The namespace on the cluster. Default: the context's own."""
    ingress: Annotated[str, AfterValidator(validators.ingress_class), Words("an IngressClass's name")] = ""
    """The IngressClass that leads host names here. Default: the cluster's own."""

    ALWAYS_HASHED = frozenset({"docker", "kubernetes", "namespace", "ingress"})
    SHORT = "docker or kubernetes, or {kubernetes: CONTEXT, namespace: NAME, ingress: CLASS}"

    @model_validator(mode="before")
    @classmethod
    def _one_way(cls, given: Any) -> Any:
        """Each engine has one spelling here, so that equal ones are equal."""
        if isinstance(given, str):
            if given not in ("docker", "kubernetes"):
                raise ValueError(f"{given[:60]!r} is no engine; write {cls.SHORT}")
            given = {given: ""}
        if not isinstance(given, dict):
            return given
        docker, on_cluster = given.get("docker"), [key for key in _CLUSTER if given.get(key)]
        if docker is not None and given.get("kubernetes") is not None:
            raise ValueError(
                "give either `docker` or `kubernetes`, not both: an environment runs on one engine"
            )
        if docker is not None and on_cluster:
            raise ValueError(
                f"`{on_cluster[0]}` is for Kubernetes and does nothing on Docker; take it out, or `docker`"
            )
        more = {"kubernetes": ""} if on_cluster and given.get("kubernetes") is None else {}
        return {**given, "docker": docker or None, **more}

    @property
    def kind(self) -> Literal["docker", "kubernetes"]:
        return "docker" if self.kubernetes is None else "kubernetes"

    @property
    def here(self) -> bool:
        """True for this machine's own Docker Engine, where the images are made."""
        return self == Where()

    @property
    def key(self) -> str:
        """One text for each engine: ``docker``, ``docker:ssh://u@h``, ``kubernetes``,
        ``kubernetes:CONTEXT/NAMESPACE`` (either may be empty). The ingress class is no part of it."""
        if self.kubernetes is None:
            return f"docker:{self.docker}" if self.docker else "docker"
        which = f"{self.kubernetes}/{self.namespace}"
        return "kubernetes" if which == "/" else f"kubernetes:{which}"

    def __str__(self) -> str:
        return self.key + (f" with ingress {self.ingress}" if self.ingress else "")


_CLUSTER = ("namespace", "ingress")


def where_of(key: str) -> Where:
    """The engine that a ``Where.key`` names. Raises ValueError for any other text."""
    kind, _, which = key.partition(":")
    if kind == "docker":
        return Where(docker=which)
    if kind != "kubernetes":
        raise ValueError(f"{key[:80]!r} names no engine")
    context, _, namespace = which.rpartition(
        "/"
    )  # a context's name may have a slash in it, a namespace's cannot
    return Where(kubernetes=context, namespace=namespace)


class Registry(Model):
    """Where the images go once they are built, and where other machines take them from. An address alone, or with
    a login."""

    repository: Annotated[
        str,
        AfterValidator(validators.image_repository),
        Words("an address such as registry.example.com/team/hello"),
    ]
    """The repository: `registry.example.com/team/hello`, without scheme and tag."""
    username: Annotated[str, AfterValidator(validators.username), Words("a user's name")] = ""
    """Who logs in. Default: what `docker login` left on this machine, or nobody."""
    password: Annotated[str, AfterValidator(validators.secret_name), Words("a secret's name")] = ""
    """The name of the secret with the password or token, set by `pushlive secret set`."""

    SHORT = "an address such as registry.example.com/team/hello, or {repository: …, username: …, password: SECRET}"

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, given: Any) -> Any:
        return {"repository": given} if isinstance(given, str) else given

    @model_validator(mode="after")
    def _whole_login(self) -> Registry:
        if bool(self.username) != bool(self.password):
            there, missing = ("username", "password") if self.username else ("password", "username")
            raise ValueError(f"has `{there}` without `{missing}`; a login needs both")
        return self

    @property
    def host(self) -> str:
        """``registry.example.com:5000``"""
        return self.repository.partition("/")[0]


DOCKER = "docker"  # the machine's own Engine, as a key of engines
