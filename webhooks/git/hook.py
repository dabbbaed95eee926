"""git's post-receive hook: tells the service which refs moved, and prints its answer for the pusher.

git runs it as ``python -I -S hook.py`` in every repository of the built-in server. It imports little, because the
pusher waits for it, and never fails: the refs have already moved, and the keeper finds pushes that the service did not
hear of by the notes of ``pre_receive.py``.
"""

import os
import socket
import sys

TICK, END = 0x16, 0x04  # keep-alive and end of the answer; no line contains them
CONNECT_SECONDS = 5.0
SILENCE_SECONDS = 60.0  # the service ticks every 10 s
UNREACHABLE = b"Pushlive does not answer. Your push is stored; its run starts when the service is back.\n"
DISCONNECTED = b"The connection to Pushlive was lost. The run continues.\n"


def request(environ: "os._Environ[str]", refs: bytes) -> bytes:
    """HTTP/1.0, so that the answer is not chunked and ends with the connection."""
    body = f"{environ['PUSHLIVE_REPOSITORY']}\n{environ.get('REMOTE_USER', '')}\n".encode() + refs
    head = (
        "POST /internal/post-receive HTTP/1.0\r\n"
        f"Host: {environ['PUSHLIVE_LISTEN']}\r\n"
        f"X-Pushlive-Internal: {environ['PUSHLIVE_INTERNAL']}\r\n"
        f"X-Pushlive-Pusher: {environ.get('PUSHLIVE_ROLE', '')} {environ.get('REMOTE_ADDR', '')}\r\n"
        f"X-Pushlive-Push: {os.path.basename(environ.get('PUSHLIVE_NOTE', ''))}\r\n"
        f"Content-Type: text/plain\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def show(answer: socket.socket) -> bool:
    """Copies the response body to standard output as it arrives; True if it was complete."""
    head = b""
    while b"\r\n\r\n" not in head:
        chunk = answer.recv(65536)
        if not chunk:
            return False
        head += chunk
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
                os.write(1, DISCONNECTED)
    except BrokenPipeError:
        return  # the pusher disconnected
    except OSError:
        os.write(1, UNREACHABLE)


if __name__ == "__main__":
    main()
