"""What Docker refuses because of what the configuration or the image says, as the application's failure. Pure."""

from __future__ import annotations

import re

from pipeline.adapters.docker_api.errors import DockerRefused
from pipeline.errors import AppFailed

# What Docker 20.10 to 28 answer, what that means, and what to do. {0}: the expression's group.
_CAUSES = (
    (
        # unable to find user app: no matching entries in passwd file
        re.compile(r"unable to find (?:user|group) ([^:]+): no matching"),
        "the image has no user or group {0}",
        "Write a number for `user` in pipelines.yaml, or add the user in the Dockerfile.",
    ),
    (
        # error gathering device information while adding custom device "/dev/x": no such file or directory
        re.compile(r'device information while adding custom device "([^"]+)"'),
        "the machine has no device {0}",
        "Give the machine that device, or take it out of `devices` in pipelines.yaml.",
    ),
    (
        # invalid mount config for type "bind": bind source path does not exist: /srv/photos
        re.compile(r"bind source path does not exist: (.+)$"),
        "the machine has no folder {0}",
        "Make it on the Engine's machine, or take it out of `binds` in pipelines.yaml.",
    ),
    (
        # error setting rlimits for ready process: error setting rlimit type 7: operation not permitted
        re.compile(r"error setting rlimits?\b"),
        "`ulimits` asks for more than the Docker daemon may give",
        "Write at most what the daemon has itself: `cat /proc/$(pidof dockerd)/limits` on its machine.",
    ),
    (
        # error mounting "tmpfs" to rootfs at "/bin/busybox": … not a directory
        re.compile(r'error mounting "[^"]*" to rootfs at "([^"]+)".*not a directory'),
        "{0} is to be a volume or a `tmpfs`, and is a file in the image",
        "Name a folder in pipelines.yaml.",
    ),
    (
        # Cannot mkdir: /bin/busybox is not a directory
        re.compile(r"Cannot mkdir: (\S+) is not a directory"),
        "`working_dir` is {0}, which is a file in the image",
        "Name a folder in pipelines.yaml.",
    ),
    (
        # source /var/lib/docker/overlay2/…/merged/bin/busybox is not directory
        re.compile(r"source \S+/merged(/\S+) is not (?:a )?directory"),
        "{0} is to be a volume, and is a file in the image",
        "Name a folder in pipelines.yaml.",
    ),
)
_NO_COMMAND = (
    "its command cannot be executed",
    "Check ENTRYPOINT and CMD in the Dockerfile, and `command` in pipelines.yaml.",
)


def as_application(name: str, error: DockerRefused) -> AppFailed | None:
    """None if it is not the application's doing."""
    for expression, meaning, advice in _CAUSES:
        if found := expression.search(error.said):
            return _failed(name, meaning.format(*found.groups()), advice, error)
    return _failed(name, *_NO_COMMAND, error) if _is_command(error) else None


def _is_command(error: DockerRefused) -> bool:
    return error.status == 400 and "exec: " in error.said


def _failed(name: str, what: str, advice: str, error: DockerRefused) -> AppFailed:
    return AppFailed(f"{name} cannot be started: {what}.", advice=advice, facts=(error.said,))
