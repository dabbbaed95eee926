"""An engine on a Kubernetes cluster: a Deployment for each slot, and a Service whose selector is the switch.

The cluster restarts crashed containers, moves pods between nodes, and takes pods that are not ready out of a Service.
This engine only declares what should run, and which slot takes the traffic.
"""

from __future__ import annotations

from pipeline.adapters.dumps import Dumps
from pipeline.adapters.kubernetes.adoption import KubeAdoption
from pipeline.adapters.kubernetes.commands import KubeCommands
from pipeline.adapters.kubernetes.cost.metering import KubeMetering
from pipeline.adapters.kubernetes.sleep.sleeping import KubeSleeping
from pipeline.adapters.kubernetes.workload.accessories import KubeAccessories
from pipeline.adapters.kubernetes.workload.outputs import KubeOutputs
from pipeline.adapters.kubernetes.workload.processes import KubeProcesses
from pipeline.adapters.kubernetes.workload.restarts import KubeRestarts
from pipeline.adapters.kubernetes.workload.scheduled import KubeScheduled
from pipeline.adapters.kubernetes.workload.terminals import KubeTerminals
from pipeline.adapters.kubernetes.workload.volumes import KubeVolumes


class KubeEngine(
    KubeSleeping,
    KubeCommands,
    KubeAdoption,
    Dumps,
    KubeAccessories,
    KubeTerminals,
    KubeOutputs,
    KubeRestarts,
    KubeProcesses,
    KubeScheduled,
    KubeVolumes,
    KubeMetering,
):
    """All ports (``ports.WholeEngine``)."""
