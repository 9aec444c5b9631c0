"""Names of the files that make up one long sequence: commit log, consume queue."""

from __future__ import annotations

_DIGITS = 20


def offset_file_name(start: int) -> str:
    """Name of the file that begins at byte `start` of its sequence: 20 decimal digits, zero padded."""
    return f"{start:020d}"


def parse_offset_file_name(name: str) -> int | None:
    """Start of the file with this name; None when it is no such name."""
    return int(name) if len(name) == _DIGITS and name.isascii() and name.isdigit() else None
