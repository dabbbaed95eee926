"""The labels by which an installation finds its containers and networks on a Docker Engine."""

from __future__ import annotations

from typing import Any

Body = dict[str, Any]  # what is created, in the Engine API's own terms

INSTANCE = "pushlive.instance"
PIPELINE = "pushlive.pipeline"
ENVIRONMENT = "pushlive.environment"
INDEX = "pushlive.index"
SLOT = "pushlive.slot"
RELEASE = "pushlive.release"
RUN = "pushlive.run"
COMMIT = "pushlive.commit"
KEY = "pushlive.key"  # of an image: what it was built from
REPLICA = "pushlive.replica"
COMMAND = "pushlive.command"
SESSION = "pushlive.session"  # of a container in which a person runs a command
CRON = "pushlive.cron"  # of a run by a schedule: the process
CRON_AT = "pushlive.cron-at"  # and the time of the schedule, seconds since the epoch
PROCESS = "pushlive.process"  # its name in the configuration
ROLE = "pushlive.role"
SWAP = "pushlive.swap"  # of a helper that lets the files of a volume change places
OWNER = "pushlive.owner"  # of a volume: the pipeline or the accessory that has it
OWNER_KIND = "pushlive.owner-kind"
VOLUME = "pushlive.volume"
ACCESSORY = "pushlive.accessory"  # with ACCESSORY_IN in place of PIPELINE, ENVIRONMENT and SLOT
ACCESSORY_IN = "pushlive.accessory-environment"
NETWORKS = "pushlive.networks"  # of others that it joins, separated by spaces
ADDRESS = "pushlive.address"
PORT = "pushlive.port"
MEMORY = "pushlive.memory"  # bytes
STOP = "pushlive.stop"  # whole seconds
SPEC = "pushlive.spec"  # fingerprint of the whole body, without labels
MADE = "pushlive.made"  # what the slot was made from (``domain.adoption.Made``): for a store that was lost

LOGS = {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "3"}}
