"""The process's own settings, from ``PUSHLIVE_…`` in the environment; loud on nonsense.

A secret can be given as a file: ``PUSHLIVE_GITHUB_SECRET_FILE=/run/secrets/github``.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from pipeline.errors import ConfigError
from pipeline.units import parse_duration, parse_size


class Secret:
    """Text that prints as •••; ``reveal()`` where it is really needed."""

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __repr__(self) -> str:
        return "•••"

    __str__ = __repr__


def _default_data() -> Path:
    home = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(home).expanduser() / "pushlive"


@dataclass(frozen=True)
class Settings:
    """Each field is read from PUSHLIVE_<FIELD>; the comment gives unit and reason."""

    data: Path = field(default_factory=_default_data)  # everything that Pushlive keeps
    config: Path = Path("pipelines.yaml")  # the maintainers' file
    instance: str = "pushlive"  # prefix of container, network and image names: one for each installation
    redis_url: str = ""  # "" : the embedded Valkey, in the data folder
    listen: str = "127.0.0.1:7070"  # page, API, git server and webhooks
    public_url: str = ""  # how people reach it, for links; default http://<listen>
    proxy_http: str = "127.0.0.1:7080"  # where the applications' host names are served
    proxy_https: str = ""  # e.g. 0.0.0.0:443; certificates come from <data>/certificates
    proxy_image: str = "haproxy:2.6"  # the proxy container's image
    ports: str = "20000-20119"  # each environment has one stable loopback port out of these
    preview_port: int = 7081  # loopback only: checks reach the idle slot here
    subnets: str = "10.213.0.0/16"  # each environment has a /27 out of this
    workers: int = 4  # runs at once; one more is kept free for reverts
    build_memory: int = 0  # bytes that builds may use together; 0: half of the machine
    build_cpu: float = 0.0  # cores that builds may use together; 0: all but a half
    disk_free: int = 1 << 30  # bytes that must be free before a build
    keep_releases: int = 10  # releases whose images are kept for a revert
    failed_for: float = 600.0  # seconds that a failed container is kept for inspection
    log_limit: int = 16 << 20  # bytes of one run's log
    body_limit: int = 25 << 20  # bytes of a webhook's body
    push_limit: int = 2 << 30  # bytes of a git push
    git_allow: tuple[str, ...] = ()  # hosts or URL prefixes allowed though private, file:// or http://
    hosts: tuple[str, ...] = ()  # further Host names that the page answers to
    github_secret: Secret = Secret("")  # the webhook's secret
    github_secret_old: Secret = Secret("")  # accepted as well, during a rotation
    gitea_secret: Secret = Secret("")
    gitea_secret_old: Secret = Secret("")

    @property
    def url(self) -> str:
        return self.public_url or f"http://{self.listen}"

    @property
    def port_range(self) -> range:
        first, _, last = self.ports.partition("-")
        return range(int(first), int(last or first) + 1)


def _convert(name: str, kind: Any, text: str) -> Any:
    if name in ("build_memory", "disk_free", "log_limit", "body_limit", "push_limit"):
        return parse_size(text)
    if name == "failed_for":
        return parse_duration(text)
    if name in ("git_allow", "hosts"):
        return tuple(part.strip() for part in text.split(",") if part.strip())
    converters = {"Path": lambda t: Path(t).expanduser(), "int": int, "float": float, "Secret": Secret}
    return converters.get(str(kind), str)(text)


def _check(settings: Settings) -> list[str]:
    problems = []
    for name in ("listen", "proxy_http", "proxy_https"):
        value = getattr(settings, name)
        host, _, port = value.rpartition(":")
        if value and not (host and port.isdigit() and 0 < int(port) < 65536):
            problems.append(f"PUSHLIVE_{name.upper()}={value!r}: write ADDRESS:PORT, e.g. 127.0.0.1:7070")
    try:
        ipaddress.IPv4Network(settings.subnets)
        if not settings.port_range:
            raise ValueError(f"{settings.ports!r} is an empty range of ports")
    except ValueError as error:
        problems.append(f"PUSHLIVE_SUBNETS or PUSHLIVE_PORTS: {error}")
    if not 1 <= settings.workers <= 64:
        problems.append(f"PUSHLIVE_WORKERS={settings.workers}: between 1 and 64")
    return problems


def load(environ: Mapping[str, str] | None = None) -> Settings:
    """Settings from the environment. Raises ConfigError that lists every problem at once."""
    env = os.environ if environ is None else environ
    values: dict[str, Any] = {}
    problems: list[str] = []
    known = {f"PUSHLIVE_{f.name.upper()}": f for f in fields(Settings)}
    for name, spec in known.items():
        text = env.get(name)
        try:
            if f"{name}_FILE" in env:
                text = Path(env[f"{name}_FILE"]).read_text().strip()
            if text:
                values[spec.name] = _convert(spec.name, spec.type, text)
        except (ValueError, OSError) as error:
            problems.append(f"{name}: {error}")
    settings = Settings(**values)
    problems += _check(settings)
    if problems:
        raise ConfigError("settings in the environment are wrong:\n  " + "\n  ".join(problems))
    return settings
