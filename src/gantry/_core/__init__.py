"""Leaf loops over bytes that several rooms share, each in pure Python and, where it was built, compiled.

`GANTRY_CORE` chooses: `auto` (default: compiled where it is there), `c` (an error where it is not), `python`.
`ACCEL` says which is in use: "c" or "python".
"""

from __future__ import annotations

import os

from gantry.errors import ConfigError

_wanted = os.environ.get("GANTRY_CORE", "auto")
if _wanted not in ("auto", "c", "python"):
    raise ConfigError(f"GANTRY_CORE is {_wanted!r}; use auto, c or python")

try:
    if _wanted == "python":
        raise ImportError("the pure twin was asked for")
    from gantry._core import _leaf_c as _leaf

    ACCEL = "c"
except ImportError as error:
    if _wanted == "c":
        raise ConfigError(
            "GANTRY_CORE=c, but the compiled core is not built; install with a C compiler and GANTRY_BUILD_CORE=1"
        ) from error
    from gantry._core import _leaf_py as _leaf  # type: ignore[no-redef]

    ACCEL = "python"

java_string_hash = _leaf.java_string_hash
scan_records = _leaf.scan_records

__all__ = ["ACCEL", "java_string_hash", "scan_records"]
