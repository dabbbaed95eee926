"""The queue worker: counts the words of each note. The notes are their own queue, so none is lost or counted twice."""

from __future__ import annotations

import signal
import threading

import database

PAUSE = 0.5  # seconds, if nothing is left to do

stopped = threading.Event()


def count_one() -> bool:
    """False if no note waits."""
    with database.connect() as connection:
        connection.run("BEGIN")
        found = connection.run(
            "SELECT id, text FROM notes WHERE words IS NULL ORDER BY id FOR UPDATE SKIP LOCKED LIMIT 1"
        )
        for number, text in found:
            connection.run(
                "UPDATE notes SET words = :words WHERE id = :id", words=len(text.split()), id=number
            )
            print(f"note {number}: counted", flush=True)
        connection.run("COMMIT")
    return bool(found)


def main() -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    print("waiting for notes", flush=True)
    while not stopped.is_set():
        if not count_one():
            stopped.wait(PAUSE)
    print("stopped", flush=True)


if __name__ == "__main__":
    main()
