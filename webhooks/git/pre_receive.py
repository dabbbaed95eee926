"""git's pre-receive hook: notes who pushes what, before git moves a ref. The note is removed once the push is recorded,
so that a crash in between loses no push, and nothing that was not pushed here is taken for a push.

git runs it as ``python -I -S pre_receive.py`` in every repository of the built-in server. It imports little, because
the pusher waits for it. ``pipeline/lib/push_notes.py`` says what a note looks like.
"""

import os
import sys

SKIP = ("ci.skip", "skip-ci")  # as in pipeline/lib/skipping.py
REFUSED = "Pushlive cannot note this push ({}), so nothing was pushed. Tell a maintainer, then push again.\n"


def note(path: str, text: bytes) -> None:
    """Writes the file, as a whole or not at all, and onto the disk."""
    folder, name = os.path.split(path)
    os.makedirs(folder, exist_ok=True)
    fresh = os.path.join(folder, f".{name}")
    with open(fresh, "wb") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.rename(fresh, path)
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def skip_option(environ: "os._Environ[str]") -> str:
    """The option of the push that asks not to deploy it, "" without one."""
    count = environ.get("GIT_PUSH_OPTION_COUNT", "0")
    given = [
        environ.get(f"GIT_PUSH_OPTION_{n}", "")
        for n in range(min(100, int(count) if count.isdecimal() else 0))
    ]
    return next((option for option in given if option in SKIP), "")


def main() -> int:
    who = f"{os.environ.get('PUSHLIVE_ROLE', '')} {os.environ.get('REMOTE_ADDR', '')}"
    option = f"option {skip}\n" if (skip := skip_option(os.environ)) else ""
    head = f"{os.environ.get('REMOTE_USER', '')}\n{who}\n{option}".encode()
    try:
        note(os.environ["PUSHLIVE_NOTE"], head + sys.stdin.buffer.read())
    except OSError as error:
        os.write(2, REFUSED.format(error.strerror or error).encode())
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
