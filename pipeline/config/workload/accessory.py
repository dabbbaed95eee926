"""The keys `accessories` and `uses`: databases, caches and brokers from stock images, and the pipelines that use
them."""

from __future__ import annotations

import re
import shlex
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from pipeline.config import validators
from pipeline.config.fields import Argv, CpuLimit, Duration, EnvName, Limit, MemoryLimit, Model, Text, Words
from pipeline.config.workload.backup import AccessoryBackup
from pipeline.config.workload.kubernetes import AccessoryOptions

MOST = 5  # accessories of one environment: Docker's networks have addresses for so many

Image = Annotated[str, AfterValidator(validators.image), Words("an image such as postgres:15")]
Folder = Annotated[
    str, AfterValidator(validators.folder), Words("an absolute path such as /var/lib/postgresql/data")
]
Origin = Literal["generate", "set"]
_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_ADDRESS = re.compile(
    r"(?P<host>[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9a-fA-F:.]+\]):(?P<port>[0-9]{1,5})"
)


class AccessoryHealth(Model):
    """When an accessory is ready to be used. Without a key: its `port` accepts connections, or it keeps running."""

    run: Argv = ()
    """A command in its container that exits with 0, such as `[pg_isready, -U, postgres]`."""
    tcp: int = Field(default=0, ge=0, le=65535)
    """A port on which it accepts connections."""

    @model_validator(mode="after")
    def _one(self) -> AccessoryHealth:
        if self.run and self.tcp:
            raise ValueError("give either `run` or `tcp`, not both")
        return self

    def __str__(self) -> str:
        if self.run:
            return f"run {shlex.join(self.run)}"
        return f"tcp {self.tcp}" if self.tcp else "none"


class Accessory(Model):
    """A database, cache or broker from a stock image. Each environment whose pipelines use it has one of its own. A
    deploy or a revert never changes one that is there: `pushlive accessory apply` does."""

    image: Image
    """The image, pulled when the accessory is made."""
    volume: Folder = ""
    """The folder in its container whose files are kept, in a volume of their own. Without it the data ends with the
    container."""
    port: int = Field(default=0, ge=0, le=65535)
    """The port on which it listens: `${NAME.PORT}`, where NAME is its name under `uses`."""
    health: AccessoryHealth = AccessoryHealth()
    ready: Limit = 60.0
    """How long it may take to become ready before the run that waits for it fails."""
    env: dict[EnvName, Text] = {}
    """Environment variables of its container."""
    secrets: dict[EnvName, Origin] = {}
    """Environment variables with secret values. `generate`: a random value, made once for each environment and kept;
    `set`: a value from `pushlive secret set ACCESSORY NAME`."""
    command: Argv = ()
    """The command to run instead of the image's own (`CMD`)."""
    memory: MemoryLimit = 512 * 2**20
    """The memory limit of its container."""
    cpu: CpuLimit = 1.0
    """The CPU limit of its container."""
    stop: Duration = 30.0
    """How long it may take to exit after its stop signal; then it gets SIGKILL."""
    backup: AccessoryBackup = AccessoryBackup()
    kubernetes: AccessoryOptions = AccessoryOptions()
    """What only a cluster has."""

    @model_validator(mode="after")
    def _once(self) -> Accessory:
        if twice := sorted(self.env.keys() & self.secrets.keys()):
            raise ValueError(f"{twice[0]} is under `env` and under `secrets`; remove one of the two")
        return self

    @property
    def tcp(self) -> int:
        """The port that has to accept connections before it counts as ready; 0 for none."""
        return 0 if self.health.run else self.health.tcp or self.port


class Use(Model):
    """What a pipeline uses under a name: an accessory, or a server elsewhere."""

    SHORT = "the name of an accessory, or {address: db.example.com:5432}"

    accessory: str = ""
    """The accessory's name under `accessories`. Containers of the pipeline reach it by the name under `uses`."""
    address: str = ""
    """A server that Pushlive does not manage, as `host:port`. `${NAME.HOST}` and `${NAME.PORT}` are its parts, and any
    other `${NAME.SECRET}` is a secret of the pipeline."""

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, given: Any) -> Any:
        return {"accessory": given} if isinstance(given, str) else given

    @model_validator(mode="after")
    def _one(self) -> Use:
        if bool(self.accessory) == bool(self.address):
            raise ValueError(f"write {self.SHORT}")
        if self.accessory and not (_NAME.fullmatch(self.accessory) and len(self.accessory) <= 32):
            raise ValueError(f"{self.accessory[:60]!r} is not the name of an accessory; write {self.SHORT}")
        found = _ADDRESS.fullmatch(self.address)
        if self.address and not (found and 0 < int(found["port"]) < 65536):
            raise ValueError(
                f"{self.address[:80]!r} is not an address; write host:port, such as db.example.com:5432"
            )
        return self

    @property
    def host(self) -> str:
        """Of an address."""
        return self.address.rpartition(":")[0]

    @property
    def port(self) -> str:
        """Of an address."""
        return self.address.rpartition(":")[2]

    def __str__(self) -> str:
        return self.accessory or self.address


Uses = Annotated[dict[str, Use], Field(max_length=MOST)]
