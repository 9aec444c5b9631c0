"""The twins of bulk dispatch: compiled where that was built, else pure; `GANTRY_CORE` chooses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gantry._core import ACCEL

if TYPE_CHECKING or ACCEL == "python":
    from ._bulk_dispatch_py import BulkDispatch
else:
    from ._bulk_dispatch_c import BulkDispatch

__all__ = ["BulkDispatch"]
