"""How many files and sockets this process may have open."""

from __future__ import annotations

import logging

try:
    import resource
except ImportError:  # pragma: no cover - a system without such limits
    resource = None  # type: ignore[assignment]

log = logging.getLogger(__name__)

WANTED = 1 << 20
"""More than any server here uses; Linux allows it to everybody where the hard limit does."""

_NO_LIMIT = 1 << 30


def open_files_limit() -> int:
    """The limit in force."""
    if resource is None:  # pragma: no cover
        return _NO_LIMIT
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _NO_LIMIT if soft == resource.RLIM_INFINITY else soft


def raise_open_files_limit() -> int:
    """Takes what the system allows: the limit a shell hands down (often 1,024) is meant for programs without connections.

    Returns: the limit in force.
    """
    if resource is None:  # pragma: no cover
        return _NO_LIMIT
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = WANTED if hard == resource.RLIM_INFINITY else min(hard, WANTED)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        except (OSError, ValueError) as error:
            log.warning("the limit of open files stays at %d: %s", soft, error)
    return open_files_limit()
