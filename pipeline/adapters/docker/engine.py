"""The Engine on one machine: containers on Docker, traffic through the proxy."""

from __future__ import annotations

from pipeline.adapters.docker.adoption import DockerAdoption
from pipeline.adapters.docker.commands import DockerCommands
from pipeline.adapters.docker.drift import DockerDrift
from pipeline.adapters.docker.processes import DockerProcesses
from pipeline.adapters.docker.scheduled import DockerScheduled
from pipeline.adapters.docker.sleep.sleeping import DockerSleeping
from pipeline.adapters.docker.tools.metering import DockerMetering
from pipeline.adapters.docker.tools.outputs import DockerOutputs
from pipeline.adapters.docker.tools.restarts import DockerRestarts
from pipeline.adapters.docker.volumes.docker_volumes import DockerVolumes


class DockerEngine(
    DockerSleeping,
    DockerDrift,
    DockerCommands,
    DockerAdoption,
    DockerRestarts,
    DockerOutputs,
    DockerProcesses,
    DockerScheduled,
    DockerVolumes,
    DockerMetering,
):
    """All ports of an engine (``ports.engine.WholeEngine``); ``DockerDrift`` is slots and traffic as well."""
