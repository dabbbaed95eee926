"""Names of environments that are short enough for a cluster, and what a commit's id looks like. Pure."""

from __future__ import annotations

import hashlib
import re

from pipeline.config.previews.names import is_preview
from pipeline.domain.environment import SLOTS

LONGEST = 63  # characters of a Service's name on a cluster, and of a label's value
# A pod's name is its ReplicaSet's, cut to 58 characters, and five more. It tells which slot answered, so the whole of
# ``<name>-green-<ten characters>-`` must fit into it.
ROOM = 58 - len("-green-") - 10 - len("-")
_TAIL = 6  # hex digits
_LIKE_A_TAIL = re.compile(rf"[0-9a-f]{{{_TAIL}}}")

_COMMIT = re.compile(r"[0-9a-f]{7,64}")


def own_name(pipeline: str, environment: str) -> str:
    """``hello-live``; ``hello--login`` for a preview, whose environment is called like its pipeline."""
    return pipeline if pipeline == environment and is_preview(pipeline) else f"{pipeline}-{environment}"


def service_name(pipeline: str, environment: str) -> str:
    """``hello-live``: the name of an environment's Service, short enough for everything that is named after it.

    Unique: a hash of both names is added if the environment's name contains a hyphen, is the name of a slot, or looks
    like such a hash, and if the whole would be too long.
    """
    plain = own_name(pipeline, environment)
    special = "-" in environment or environment in SLOTS or _LIKE_A_TAIL.fullmatch(environment)
    if not special and len(plain) <= ROOM:
        return plain
    tail = hashlib.sha256(f"{pipeline}/{environment}".encode()).hexdigest()[:_TAIL]
    return f"{plain[: ROOM - _TAIL - 1].rstrip('-')}-{tail}"


def is_commit_id(text: str) -> bool:
    """True for a commit's id or the first digits of one, at least seven. A branch may have such a name too; no name is
    ever meant by it."""
    return bool(_COMMIT.fullmatch(text)) and bool(text.strip("0"))  # all zeros mean "delete" to git
