"""What an environment is called where names are few and short. Pure."""

from __future__ import annotations

import hashlib
import re

from pipeline.domain.environment import SLOTS

LONGEST = 63  # characters of a Service's name on a cluster, and of a label's value
# A pod is named by its ReplicaSet, cut to 58 characters, and five more. Who answered is told by that name: the whole of
# ``<name>-green-<ten characters>-`` has to be in it.
ROOM = 58 - len("-green-") - 10 - len("-")
_TAIL = 6  # hex digits
_LIKE_A_TAIL = re.compile(rf"[0-9a-f]{{{_TAIL}}}")


def service_name(pipeline: str, environment: str) -> str:
    """``hello-live``: the name of an environment's Service, short enough for all that is named after it.

    No two environments have the same one: where the environment's name has a hyphen itself, is a slot's or could be
    such a hash, or the whole would be too long, a hash of both names is added.
    """
    plain = f"{pipeline}-{environment}"
    special = "-" in environment or environment in SLOTS or _LIKE_A_TAIL.fullmatch(environment)
    if not special and len(plain) <= ROOM:
        return plain
    tail = hashlib.sha256(f"{pipeline}/{environment}".encode()).hexdigest()[:_TAIL]
    return f"{plain[: ROOM - _TAIL - 1].rstrip('-')}-{tail}"


def same_repository(url: str) -> str:
    """A URL in a form in which https, ssh and scp-like ways to one repository are equal."""
    text = re.sub(r"^[a-z+]+://", "", url.strip().lower())
    text = re.sub(r"^[^@/]*@", "", text)
    text = re.sub(r"^([^/:]+):(?!\d+/)", r"\1/", text)
    return re.sub(r"(\.git)?/*$", "", text)
