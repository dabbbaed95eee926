"""What takes much memory: each attack alone, and all of them at once."""

from __future__ import annotations

import hashlib
import hmac
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle

from tests.attack.attacks import Act, ask, attack, crowd
from tests.attack.target import LOUD, NOISY, PATIENCE, Target, unique
from tests.support.developer import web
from tests.support.service import SECRET

PUSHES = 4
ZEROS = 480 << 20  # bytes in each push


@attack("much-output", "a viewer reads 10,000 lines of output, 24 times at once")
def much_output(target: Target, over: threading.Event) -> None:
    path = f"/api/pipelines/{NOISY}/output?lines=10000"

    def read() -> None:
        target.done["outputs read"] += (
            ask(target, "GET", path, Authorization=f"Bearer {target.viewer}") == 200
        )

    crowd(over, 24, read)


def signed(body: bytes, content_type: str) -> dict[str, str]:
    digits = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    return {
        "X_GitHub_Event": "push", "X_GitHub_Delivery": unique(), "Content_Type": content_type,
        "X_Hub_Signature_256": f"sha256={digits}",
    }  # fmt: skip


@attack("large-webhooks", "signed webhooks of 24 MB, as a form and as JSON, 4 at once")
def large_webhooks(target: Target, over: threading.Event) -> None:
    form = b"payload=" + b"%22" * (8 << 20)
    text = b'{"a": [' + b"0," * (12 << 20) + b"0]}"
    bodies = cycle([(form, "application/x-www-form-urlencoded"), (text, "application/json")])

    def send() -> None:
        body, kind = next(bodies)
        status = ask(target, "POST", "/hooks/github", body, **signed(body, kind))
        target.done["webhooks read"] += status == 400  # what they contain is no push

    crowd(over, 4, send)


@attack("zeros", f"{PUSHES} pushes at once of {ZEROS >> 20} MiB of zeros, half a megabyte on their way")
def zeros(target: Target, over: threading.Event) -> None:
    service = target.service
    clone = service.repository(NOISY)
    with (clone.folder / "zeros").open("wb") as file:
        file.truncate(ZEROS)
    clone.commit({"mark": unique()}, "Zeros")
    while not over.is_set():
        started = []
        for _ in range(PUSHES):
            started.append(clone.started("push", "pushlive", f"HEAD:refs/heads/zeros-{unique()}"))
        for one in started:
            target.done["pushes of zeros"] += ended(one, 60)


def ended(process: subprocess.Popen[str], seconds: float) -> bool:
    """True if it succeeded; one that takes longer is ended."""
    try:
        process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
    return process.returncode == 0


@attack("loud-release", "a release command that prints 40 MiB, again and again")
def loud_release(target: Target, over: threading.Event) -> None:
    clone = target.service.repository(LOUD)
    while not over.is_set():
        clone.commit(web(unique()), "Loud")
        target.done["loud releases"] += ended(clone.started("push", "pushlive", "main"), PATIENCE)


TOGETHER: tuple[Act, ...] = (much_output, large_webhooks, zeros, loud_release)


@attack("all-at-once", "all that takes much memory, at the same time", least=20)
def all_at_once(target: Target, over: threading.Event) -> None:
    with ThreadPoolExecutor(len(TOGETHER)) as pool:
        for future in [pool.submit(act, target, over) for act in TOGETHER]:
            future.result()
    for part in ("outputs read", "webhooks read", "pushes of zeros", "loud releases"):
        if not target.done[part]:
            target.wrong.append(f"{part}: none, so nothing was measured")
