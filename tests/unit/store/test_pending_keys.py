"""The bulk way of keys into an index file, in the twin that is in use."""

from __future__ import annotations

import random

from gantry._core import java_string_hash
from gantry.protocol.disk.index_layout import ENTRY, ENTRY_SIZE, SLOT_SIZE, key_hash
from gantry.store.pending_keys import PendingKeys, lay_out_index

SLOTS = 1000


def test_entries_have_the_hash_of_topic_and_key() -> None:
    rng = random.Random(3)
    keys = [
        (topic, text)
        for topic in ("T", "Tä", "Other")
        for text in (
            "",
            "a",
            "T#TagA",
            "x" * 12,
            "x" * 13,
            "Ж😀" * 5,
            *(f"7F0000010001{rng.randrange(1 << 60):020X}" for _ in range(50)),
        )
    ] * 2
    entries = laid_out(keys)
    assert [entry[0] for entry in entries] == [key_hash(f"{topic}#{text}") for topic, text in keys]
    assert [entry[1] for entry in entries] == list(range(len(keys)))


def test_the_hash_that_has_no_absolute_value_is_0() -> None:
    front = "7F0000010001"
    rest = (0x80000000 - java_string_hash(f"T#{front}{'0' * 7}")) % (1 << 32)
    digits = []
    for _ in range(7):
        rest, digit = divmod(rest, 31)
        digits.append(chr(ord("0") + digit))
    key = front + "".join(reversed(digits))
    assert java_string_hash(f"T#{key}") == -0x80000000
    assert laid_out([("T", key)])[0][0] == 0


def laid_out(keys: list[tuple[str, str]]) -> list[tuple[int, ...]]:
    pending = PendingKeys()
    for number, (topic, text) in enumerate(keys):
        pending.add(topic, [text.encode()], number, 1_700_000_000_000 + number)
    entries = bytearray(len(keys) * ENTRY_SIZE)
    lay_out_index(pending.batch(), 0, len(keys), 1, 1_700_000_000_000, bytearray(SLOTS * SLOT_SIZE), entries, bytearray(1))
    return list(ENTRY.iter_unpack(entries))
