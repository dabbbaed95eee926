"""The service's settings, from ``PUSHLIVE_…`` in the environment. Every wrong or unknown variable is an error.

A secret can be given as a file: ``PUSHLIVE_GITHUB_SECRET_FILE=/run/secrets/github``.
"""

from __future__ import annotations

import difflib
import math
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, ValidationError
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from pipeline.config.fields import Words
from pipeline.config.place.repository import ConfigRepository, place
from pipeline.config.settings_rules import problems_of
from pipeline.errors import ConfigError
from pipeline.lib.secret import NO_SECRET, Secret
from pipeline.lib.units import parse_age, parse_duration, parse_size

__all__ = ["NO_SECRET", "Secret", "Settings", "load"]


def _default_data() -> Path:
    home = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(home).expanduser() / "pushlive"


def _whole(given: Any) -> Any:
    if isinstance(given, str) and not re.fullmatch(r"-?[0-9]{1,18}", given):
        raise ValueError(f"{given[:40]!r} is not a whole number")
    return given


def _number(given: Any) -> Any:
    if not isinstance(given, str):
        return given
    try:
        number = float(given)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"{given[:40]!r} is not a number")
    return number


def _flag(given: Any) -> Any:
    if not isinstance(given, str):
        return given
    if given.lower() not in ("true", "false"):
        raise ValueError(f"{given[:40]!r} is neither true nor false")
    return given.lower() == "true"


def _parts(given: Any) -> Any:
    return (
        tuple(part.strip() for part in given.split(",") if part.strip()) if isinstance(given, str) else given
    )


def _parsed(parse: Callable[[str], Any]) -> BeforeValidator:
    """Parses text; other values are taken as they are."""
    return BeforeValidator(lambda given: parse(given) if isinstance(given, str) else given)


File = Annotated[Path, _parsed(lambda text: Path(text).expanduser())]
Configured = Annotated[Path | ConfigRepository, _parsed(place)]
Whole = Annotated[int, BeforeValidator(_whole)]
Number = Annotated[float, BeforeValidator(_number)]
Flag = Annotated[bool, BeforeValidator(_flag)]
Bytes = Annotated[int, _parsed(parse_size), Words("a size", "size")]
Seconds = Annotated[float, _parsed(parse_duration), Words("a duration", "duration")]
Age = Annotated[float, _parsed(parse_age), Words("an age", "age")]
Texts = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_parts)]
Hidden = Annotated[Secret, _parsed(Secret)]


class Settings(BaseSettings):
    """Each field is ``PUSHLIVE_<FIELD>``; its docstring gives unit and reason, for the documentation too.

    Made in code, it reads no variable: ``load`` does.
    """

    model_config = SettingsConfigDict(
        env_prefix="PUSHLIVE_",
        frozen=True,
        arbitrary_types_allowed=True,
        use_attribute_docstrings=True,
        hide_input_in_errors=True,
    )

    data: File = Field(default_factory=_default_data)
    """the folder with everything that Pushlive stores"""
    config: Configured = Path("pipelines.yaml")
    """the configuration of the pipelines: a file, or one in a repository: git:NAME/PATH on the built-in git server,
    git:URL#BRANCH:PATH elsewhere"""
    instance: str = "pushlive"
    """prefix of container, network and image names; different for each installation"""
    redis_url: str = Field(default="", repr=False)
    """default: the embedded Valkey, in the data folder"""
    listen: str = "127.0.0.1:7070"
    """address of the web page, API, git server and webhooks"""
    public_url: str = ""
    """URL of the web page, for links; default http://<listen>"""
    serve_public: Flag = False
    """true: the applications' proxy serves page, API, git and webhooks as well, at the host of PUSHLIVE_PUBLIC_URL"""
    proxy_http: str = "127.0.0.1:7080"
    """address where the proxy serves the applications' host names: 0.0.0.0:80 for IPv4, *:80 for IPv4 and IPv6,
    several separated by commas"""
    proxy_https: str = ""
    """the same for HTTPS, e.g. *:443; certificates are in <data>/certificates"""
    proxy_trusted: Texts = ()
    """addresses or networks of proxies in front of the applications' proxy whose X-Forwarded-Proto, X-Forwarded-For,
    X-Real-IP and other X-Forwarded-* headers are passed on to the applications"""
    proxy_image: str = "haproxy:2.6"
    """the proxy container's image"""
    volume_image: str = "busybox:1.37"
    """on a cluster, the image of the pods that read, write and copy volumes; it has the tools of busybox"""
    activator_image: str = "python:3.11-slim"
    """on a cluster, the image of the pods that take requests for what sleeps; it has Python 3.11 or newer"""
    ports: str = "20000-20119"
    """each environment has one of these loopback ports, at most 1000"""
    preview_port: Whole = 7081
    """loopback port on which checks reach the idle slot"""
    subnets: str = "10.213.0.0/16"
    """each environment has a /26 of this range"""
    workers: Whole = 4
    """number of runs at once; one more worker is reserved for reverts"""
    build_memory: Bytes = 0
    """memory for all builds together; 0: half of the machine's"""
    build_cpu: Number = 0.0
    """cores for all builds together; 0: all but half a core"""
    build_cache: Bytes = 10 << 30
    """how much build cache the Engine keeps; none while less than PUSHLIVE_DISK_FREE is free"""
    disk_free: Bytes = 1 << 30
    """free disk space that a build requires"""
    secrets_key_path: str = ""
    """the key file for secrets; default: secrets.key in the data folder"""
    keep_releases: Whole = 10
    """number of releases whose images are kept for a revert"""
    failed_for: Seconds = 600.0
    """how long a failed container is kept for inspection"""
    log_limit: Bytes = 16 << 20
    """size limit of the log of one run"""
    logs_keep: Age = 365 * 86400.0
    """how long the log of an ended run is kept, e.g. 90d, 2y; 0: for ever. After a day it is compressed"""
    logs_size: Bytes = 10 << 30
    """how much disk space these logs may take together, the oldest go first; 0: any amount"""
    evidence_keep: Age = 0.0
    """how long the record of an ended run is kept, e.g. 2y; 0: for ever. Those of releases that serve
    are kept in any case"""
    journal: str = "file"
    """where each change of state is written as a line of JSON: `file` (<data>/journal, kept by PUSHLIVE_LOGS_KEEP and
    PUSHLIVE_LOGS_SIZE), `stdout`, or `off`. What is for people stays on standard error"""
    access_log: str = "off"
    """whether requests to applications are written as lines of JSON, in <data>/access: `paths`, `urls` (with
    the query), or `off`. They are kept by PUSHLIVE_LOGS_KEEP, and take a quarter of PUSHLIVE_LOGS_SIZE at most"""
    body_limit: Bytes = 25 << 20
    """size limit of the body of a webhook request"""
    push_limit: Bytes = 2 << 30
    """size limit of a git push"""
    git_allow: Texts = ()
    """hosts or URL prefixes that are allowed although they are private, file:// or http://"""
    git_fsck_ignore: Texts = ()
    """findings of `git fsck` that do not refuse a push or fetch, e.g. treeNotSorted; those on authors never do"""
    devices: Texts = ()
    """devices of the machine that pipelines.yaml may give to containers, as paths or patterns, e.g. /dev/dri/*"""
    binds: Texts = ()
    """folders of the machine that pipelines.yaml may give to containers; * stands for a part between two slashes"""
    hosts: Texts = ()
    """additional host names of the web page"""
    trusted_proxies: Texts = ()
    """addresses or networks of proxies in front of the web page whose X-Forwarded-For is trusted"""
    s3_endpoint: str = ""
    """the store of `backup: {to: s3://…}` as http(s)://host[:port]; default: AWS_ENDPOINT_URL_S3, else Amazon S3"""
    s3_region: str = ""
    """its region; default: AWS_REGION, else AWS_DEFAULT_REGION, else the store is asked"""
    s3_addressing: str = ""
    """where the bucket is in URLs: `path` or `virtual` (in the host name); default: virtual for Amazon S3, else path"""
    s3_access_key: str = ""
    """the id of the key for it; default: AWS_ACCESS_KEY_ID, AWS_PROFILE's file, on Amazon's machines their role"""
    s3_secret_key: Hidden = NO_SECRET
    """the secret part of that key"""
    github_secret: Hidden = NO_SECRET
    """the secret of the GitHub webhook"""
    github_secret_old: Hidden = NO_SECRET
    """the previous secret, accepted during a rotation"""
    gitea_secret: Hidden = NO_SECRET
    """the secret of the Gitea or Forgejo webhook"""
    gitea_secret_old: Hidden = NO_SECRET
    """the previous secret, accepted during a rotation"""
    notify_secret: Hidden = NO_SECRET
    """the key that signs notifications"""
    metrics_token: Hidden = NO_SECRET
    """a token that may only read /metrics; a viewer's token may, as well"""

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: type[BaseSettings], init_settings: PydanticBaseSettingsSource, *_: Any, **__: Any
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        del settings_cls
        return (init_settings,)

    @property
    def url(self) -> str:
        return self.public_url or f"http://{self.listen}"

    @property
    def secrets_key(self) -> Path:
        return Path(self.secrets_key_path or self.data / "secrets.key").expanduser()

    @property
    def port_range(self) -> range:
        first, _, last = self.ports.partition("-")
        return range(int(first), int(last or first) + 1)


# Variables for the command line, the git server's hooks, applications and tests: not settings of the service.
_FOREIGN = re.compile(
    r"PUSHLIVE_(TOKEN|TOKEN_FILE|URL|COMMIT|RELEASE|ENVIRONMENT|BACKUP"
    r"|INTERNAL|PYTHON|REPOSITORY|HOOK(_\w*)?|TEST_\w*)"
)


def _text(name: str, env: Mapping[str, str]) -> str:
    """The text of a setting, or the content of its file if ``NAME_FILE`` is given. Raises ValueError or OSError."""
    text, file = env.get(name, ""), env.get(f"{name}_FILE", "")
    if not file:
        return text
    if text:
        raise ValueError(f"given twice, as {name} and as {name}_FILE; remove one of them")
    text = Path(file).read_text(encoding="utf-8").strip()
    if not text:
        raise ValueError(f"{file} is empty; write the value into it, or remove {name}_FILE")
    return text


def _unknown(env: Mapping[str, str], known: Mapping[str, object]) -> Iterator[str]:
    for name in sorted(env):
        plain = name.removesuffix("_FILE")
        if not name.startswith("PUSHLIVE_") or plain in known or _FOREIGN.fullmatch(name):
            continue
        short = {key.removeprefix("PUSHLIVE_"): key for key in known}
        near = difflib.get_close_matches(plain.removeprefix("PUSHLIVE_")[:60], short, 1)
        advice = f"did you mean {short[near[0]]}?" if near else "docs/configuration.md lists them all"
        yield f"{name[:80]}: unknown setting; {advice}"


def load(environ: Mapping[str, str] | None = None) -> Settings:
    """Settings from the environment. Raises ConfigError that lists every problem at once."""
    env = os.environ if environ is None else environ
    known = {f"PUSHLIVE_{name.upper()}": name for name in Settings.model_fields}
    problems = list(_unknown(env, known))
    source = EnvSettingsSource(Settings)
    source.env_vars = dict(_texts(env, known, problems))
    values = source()
    settings = _validated(values, problems)
    problems += problems_of(settings)
    if problems:
        raise ConfigError("invalid settings in the environment:\n  " + "\n  ".join(problems))
    return settings


def _texts(env: Mapping[str, str], known: Iterable[str], problems: list[str]) -> Iterator[tuple[str, str]]:
    """Every variable that is given, in lower case, with its text."""
    for name in known:
        try:
            if text := _text(name, env):
                yield name.lower(), text
        except UnicodeDecodeError:
            problems.append(f"{name}: the file is not UTF-8 text")
        except (ValueError, OSError) as error:
            problems.append(f"{name}: {error}")


def _validated(values: dict[str, Any], problems: list[str]) -> Settings:
    """The settings; a wrong one is reported and has its default, so that the rest can be checked."""
    try:
        return Settings(**values)
    except ValidationError as error:
        for detail in error.errors():
            name = str(detail["loc"][0])
            reason = detail.get("ctx", {}).get("error", detail["msg"])
            problems.append(f"PUSHLIVE_{name.upper()}: {reason}")
            values.pop(name, None)
        return Settings(**values)
