"""The twins of pending keys: compiled where that was built, else pure; `GANTRY_CORE` chooses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gantry._core import ACCEL

from ._pending_keys_py import Key

if TYPE_CHECKING or ACCEL == "python":
    from ._pending_keys_py import KeyBatch, PendingKeys, lay_out_index
else:
    from ._pending_keys_c import KeyBatch, PendingKeys, lay_out_index

__all__ = ["Key", "KeyBatch", "PendingKeys", "lay_out_index"]
