"""``pushlive capacity``: what the machines have, what is used, and how much more fits."""

from __future__ import annotations

from typing import Any

from pipeline.cli.command import JSON, command
from pipeline.cli.context import DONE, Context
from pipeline.cli.terminal import Cell, cleaned, table
from pipeline.domain.capacity.rows import COLUMNS, data_folder, rows, sentences


@command("show what the machines have, what is used, and how many more pipelines fit", JSON)
def capacity(context: Context) -> int:
    answer = context.ask("GET", "/api/capacity")
    if context.json:
        context.print_json(answer)
        return DONE
    found, terminal = cleaned(answer), context.terminal
    for one in found["machines"]:
        terminal.say(terminal.paint(_title(one, found["currency"]), "bold"))
        lines: list[tuple[Cell, ...]] = [
            (f"· {row.name}" if row.part else row.name, *row.cells) for row in rows(one)
        ]
        terminal.data(*table(("", *COLUMNS), lines, terminal.paint, right=(1, 2, 3), indent="  "))
        terminal.say(*(f"  {line}." for line in sentences(one)))
        terminal.say(*(f"  ! {line}." for line in (*one["unknown"], *one["pressure"])))
    if folder := data_folder(found["data"]):
        terminal.say(folder)
    terminal.say(found["rule"])
    terminal.note(*(f"{one['text']}. {one['advice']}" for one in found["shortages"]))
    return DONE


def _title(one: dict[str, Any], currency: str) -> str:
    price = f", {one['monthly']:.2f} {currency} a month" if one["monthly"] is not None else ""
    engine = f" ({one['engine']})" if one["engine"] != one["name"] else ""
    return f"{one['name']}{engine}{price}"
