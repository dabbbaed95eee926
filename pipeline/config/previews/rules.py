"""What `previews` and the rest of the file have to fit together."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from pipeline.config.models import Config, Pipeline
from pipeline.config.previews.keys import Previews
from pipeline.config.previews.names import SECRETS
from pipeline.config.yaml_nodes import Problem, show_path

Line = Callable[..., int]  # the line of a key, or of the last one above it that is there


def problems(config: Config, line: Line) -> Iterator[Problem]:
    """Each with its line."""
    hosts: dict[str, str] = {}
    for name, pipeline in config.pipelines.items():
        if (keys := pipeline.previews) is None:
            continue
        for key, text in _wrong(pipeline, keys):
            path = ("pipelines", name, "previews", *key)
            yield Problem(line(*path), show_path(path), text)
        if keys.host and (other := hosts.setdefault(keys.host, name)) != name:
            path = ("pipelines", name, "previews", "host")
            text = f"the previews of {other} have these names already; write another name"
            yield Problem(line(*path), show_path(path), text)


def _wrong(pipeline: Pipeline, keys: Previews) -> Iterator[tuple[tuple[str, ...], str]]:
    if keys.branches.matching(pipeline.source.branch) is not None:
        yield (
            ("branches",),
            f"{keys.branches} matches {pipeline.source.branch}, the branch that the pipeline deploys; write a pattern "
            "that it does not match, such as feature/*",
        )
    if SECRETS in pipeline.environments:
        yield (
            (),
            f"an environment is called {SECRETS}, which is what secrets of previews are set for; rename it",
        )
    if keys.from_ not in pipeline.environments:
        yield ("from",), f"there is no environment {keys.from_}; it has {', '.join(pipeline.environments)}"


def unwise(config: Config, pipeline: Pipeline) -> Iterator[tuple[str, str]]:
    """What may not be meant: the key below `previews`, and the text of a warning."""
    if (keys := pipeline.previews) is None or keys.from_ not in pipeline.environments:
        return
    rendered = pipeline.render(keys.from_)
    if rendered.service.binds:
        folders = ", ".join(sorted(rendered.service.binds.values()))
        yield "from", f"previews share folders of the machine with {keys.from_} (`binds`): {folders}"
    if keys.cost is not None and config.costs.machine_of(rendered.engine.key) is None:
        key = rendered.engine.key
        yield (
            "cost",
            f"{key} has no price in `costs.machines`, so no cost of a preview is known, and none is removed",
        )
