"""BuildKit's progress as the Engine sends it: base64 of a protobuf ``moby.buildkit.v1.StatusResponse``.

The message types are described here by hand, from BuildKit's ``api/services/control/control.proto``, with only the
fields that are read. Protobuf skips fields that it does not know, so newer Engines work as well.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, timestamp_pb2
from google.protobuf.message import DecodeError, Message

_PACKAGE = "pushlive.buildkit"
# "[build 1/2] FROM docker.io/library/golang:1@sha256:…"; without the brackets for COPY --from and --mount
_IMAGE = re.compile(r"(?:\[[^\]]*\] )?FROM (\S+)|\[internal\] load metadata for (\S+)")
_Field = descriptor_pb2.FieldDescriptorProto
_STRING, _BOOL, _BYTES, _MESSAGE = (
    _Field.TYPE_STRING,
    _Field.TYPE_BOOL,
    _Field.TYPE_BYTES,
    _Field.TYPE_MESSAGE,
)
_TIMESTAMP = ".google.protobuf.Timestamp"

# message → (field, number, type, type of the message, repeated)
_SHAPE: dict[str, tuple[tuple[str, int, Any, str, bool], ...]] = {
    "Vertex": (
        ("digest", 1, _STRING, "", False),
        ("name", 3, _STRING, "", False),
        ("cached", 4, _BOOL, "", False),
        ("started", 5, _MESSAGE, _TIMESTAMP, False),
        ("completed", 6, _MESSAGE, _TIMESTAMP, False),
        ("error", 7, _STRING, "", False),
    ),
    "VertexLog": (
        ("vertex", 1, _STRING, "", False),
        ("timestamp", 2, _MESSAGE, _TIMESTAMP, False),
        ("msg", 4, _BYTES, "", False),
    ),
    "StatusResponse": (
        ("vertexes", 1, _MESSAGE, f".{_PACKAGE}.Vertex", True),
        ("logs", 3, _MESSAGE, f".{_PACKAGE}.VertexLog", True),
    ),
}


def _make() -> type[Message]:
    file = descriptor_pb2.FileDescriptorProto(
        name="pushlive/buildkit.proto",
        package=_PACKAGE,
        syntax="proto3",
        dependency=["google/protobuf/timestamp.proto"],
    )
    for name, fields in _SHAPE.items():
        message = file.message_type.add(name=name)
        for field, number, kind, type_name, repeated in fields:
            label = _Field.LABEL_REPEATED if repeated else _Field.LABEL_OPTIONAL
            added = message.field.add(name=field, number=number, type=kind, label=label)
            if type_name:
                added.type_name = type_name
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(timestamp_pb2.DESCRIPTOR.serialized_pb)
    pool.AddSerializedFile(file.SerializeToString())
    found = pool.FindMessageTypeByName(f"{_PACKAGE}.StatusResponse")
    return message_factory.GetMessageClass(found)


StatusResponse: Any = _make()


@dataclass(frozen=True)
class Vertex:
    """One node of the build's graph, mostly a Dockerfile step. Times: seconds since the epoch, 0 for none."""

    digest: str
    name: str
    cached: bool = False
    started: float = 0.0
    completed: float = 0.0
    error: str = ""

    @property
    def seconds(self) -> float:
        return max(0.0, self.completed - self.started) if self.completed and self.started else 0.0

    @property
    def is_cancelled(self) -> bool:
        """True if it ended because another one failed: ``process "/bin/sh -c make" did not complete: context
        canceled``."""
        return "context canceled" in self.error

    @property
    def is_step(self) -> bool:
        """True for a step of the Dockerfile: ``[2/3] RUN make``, ``[build 1/2] FROM …``."""
        return self.name.startswith("[") and not self.name.startswith("[internal]")

    @property
    def image(self) -> str:
        """The full name of the image that it reads, "" if it reads none."""
        match = _IMAGE.fullmatch(self.name)
        return (match[1] or match[2]) if match else ""


@dataclass(frozen=True)
class Log:
    """A piece of a vertex's output. It may begin and end anywhere in a line."""

    digest: str
    at: float
    text: bytes


def _seconds(message: Any, field: str) -> float:
    if not message.HasField(field):
        return 0.0
    stamp = getattr(message, field)
    return float(stamp.seconds + stamp.nanos / 1e9)


def decode(aux: str) -> list[Vertex | Log]:
    """The records in one ``moby.buildkit.trace`` message, vertices first. Raises ValueError on anything else."""
    try:
        status = StatusResponse.FromString(base64.b64decode(aux, validate=True))
    except (binascii.Error, DecodeError) as error:
        raise ValueError(f"not a BuildKit progress record: {error}") from error
    vertices = [
        Vertex(v.digest, v.name, v.cached, _seconds(v, "started"), _seconds(v, "completed"), v.error)
        for v in status.vertexes
    ]
    return [*vertices, *(Log(entry.vertex, _seconds(entry, "timestamp"), entry.msg) for entry in status.logs)]
