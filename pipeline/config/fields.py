"""What the models of ``pipelines.yaml`` are made of: their base class, and the types of their fields."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, ClassVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    StringConstraints,
    WithJsonSchema,
    model_serializer,
    model_validator,
)

from pipeline.config import validators
from pipeline.lib.units import parse_cpu, parse_duration, parse_size


class Model(BaseModel):
    """A part of the configuration."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)
    SHORT: ClassVar[str] = ""
    """What the model may be written as instead of a mapping, in words; "" if nothing."""
    CHOICES: ClassVar[tuple[str, ...]] = ()
    """The only texts that the model may be written as, if there are only some; () if not."""
    NUMBER: ClassVar[bool] = False
    """Whether SHORT is a number."""
    LISTED: ClassVar[str] = ""
    """The field that a list instead of a mapping stands for; "" if none."""
    TEXT: ClassVar[str] = ""
    """The field that a text stands for if a list stands for another; "" if none."""
    ALWAYS_HASHED: ClassVar[frozenset[str]] = frozenset()
    """Fields that ``hashed`` keeps at their default too: those that were there before a default was left out. Never
    add one: every other field is left out at its default, so that a new key does not change old fingerprints."""


def hashed(model: Model) -> Any:
    """All that the model says, as plain data for a fingerprint: every field, by its key in the file; the short form of
    a model that is stored in it."""
    plain = model.model_dump(mode="json")
    if not isinstance(plain, dict):
        return plain
    for name, (key, default) in _keys(type(model)).items():
        value = getattr(model, name)
        if name not in model.ALWAYS_HASHED and value == default:
            plain.pop(key, None)  # a model's short form may leave it out itself
        elif isinstance(value, Model):
            plain[key] = hashed(value)
        elif isinstance(value, dict):
            plain[key] = {k: hashed(v) if isinstance(v, Model) else plain[key][k] for k, v in value.items()}
        elif isinstance(value, tuple):
            plain[key] = [
                hashed(v) if isinstance(v, Model) else p for v, p in zip(value, plain[key], strict=True)
            ]
    return plain


@cache
def _keys(model: type[Model]) -> dict[str, tuple[str, Any]]:
    """By each field's name: its key in the file, and its default, which is only compared."""
    return {name: (spec.alias or name, spec.get_default()) for name, spec in model.model_fields.items()}


@dataclass(frozen=True)
class Words:
    """What a type allows, in words, for messages and the documentation. pydantic ignores it.

    ``kind`` is duration, size or cpu for those types.
    """

    text: str
    kind: str = ""


@dataclass(frozen=True)
class Empty:
    """The value of a key that is left empty (``kubernetes:``). pydantic ignores it."""

    value: str


class Several(Model):
    """One text, or a list of them."""

    LISTED = "names"
    TEXT = "names"

    names: tuple[str, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _short(cls, given: Any) -> Any:
        given = [given] if isinstance(given, str) else given
        return {"names": given} if isinstance(given, list | tuple) else given

    @model_serializer(mode="plain")
    def _as_list(self) -> list[str]:
        return list(self.names)


LONGEST = 50 * 366 * 86400.0  # seconds; a cluster counts some of them in 32 bits


# Values are kept as numbers; JSON from the store comes back as numbers, so those are let through.
def _duration(value: object) -> float:
    seconds = value if isinstance(value, float) else parse_duration(value)
    if seconds > LONGEST and not isinstance(value, float):
        raise ValueError(f"{str(value)[:40]!r} is longer than 50 years, which no timer here takes")
    return seconds


def _size(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else parse_size(value)


def _cpu(value: object) -> float:
    return value if isinstance(value, float) else parse_cpu(value)


Duration = Annotated[
    float,
    BeforeValidator(_duration),
    PlainSerializer(float, return_type=float),
    WithJsonSchema(
        {"type": ["string", "integer"], "pattern": r"^(0|([0-9]+(\.[0-9]+)?(ms|s|m|h|d))+)$", "maximum": 0}
    ),
    Words("a duration such as 500ms, 30s, 5m or 1h30m", "duration"),
]
Size = Annotated[
    int,
    BeforeValidator(_size),
    WithJsonSchema({"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?\s*([kKMG]B|[KMG]iB?)$"}),
    Words("a size such as 128MiB or 1GiB", "size"),
]
Cpu = Annotated[
    float,
    BeforeValidator(_cpu),
    WithJsonSchema({"type": ["string", "number"], "pattern": r"^[0-9]+(\.[0-9]+)?m?$"}),
    Words("cores or thousandths of one, such as 0.5, 2 or 250m", "cpu"),
]


Text = Annotated[str, AfterValidator(validators.plain)]
Argv = Annotated[tuple[Text, ...], AfterValidator(validators.argv)]
WarningPath = Annotated[
    str,
    StringConstraints(pattern=r"^[!-~]+$", max_length=300),
    Words("the path of a warning, such as environments.live.replicas"),
]
Reason = Annotated[Text, StringConstraints(min_length=1, max_length=500), Words("a reason")]
Name = Annotated[
    str,
    StringConstraints(pattern=r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$", max_length=32),
    Words("a name of at most 32 lower-case letters, digits and single hyphens, beginning with a letter"),
]
StageName = Annotated[Name, AfterValidator(validators.environment_name)]
EnvName = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=128),
    Words("the name of a variable: letters, digits and `_`, not beginning with a digit"),
]
Host = Annotated[
    str,
    StringConstraints(
        pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$", max_length=253
    ),
    Words("a host name in lower case without scheme, port or path, such as www.example.com"),
]
_LABEL = "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
Entry = Annotated[
    str,
    StringConstraints(pattern=rf"^(\*|(\*\.)?{_LABEL}(\.{_LABEL})*)(/[A-Za-z0-9._~-]+)*$", max_length=360),
    AfterValidator(validators.entry),
    Words(
        "a host name in lower case without scheme and port, such as www.example.com, shop.example.com/api, "
        "*.example.com or *"
    ),
]
UrlPath = Annotated[
    str,
    StringConstraints(pattern=r"^/[!\x22$-~]*$", max_length=1024),
    Words("a path that begins with `/`, in ASCII without spaces and `#`, such as /healthz"),
]
HeaderName = Annotated[str, AfterValidator(validators.header_name)]
SentHeader = Annotated[str, AfterValidator(validators.sent_header)]
HeaderValue = Annotated[str, AfterValidator(validators.header_value)]
RelativePath = Annotated[
    str,
    StringConstraints(min_length=1, max_length=255),
    AfterValidator(validators.path),
    Words("a path inside the repository, such as docker/Dockerfile"),
]
Branch = Annotated[str, AfterValidator(validators.branch), Words("a branch such as main or release/2.x")]
# The lower limits are Docker's.
CpuLimit = Annotated[Cpu, Field(ge=0.01, le=1024)]
MemoryLimit = Annotated[Size, Field(ge=6 * 2**20, le=2**40)]
Limit = Annotated[Duration, Field(gt=0)]  # a duration that cannot be 0
Silence = Annotated[Duration, Field(ge=1, le=86400)]  # at most a day
