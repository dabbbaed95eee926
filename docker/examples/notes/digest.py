"""The scheduled job: one line with the number of notes, kept in the database."""

from __future__ import annotations

import database


def main() -> None:
    with database.connect() as connection:
        [[notes]] = connection.run("SELECT count(*) FROM notes")
        connection.run("INSERT INTO digests (notes) VALUES (:notes)", notes=notes)
    print(f"notes: {notes}", flush=True)


if __name__ == "__main__":
    main()
