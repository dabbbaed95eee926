"""The two answers that most routes give."""

from __future__ import annotations

from flask.typing import ResponseReturnValue

from pipeline.domain.run import Run


def run_accepted(run: Run) -> ResponseReturnValue:
    """202: the run is stored; a worker executes it."""
    return {"run": run.id}, 202


def messages(texts: tuple[str, ...]) -> ResponseReturnValue:
    return {"messages": list(texts)}
