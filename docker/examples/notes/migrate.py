"""Migrations of the database: `up` applies those that are missing, `down` takes the last one back.

Each is a file in migrations/, in the order of their names; what takes it back follows the line `-- down`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pg8000.native

import database

FOLDER = Path(__file__).parent / "migrations"
LOCK = 4711  # two migrations never run at the same time


def up(connection: pg8000.native.Connection, done: list[str]) -> None:
    for file in sorted(FOLDER.glob("*.sql")):
        if file.stem not in done:
            forward, _, _ = file.read_text().partition("-- down\n")
            connection.run(forward)
            connection.run("INSERT INTO migrations (name) VALUES (:name)", name=file.stem)
            print(f"{file.stem}: applied", flush=True)


def down(connection: pg8000.native.Connection, done: list[str]) -> None:
    for name in done[-1:]:
        _, _, backward = (FOLDER / f"{name}.sql").read_text().partition("-- down\n")
        connection.run(backward)
        connection.run("DELETE FROM migrations WHERE name = :name", name=name)
        print(f"{name}: taken back", flush=True)


def main(direction: str) -> None:
    with database.connect() as connection:
        connection.run("BEGIN")
        connection.run("SELECT pg_advisory_xact_lock(:lock)", lock=LOCK)
        connection.run("CREATE TABLE IF NOT EXISTS migrations (name text PRIMARY KEY)")
        done = [name for [name] in connection.run("SELECT name FROM migrations ORDER BY name")]
        {"up": up, "down": down}[direction](connection, done)
        connection.run("COMMIT")


if __name__ == "__main__":
    if sys.argv[1:] not in (["up"], ["down"]):
        sys.exit("usage: migrate.py up | down")
    main(sys.argv[1])
