"""Moves recorded acts into the audit log."""

from __future__ import annotations

from pipeline.maintenance.job import Changes, Job
from pipeline.store.audit_head import AuditHead


class Audit(Job):
    """Reports what is wrong with the log's end once."""

    def __init__(self, head: AuditHead) -> None:
        self._head, self._problems = head, Changes()

    def run(self) -> list[str]:
        return self._problems.report(self._head.move())
