"""What people get instead of an application's answer: a line for visitors, and one for those who run it. ``\\n`` is
HAProxy's."""

from __future__ import annotations

TEXTS = {
    "text": 'content-type "text/plain; charset=utf-8"',
    "later": "hdr Retry-After 5",
    "broken": r"502: the application did not send a whole answer. Try again in a moment.\nFor its operators: it broke"
    r" off its answer, or its headers are far larger than the 68 KiB that the proxy passes on."
    " `pushlive logs PIPELINE --app --env ENVIRONMENT` prints its output.",
    "silent": r"503: the application does not answer at the moment. Try again in a moment.\nFor its operators: none of"
    " its containers answers. See `pushlive status`.",
    "slow": r"504: the application took too long to answer. Try again in a moment.\nFor its operators: it sent nothing"
    " for %[var(txn.timeout),div(1000)] s, its `timeout` in pipelines.yaml.",
    "unknown": "404: no environment is served under this name. `pushlive status` lists the names.",
    "ambiguous": "400: applications read this address in different ways (`//`, `..`, `%2f` and the like), so it is not"
    " known which of those on this host is meant. Write it plainly.",
    "empty": r"503: %[var(txn.name)] has no release yet, or its traffic was taken off.\nFor its operators: see"
    " `pushlive status`.",
    "exchanged": "503: %[var(txn.name)] is being replaced by another release, which takes longer than requests may"
    " wait. Try again in a moment.",
    "sleeps": "503: %[var(txn.name)] was asleep and is being woken, which takes longer than requests may wait. Try"
    r" again in a moment.\nFor its operators: see `pushlive status`.",
    "alone": "503: %[var(txn.name)] was asleep, and the service that wakes it does not run. Try again later."
    r"\nFor its operators: start Pushlive (`pushlive up`).",
    "not_running": r"503: Pushlive is not running at the moment, or is being started again. Try again in a moment. What"
    r" it has deployed keeps serving.\nFor its operators: `pushlive up` on its machine starts it.",
    "lost": "502: Pushlive broke off its answer. Try again in a moment.",
    "late": "504: Pushlive has sent nothing for an hour.",
    "nowhere": "404: name a slot in the header X-Pushlive-Slot, for example e3-green",
}
