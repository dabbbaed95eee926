"""The labels by which everything of an installation is found on a Docker Engine."""

from __future__ import annotations

from typing import Any

Body = dict[str, Any]


INSTANCE = "pushlive.instance"


PIPELINE = "pushlive.pipeline"


ENVIRONMENT = "pushlive.environment"


INDEX = "pushlive.index"


SLOT = "pushlive.slot"


RELEASE = "pushlive.release"


RUN = "pushlive.run"


COMMIT = "pushlive.commit"


REPLICA = "pushlive.replica"


COMMAND = "pushlive.command"


ROLE = "pushlive.role"


ADDRESS = "pushlive.address"


PORT = "pushlive.port"


MEMORY = "pushlive.memory"  # bytes


STOP = "pushlive.stop"  # whole seconds


SPEC = "pushlive.spec"  # hash of all that makes a container what it is


LOGS = {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "3"}}
