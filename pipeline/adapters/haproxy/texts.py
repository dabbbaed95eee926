"""What people get instead of an application's answer."""

from __future__ import annotations

TEXTS = {
    "text": 'content-type "text/plain; charset=utf-8"',
    "later": "hdr Retry-After 5",
    "broken": "502: the application broke off its answer, or its headers are far larger than the 68 KiB that the proxy"
    " passes on. `pushlive logs PIPELINE --app --env ENVIRONMENT` prints its output.",
    "silent": "503: the application does not answer on any of its containers. See `pushlive status`.",
    "slow": "504: the application sent nothing for %[var(txn.timeout),div(1000)] s, its `timeout` in pipelines.yaml.",
    "unknown": "404: no environment is served under this name. `pushlive status` lists the names.",
    "empty": "503: %[var(txn.name)] has no release yet, or its traffic was taken off. See `pushlive status`.",
    "exchanged": "503: the release of %[var(txn.name)] is being exchanged, which takes longer than requests may wait."
    " Try again in a moment.",
    "nowhere": "404: name a slot in the header X-Pushlive-Slot, for example e3-green",
}
