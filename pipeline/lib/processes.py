"""How our processes end: with the one that started them, and quietly when nobody reads their output."""

from __future__ import annotations

import ctypes
import gc
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn

SUPERVISED = "--supervised"  # an argument of `pushlive up` to its children: end with your parent
RESTORING = "restoring"  # a file in a data folder while it is restored: nothing may start on it
_PR_SET_PDEATHSIG = 1
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # malloc.h


def die_with_parent() -> None:
    """SIGTERM for this process when its parent dies (Linux; elsewhere the sweep handles leftovers)."""
    try:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    except (OSError, AttributeError):
        return


def return_freed_memory() -> None:
    """From now on, what this process frees goes back to the system (glibc; elsewhere the allocator decides). By default
    each thread keeps a heap of its own, and after a few large blocks those of up to 32 MB stay in it."""
    with suppress(OSError, AttributeError):
        set_option = ctypes.CDLL(None).mallopt
        set_option(_M_ARENA_MAX, 2)
        set_option(_M_MMAP_THRESHOLD, 256 << 10)
        set_option(_M_TRIM_THRESHOLD, 1 << 20)


def share_with_forks() -> None:
    """What this process has now stays in memory that its forks share. The garbage collector writes into each object
    that it looks at, which would give every fork a copy of it: from now on it leaves these alone."""
    gc.collect()
    gc.freeze()


def until_pipe_closes(main: Callable[[], int]) -> int:
    """The exit code of ``main``, or 141 (as after SIGPIPE) if the reader of its output is gone, as in ``… | head``."""
    try:
        try:
            return main()
        finally:
            sys.stdout.flush()  # here, where the exception is caught, and not when Python exits
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes once more at exit
        return 128 + signal.SIGPIPE


def exit_with(main: Callable[[], int]) -> NoReturn:
    """Ends this process with the exit code of ``main``."""
    sys.exit(until_pipe_closes(main))
