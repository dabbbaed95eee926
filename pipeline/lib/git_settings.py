"""The settings and the environment of every git that Pushlive starts: to serve a push, to fetch, to read.

No configuration of the system, the user or a repository weakens them, and neither do hooks, prompts or replaced
objects.
"""

from __future__ import annotations

from collections.abc import Iterable

SETTINGS = {
    "core.attributesFile": "/dev/null",
    # Larger files are streamed. Without it, half a megabyte of packed zeros takes half a gigabyte of memory.
    "core.bigFileThreshold": "4m",
    "core.fsmonitor": "false",
    "core.hooksPath": "/dev/null",
    "core.packedGitLimit": "128m",
    "core.packedGitWindowSize": "16m",
    "core.quotePath": "false",
    "credential.helper": "",
    "i18n.logOutputEncoding": "UTF-8",
    "log.mailmap": "false",
    "pack.threads": "1",  # each takes memory of its own
    "pack.windowMemory": "32m",
    "safe.directory": "*",
    "submodule.recurse": "false",
    "tar.umask": "0022",  # the modes of a usual checkout
    "transfer.fsckObjects": "true",
}
ENVIRONMENT = {
    "GIT_ASKPASS": "",
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
    "LC_ALL": "C",
}
# What clients see and may change. The last line that fits a ref counts, so that everything unnamed is hidden.
VISIBLE = tuple(("transfer.hideRefs", refs) for refs in ("refs", "!refs/heads", "!refs/tags"))


def in_environment(settings: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The variables that give git these settings: they override the repository's own, and no process list has them."""
    found: dict[str, str] = {}
    for number, (name, value) in enumerate(settings):
        found |= {f"GIT_CONFIG_KEY_{number}": name, f"GIT_CONFIG_VALUE_{number}": value}
        found["GIT_CONFIG_COUNT"] = str(number + 1)
    return found
