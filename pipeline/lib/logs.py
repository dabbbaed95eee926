"""The service's own log. Whatever a record says, it cannot look like another record or steer a terminal."""

from __future__ import annotations

import logging
import sys
import threading

from pipeline.lib.text import escaped, printable_lines

FORMAT = "%(asctime)s %(name)s: %(message)s"


def configure(level: int) -> None:
    """Every logger of this process writes to standard error, through ``OneLine``; so do warnings, and exceptions that
    end a thread."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(OneLine(FORMAT))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.captureWarnings(True)
    threading.excepthook = _thread_ended


def also(handler: logging.Handler) -> None:
    """Every logger of this process writes there as well, in place of one of the same kind."""
    root = logging.getLogger()
    for one in [one for one in root.handlers if type(one) is type(handler)]:
        root.removeHandler(one)
    root.addHandler(handler)


class OneLine(logging.Formatter):
    """A message is one line, with everything else in it escaped; the lines of a traceback are indented."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        record.message = escaped(record.message)
        return super().formatMessage(record)

    def formatException(self, ei: logging._SysExcInfoType) -> str:
        return _indented(super().formatException(ei))

    def formatStack(self, stack_info: str) -> str:
        return _indented(super().formatStack(stack_info))


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in printable_lines(text))


def _thread_ended(given: threading.ExceptHookArgs) -> None:
    if given.exc_type is SystemExit or given.exc_value is None:
        return
    name = given.thread.name if given.thread else "a thread"
    what = (given.exc_type, given.exc_value, given.exc_traceback)
    logging.getLogger("pushlive").error("%s ended with an exception", name, exc_info=what)
