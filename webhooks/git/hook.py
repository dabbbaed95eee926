"""git's post-receive hook: tells the service which refs moved, and shows the pusher what it answers.

Run as ``python -I -S hook.py`` by git, in every repository of the built-in server. It imports next to
nothing, because the pusher waits for it, and never fails: the refs have moved already, and the service's
sweep finds a push that could not be told.
"""

import os
import socket
import sys

TICK, END = 0x16, 0x04  # "still here" and "that was all"; no line holds them
CONNECT_SECONDS = 5.0
SILENCE_SECONDS = 60.0  # the service ticks every 10 s
LOST = b"The service does not answer just now; your push is kept and is taken up by itself.\n"
BROKEN = b"The service stopped talking; the run goes on without this window.\n"


def request(environ: "os._Environ[str]", refs: bytes) -> bytes:
    """HTTP/1.0, so that the answer comes unchunked and ends with the connection."""
    body = f"{environ['PUSHLIVE_REPOSITORY']}\n{environ.get('REMOTE_USER', '')}\n".encode() + refs
    head = (
        "POST /internal/post-receive HTTP/1.0\r\n"
        f"Host: {environ['PUSHLIVE_LISTEN']}\r\n"
        f"X-Pushlive-Internal: {environ['PUSHLIVE_INTERNAL']}\r\n"
        f"X-Pushlive-Pusher: {environ.get('PUSHLIVE_ROLE', '')} {environ.get('REMOTE_ADDR', '')}\r\n"
        f"Content-Type: text/plain\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def show(answer: socket.socket) -> bool:
    """Copies the answer's body to standard output as it comes; True when it came to its end."""
    head = b""
    while b"\r\n\r\n" not in head:
        piece = answer.recv(65536)
        if not piece:
            return False
        head += piece
    first, _, body = head.partition(b"\r\n\r\n")
    if b" 200 " not in first.split(b"\r\n")[0]:
        return False
    while True:
        if shown := body.translate(None, bytes((TICK, END))):
            os.write(1, shown)
        if END in body:
            return True
        body = answer.recv(65536)
        if not body:
            return False


def main() -> None:
    refs = sys.stdin.buffer.read()
    host, _, port = os.environ["PUSHLIVE_LISTEN"].rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS) as answer:
            answer.settimeout(SILENCE_SECONDS)
            answer.sendall(request(os.environ, refs))
            if not show(answer):
                os.write(1, BROKEN)
    except BrokenPipeError:
        return  # the pusher has gone
    except OSError:
        os.write(1, LOST)


if __name__ == "__main__":
    main()
