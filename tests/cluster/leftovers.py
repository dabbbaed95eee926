"""Removes what pods leave behind if they are not ended: processes, shims, mounts, network namespaces, control groups
and data."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

from tests.cluster.processes import command, gone
from tests.cluster.where import CGROUP, HOME, NETWORK, RUN, SOCKET

CGROUPS = Path("/sys/fs/cgroup")
NOTES = Path("/var/lib/cni/results")  # what the network plugins created
POD_LOGS = Path("/var/log/containers")
DEVICES = Path("/var/lib/kubelet/device-plugins")


def groups() -> list[Path]:
    """The control groups that all pods are in: one for each controller in version 1, one in version 2."""
    roots = [CGROUPS] if (CGROUPS / "cgroup.controllers").exists() else sorted(CGROUPS.iterdir())
    return [root / CGROUP.strip("/") for root in roots if root.is_dir() and not root.is_symlink()]


def make_groups() -> None:
    for group in groups():
        if group.parent.name == "unified":
            continue  # version 2 beside version 1: it contains no pod
        group.mkdir(exist_ok=True)
        for name in ("cpuset.cpus", "cpuset.mems"):  # in version 1 they are empty at first
            with suppress(FileNotFoundError):
                if not (group / name).read_text().strip():
                    (group / name).write_text((group.parent / name).read_text())


def clear() -> None:
    """Ends every pod of this cluster, and removes everything of it."""
    end_processes()
    unmount()
    forget_notes()
    for group in groups():
        for folder, _, _ in os.walk(group, topdown=False):
            with suppress(OSError):
                os.rmdir(folder)
    shutil.rmtree(RUN, ignore_errors=True)
    shutil.rmtree(HOME, ignore_errors=True)


def end_processes() -> None:
    """Includes the shims, which would report an ended pod."""
    numbers = shims()
    for group in groups():
        for folder, _, _ in os.walk(group):
            with suppress(OSError):
                numbers |= {int(line) for line in (Path(folder) / "cgroup.procs").read_text().split()}
    for number in numbers:
        with suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)
    gone(numbers, 10)


def shims() -> set[int]:
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            words = command(int(entry.name))
            if words and "containerd-shim" in words[0] and str(SOCKET) in words:
                found.add(int(entry.name))
    return found


def unmount() -> None:
    """In the reverse order of mounting."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    points = [line.split()[4].encode().decode("unicode_escape") for line in lines]
    for point in reversed(points):
        if any(Path(point).is_relative_to(folder) for folder in (HOME, RUN)):
            subprocess.run(["umount", "--lazy", point], capture_output=True)


def forget_notes() -> None:
    """Removes files that are always written outside of the cluster's folders."""
    for note in NOTES.glob(f"{NETWORK}-*-eth0"):
        sandbox = note.name.removeprefix(f"{NETWORK}-").removesuffix("-eth0")
        note.unlink(missing_ok=True)
        (NOTES / f"cni-loopback-{sandbox}-lo").unlink(missing_ok=True)
    for link in POD_LOGS.glob("*.log"):
        if link.is_symlink() and link.readlink().is_relative_to(HOME):
            link.unlink()
    if [entry.name for entry in DEVICES.parent.glob("*")] == [DEVICES.name]:  # no other kubelet uses it
        shutil.rmtree(DEVICES.parent, ignore_errors=True)
