"""Any text is a subscription or a declared error; one that names tags lets exactly those pass."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

from gantry.errors import RemoteProtocolError
from gantry.protocol.filter.tag import build_subscription, tags_match
from gantry.protocol.message import tags_code


def seeds() -> Iterable[bytes]:
    return (b"", b"*", b"a", b"a || b||c", b"||", b" * ||a", "ä||\U0001f600".encode(), b"|" * 40, b"a" * 300)


def check(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    with contextlib.suppress(RemoteProtocolError):
        found = build_subscription("T", text)
        assert found.tags_set == sorted({tag for tag in found.tags_set if tag == tag.strip() != ""})
        assert len(found.code_set) == len(found.tags_set)
        for tag in found.tags_set:
            assert tag in text
            assert tags_match(found, tags_code(tag))
        joined = "||".join(found.tags_set)
        # Bars at the ends of tags join into other tags, and a star that stands alone is none.
        if joined not in ("", "*") and "|" not in "".join(found.tags_set):
            again = build_subscription("T", joined)
            assert (again.tags_set, again.code_set) == (found.tags_set, found.code_set)
