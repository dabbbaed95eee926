"""Environments side by side, as data for ``pushlive parity``, the page and the API."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from pipeline.config.models import Config
from pipeline.deploy.parity.looking import Looked
from pipeline.domain.parity.matrix import NOT_COMPARED, Cell, Row, rows, share, told_apart

RULE = (
    "Of the properties that could be the same in all environments, those that are. What is inherent, such as host "
    "names, does not count; a difference counts as one, whether its reason is declared or not."
)


def shown(
    config: Config, pipeline: str, looked: Sequence[Looked], masked: Callable[[str], str]
) -> dict[str, Any]:
    """``masked``: hides the values of secrets in a text."""
    found = rows([one.column for one in looked])
    counted = share(found)
    return {
        "pipeline": pipeline,
        "percent": counted.percent,
        "same": counted.same,
        "of": counted.of,
        "declared": counted.declared,
        "undeclared": counted.undeclared,
        "inherent": counted.inherent,
        "rule": RULE,
        "environments": [_environment(config, pipeline, one, masked) for one in looked],
        "rows": [_row(one, masked) for one in found],
    }


def _environment(config: Config, pipeline: str, one: Looked, masked: Callable[[str], str]) -> dict[str, Any]:
    name = one.column.environment
    return {
        "environment": name,
        "release": one.column.release,
        "parity": config.pipelines[pipeline].environment(name).parity,
        "by_hand": [masked(text) for text in one.by_hand],
        "problem": masked(one.problem),
    }


def _row(row: Row, masked: Callable[[str], str]) -> dict[str, Any]:
    return {
        "name": row.name,
        "kind": row.kind.value,
        "by_hand": row.by_hand,
        "cells": [_cell(one, masked) for one in told_apart(row).cells],
    }


def _cell(cell: Cell, masked: Callable[[str], str]) -> dict[str, Any]:
    """``group`` is null for what is not known."""
    return {
        "environment": cell.environment,
        "text": masked(cell.text),
        "group": None if cell.group == NOT_COMPARED else cell.group,
        "made": None if cell.made is None else masked(cell.made),
        "wanted": None if cell.wanted is None else masked(cell.wanted),
        "reason": cell.reason,
    }
