"""What is wrong, or unwise, about caps, beside their form."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from pipeline.config.cost.cap import PREVIEWS, is_preview
from pipeline.config.models import Config
from pipeline.config.yaml_nodes import Problem, show_path

Line = Callable[..., int]  # the line of a key, or of the last one above it that is there


def problems(config: Config, line: Line) -> Iterator[Problem]:
    """Each with its line."""
    costs = config.costs
    for name in costs.pipelines:
        if name not in config.pipelines:
            path = ("costs", "pipelines", name)
            known = ", ".join(config.pipelines) or "none yet"
            yield Problem(line(*path), show_path(path), f"there is no such pipeline; there are: {known}")
    for number, name in enumerate(costs.give_way):
        if why := _wrong(config, name, costs.give_way[:number]):
            at = line("costs", "give_way")
            yield Problem(at, show_path(("costs", "give_way", number)), why)


def _wrong(config: Config, name: str, before: tuple[str, ...]) -> str:
    if name in before:
        return f"{name} is listed twice here; remove one of them"
    if name == PREVIEWS:
        return ""
    pipeline, _, environment = name.rpartition("/")
    if pipeline and pipeline not in config.pipelines:
        return f"there is no pipeline {pipeline}; there are: {', '.join(config.pipelines) or 'none yet'}"
    found = [one for key, one in config.pipelines.items() if pipeline in ("", key)]
    having = [one for one in found if environment in one.environments]
    if not having:
        known = dict.fromkeys(each for one in found for each in one.environments)
        return f"no pipeline has an environment {environment}; there are: {', '.join(known) or 'none yet'}"
    if all(environment == next(reversed(one.environments)) for one in having):
        return f"{name} is live, which never gives way; remove it"
    return ""


def yielding(config: Config) -> Iterator[tuple[str, str]]:
    """Pipeline and environment of what gives way, in the order in which it does; each once."""
    seen = set[tuple[str, str]]()
    for name in config.costs.give_way:
        for one in _named(config, name):
            if one not in seen:
                seen.add(one)
                yield one


def _named(config: Config, name: str) -> Iterator[tuple[str, str]]:
    pipeline, _, environment = name.rpartition("/")
    for key, one in config.pipelines.items():
        if is_preview(key):
            yield from ((key, each) for each in one.environments if name == PREVIEWS)
        elif pipeline in ("", key) and environment in list(one.environments)[:-1]:
            yield key, environment


def unwise(config: Config) -> Iterator[tuple[str, str]]:
    """Path and text of what keeps a cap from being judged, or from holding."""
    costs = config.costs
    if not costs.capped:
        if costs.give_way:
            yield "costs.give_way", "has no effect without a `cap`"
        return
    first = "costs.cap" if costs.cap is not None else "costs.pipelines"
    if not costs.machines:
        yield first, "cannot be judged: no machine has a price in `costs.machines`; nothing is refused"
        return
    # How many nodes a cluster has is known only once it is measured.
    whole = sum(one.monthly for one in costs.machines.values() if one.kubernetes is None)
    if costs.cap is not None and whole > costs.cap:
        yield (
            "costs.cap",
            f"the machines alone cost {whole:.2f} {costs.currency} a month, which is more than "
            f"{costs.cap:.2f}; whatever gives way, the month costs more",
        )
