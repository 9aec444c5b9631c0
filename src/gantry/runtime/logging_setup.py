"""Log files as operators know them: ~/logs/rocketmqlogs/<name>.log, rotated by size, a bounded number kept.

Shape:  `2024-05-01 12:00:00 INFO main - message`; one line per event. Control characters in messages are escaped, since
        topics, remarks and client ids come from outside and must not forge a line or drive a terminal; the lines of a
        trace back are indented, so that none of them looks like an event.
Source: layout of the official rmq.namesrv.logback.xml and rmq.broker.logback.xml (5.3).
"""

from __future__ import annotations

import logging
import logging.handlers
import os
import re
import sys
import threading
from collections.abc import Mapping

from gantry.errors import ConfigError

LOG_BYTES_MAX = 100 * 1024 * 1024
LOG_FILES_MAX = 10

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_LEVELS = {logging.WARNING: "WARN", logging.CRITICAL: "ERROR"}


def escape_control(text: str) -> str:
    """Control characters as \\n, \\r, \\t or \\xNN; everything else stays.

    >>> escape_control("a\\r\\nb\\x1b[31m")
    'a\\\\r\\\\nb\\\\x1b[31m'
    """
    if text.isprintable():
        return text
    return _CONTROL.sub(lambda match: repr(match.group())[1:-1], text)


class LineFormatter(logging.Formatter):
    """One event, one line; a trace back follows indented."""

    def __init__(self) -> None:
        super().__init__(datefmt="%Y-%m-%d %H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        level = _LEVELS.get(record.levelno, record.levelname)
        thread = "main" if record.thread == threading.main_thread().ident else record.threadName
        line = f"{self.formatTime(record, self.datefmt)} {level} {thread} - {escape_control(record.getMessage())}"
        trace = ""
        if record.exc_info:
            trace = self.formatException(record.exc_info)
        if record.stack_info:
            trace += "\n" + record.stack_info
        for part in trace.splitlines():
            line += "\n\t" + escape_control(part.replace("\t", "    "))
        return line


def log_directory(environ: Mapping[str, str] | None = None) -> str:
    """`ROCKETMQ_LOG_DIR` when set, else logs/rocketmqlogs in the home directory."""
    environ = os.environ if environ is None else environ
    chosen = environ.get("ROCKETMQ_LOG_DIR")
    return chosen if chosen else os.path.join(os.path.expanduser("~"), "logs", "rocketmqlogs")


def set_up_logging(
    name: str,
    *,
    directory: str | None = None,
    level: int = logging.INFO,
    bytes_max: int = LOG_BYTES_MAX,
    files_max: int = LOG_FILES_MAX,
) -> str:
    """Send every log of the process to <directory>/<name>.log; returns its path.

    The file holds at most `bytes_max`, then becomes <name>.log.1 and so on, at most `files_max` older ones. Calling it
    again replaces the file. Warnings and errors before it go to stderr, as logging does by itself.
    Raises: ConfigError when the file cannot be written.
    """
    directory = directory or log_directory()
    path = os.path.join(directory, f"{name}.log")
    try:
        os.makedirs(directory, exist_ok=True)
        handler = logging.handlers.RotatingFileHandler(
            path, maxBytes=bytes_max, backupCount=files_max, encoding="utf-8", errors="backslashreplace"
        )
    except OSError as e:
        raise ConfigError(f"log file {path} cannot be written: {e.strerror or e}") from e
    handler.setFormatter(LineFormatter())
    root = logging.getLogger()
    for old in list(root.handlers):
        if isinstance(old, logging.handlers.RotatingFileHandler):
            root.removeHandler(old)
            old.close()
    root.addHandler(handler)
    root.setLevel(level)
    # asyncio tells about slow callbacks and closed transports at levels meant for its own debugging.
    logging.getLogger("asyncio").setLevel(max(level, logging.WARNING))
    return path


def boot_line(text: str) -> None:
    """Say a start or stop line on stdout and in the log; operators and scripts wait for it on stdout."""
    logging.getLogger("gantry").info("%s", text)
    print(escape_control(text), flush=True)


def fail_line(text: str) -> None:
    """Say why the process ends, on stderr and in the log."""
    logging.getLogger("gantry").error("%s", text)
    print(escape_control(text), file=sys.stderr, flush=True)
