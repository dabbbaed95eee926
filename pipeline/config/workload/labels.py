"""Labels and annotations of one's own. What the engines and Pushlive decide by is reserved."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints

from pipeline.config.fields import Text, Words

# Docker's rules for who may use which prefix, https://docs.docker.com/engine/manage-resources/labels/, and Kubernetes',
# https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/.
_RESERVED = ("com.docker.", "io.docker.", "org.dockerproject.", "io.kubernetes.", "pushlive.", "pushlive/")
_CORE = re.compile(r"(.*\.)?(kubernetes\.io|k8s\.io)/.*")
_OFFERED = re.compile(r"app\.kubernetes\.io/(version|component|part-of|instance)")
_SECURITY = re.compile(r"([^/]*\.)?security\.[^/]*(kubernetes\.io|k8s\.io)/.*")
_QUALIFIED = re.compile(
    r"(([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?)/)?[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?"
)
_VALUE = re.compile(r"([A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)?")


def _label(text: str) -> str:
    if text.startswith(_RESERVED) or (_CORE.fullmatch(text) and not _OFFERED.fullmatch(text)):
        raise ValueError(
            f"{text[:80]!r} has a prefix that is reserved; write one of your own, such as example.com/team"
        )
    return text


def _annotation(text: str) -> str:
    if not is_qualified(text):
        raise ValueError(
            f"{text[:80]!r} is not the name of an annotation; write for example example.com/team"
        )
    host = text.partition("/")[0] if "/" in text else ""
    if text.startswith(_RESERVED) or host in ("kubernetes.io", "k8s.io") or _SECURITY.fullmatch(text):
        raise ValueError(
            f"{text[:80]!r} has a prefix that is reserved; write one of your own, such as example.com/team"
        )
    return text


def is_qualified(text: str) -> bool:
    """True for a name that Kubernetes takes for a label or an annotation."""
    return bool(_QUALIFIED.fullmatch(text))


def is_label_value(text: str) -> bool:
    """True for a value that Kubernetes takes for a label."""
    return bool(_VALUE.fullmatch(text))


LabelName = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z0-9]([A-Za-z0-9._/-]*[A-Za-z0-9])?$", max_length=317),
    AfterValidator(_label),
    Words("the name of a label, such as example.com/team"),
]
AnnotationName = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z0-9]([A-Za-z0-9._/-]*[A-Za-z0-9])?$", max_length=317),
    AfterValidator(_annotation),
    Words("the name of an annotation, such as example.com/team"),
]
_Short = Annotated[Text, StringConstraints(max_length=4096), Words("text of at most 4096 characters")]
_Long = Annotated[Text, StringConstraints(max_length=65536), Words("text of at most 65536 characters")]
Labels = Annotated[dict[LabelName, _Short], Field(max_length=64)]
Annotations = Annotated[dict[AnnotationName, _Long], Field(max_length=64)]
