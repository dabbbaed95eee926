"""Commands of people on a cluster."""

from __future__ import annotations

from pipeline.adapters.kubernetes.engine_base import EngineBase
from pipeline.domain.engine_types import SlotRef, SlotSpec
from pipeline.errors import RequestError
from pipeline.ports.clock import Watch
from pipeline.ports.terminal import Session, Wanted


class KubeTerminals(EngineBase):
    """See ``ports.Terminals``."""

    def run_session(self, spec: SlotSpec, wanted: Wanted, watch: Watch) -> Session:  # noqa: ARG002
        raise self._not_yet(spec.ref)

    def exec_session(self, ref: SlotRef, replica: str, wanted: Wanted) -> Session:  # noqa: ARG002
        raise self._not_yet(ref)

    def end_session(self, ref: SlotRef, session: str, replica: str = "") -> None:
        """Nothing was started."""

    def _not_yet(self, ref: SlotRef) -> RequestError:
        return RequestError(
            f"{ref.pipeline}/{ref.environment} runs on a cluster, where commands cannot be run through Pushlive yet.",
            advice=f"`kubectl -n {self._api.namespace} exec` runs one in a pod.",
        )
