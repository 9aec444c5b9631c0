"""Which messages had fired already when the broker was stopped: told by the copies in the log. Pure.

Theory. Firing appends the copy first and notes the progress later, in a checkpoint. What a crash takes is the note, so after
a start some slots come again whose messages have been delivered. But the log is the truth: the copies lie in it, behind the
offset that the checkpoint names. Counting them by what they were made of, and counting down with each message that would be
delivered again, leaves one copy per send; a sender that sent the same message twice gets its two.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from gantry.protocol.message.record import RecordView

from .due_message import TimerMessage, copy_key, key_of_copy


class Copies:
    """Memory: some 100 bytes for each copy in the part of the log that was looked at."""

    def __init__(self) -> None:
        self._found: Counter[int] = Counter()

    def note(self, view: RecordView) -> None:
        key = key_of_copy(view)
        if key is not None:
            self._found[key] += 1

    def __len__(self) -> int:
        return self._found.total()

    def key_of(self, message: TimerMessage, taken: Counter[int], *, rolls: bool | None) -> int | None:
        """The key of a copy that this message has made and that is not counted in `taken`; None when there is none.

        `rolls`: it would be put back (True), delivered (False), either (None).
        """
        # A message that was put back and delivered later: its own copy is the one in the timer, that one's the delivered.
        for put_back in (True, False) if rolls is None else (rolls,):
            key = copy_key(message, put_back=put_back)
            if self._found.get(key, 0) > taken.get(key, 0):
                return key
        return None

    def take(self, keys: Iterable[int]) -> None:
        """These are accounted for."""
        self._found.subtract(keys)
