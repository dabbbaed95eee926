"""Loads pipelines.yaml when it changes."""

from __future__ import annotations

from pipeline.maintenance.job import Changes, Job
from pipeline.store.configurations import Configurations


class Configuration(Job):
    """Reports what is wrong with the file once for each change."""

    def __init__(self, configurations: Configurations) -> None:
        self._configurations, self._problems = configurations, Changes()

    def run(self) -> list[str]:
        self._configurations.refresh()
        problem = self._configurations.problem()
        if self._problems.over(problem):
            self._problems.report("")
            return ["pipelines.yaml is valid again and in force"]
        return [
            f"{text}\nThe last good configuration stays in force until it is corrected."
            for text in self._problems.report(problem)
        ]
