"""The settings and the environment of every git that Pushlive starts: to serve a push, to fetch, to read.

No configuration of the system, the user or a repository weakens them, and neither do hooks, prompts or replaced
objects.
"""

from __future__ import annotations

from collections.abc import Iterable

# Findings of ``git fsck`` about who wrote a commit, and when. Old histories have them, they cannot be corrected without
# rewriting every commit since, and they say nothing about the files. What a tree or a .gitmodules may not contain, and
# what is damaged, stays an error.
HARMLESS = (
    "badDate",
    "badDateOverflow",
    "badEmail",
    "badName",
    "badTimezone",
    "missingEmail",
    "missingNameBeforeEmail",
    "missingSpaceBeforeDate",
    "missingSpaceBeforeEmail",
    "multipleAuthors",
    "nulInCommit",
    "zeroPaddedDate",
    "zeroPaddedFilemode",
)
# Those that a maintainer may ignore as well: every other one that git can ignore.
MORE_FINDINGS = (
    "badObjectSha1",
    "badParentSha1",
    "badTree",
    "badTreeSha1",
    "badType",
    "duplicateEntries",
    "emptyName",
    "fullPathname",
    "gitattributesBlob",
    "gitattributesLarge",
    "gitattributesLineLength",
    "gitattributesMissing",
    "gitmodulesBlob",
    "gitmodulesLarge",
    "gitmodulesMissing",
    "gitmodulesName",
    "gitmodulesPath",
    "gitmodulesSymlink",
    "gitmodulesUpdate",
    "gitmodulesUrl",
    "hasDot",
    "hasDotdot",
    "hasDotgit",
    "missingAuthor",
    "missingCommitter",
    "missingObject",
    "missingTag",
    "missingTagEntry",
    "missingTree",
    "missingType",
    "missingTypeEntry",
    "nullSha1",
    "treeNotSorted",
    "unknownType",
)


def ignoring(findings: Iterable[str]) -> dict[str, str]:
    """The settings by which pushes and fetches ignore these findings."""
    return {f"{act}.fsck.{name}": "ignore" for name in findings for act in ("receive", "fetch")}


SETTINGS = ignoring(HARMLESS) | {
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
