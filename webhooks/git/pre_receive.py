"""git's pre-receive hook: notes who pushes what, before git moves a ref. The note is removed once the push is recorded,
so that a crash in between loses no push, and nothing that was not pushed here is taken for a push.

In the repository that has the configuration it asks the service first whether the pushed file can be the configuration;
a wrong one is refused here, and nothing of the push is taken.

git runs it as ``python -I -S pre_receive.py`` in every repository of the built-in server. It imports little, because
the pusher waits for it. ``pipeline/lib/push_notes.py`` says what a note looks like.
"""

import os
import sys

SKIP = ("ci.skip", "skip-ci")  # as in pipeline/lib/skipping.py
ANSWER_SECONDS = 60.0
NO_ANSWER = (
    "Pushlive does not say whether this configuration is right ({}). Nothing was pushed; push again later.\n"
)
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


def refusal(environ: "os._Environ[str]", refs: bytes) -> str:
    """Why the service refuses this push to the configuration's repository; "" if it does not."""
    import http.client
    from urllib.parse import quote

    who = {"Pusher": "REMOTE_USER", "Role": "PUSHLIVE_ROLE", "Address": "REMOTE_ADDR"}
    headers = {
        **{f"X-Pushlive-{name}": quote(environ.get(key, "")) for name, key in who.items()},
        "X-Pushlive-Internal": environ["PUSHLIVE_INTERNAL"],
        "X-Pushlive-Quarantine": environ.get(
            "GIT_QUARANTINE_PATH", ""
        ),  # git takes its objects from there later
        "Content-Type": "text/plain",
    }
    host, _, port = environ["PUSHLIVE_LISTEN"].rpartition(":")
    connection = http.client.HTTPConnection(host.strip("[]"), int(port), timeout=ANSWER_SECONDS)
    try:
        connection.request("POST", "/internal/pre-receive", refs, headers)
        answer = connection.getresponse()
        text = answer.read().decode("utf-8", "replace")
    except (OSError, http.client.HTTPException) as error:
        return NO_ANSWER.format(error)
    if answer.status == 200:
        return ""
    return text if answer.status == 422 else NO_ANSWER.format(f"status {answer.status}")


def main() -> int:
    who = f"{os.environ.get('PUSHLIVE_ROLE', '')} {os.environ.get('REMOTE_ADDR', '')}"
    option = f"option {skip}\n" if (skip := skip_option(os.environ)) else ""
    head = f"{os.environ.get('REMOTE_USER', '')}\n{who}\n{option}".encode()
    refs = sys.stdin.buffer.read()
    try:
        if "PUSHLIVE_CONFIGURATION" in os.environ and (why := refusal(os.environ, refs)):
            os.write(2, why.encode())
            return 1
        note(os.environ["PUSHLIVE_NOTE"], head + refs)
    except OSError as error:
        os.write(2, REFUSED.format(error.strerror or error).encode())
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
