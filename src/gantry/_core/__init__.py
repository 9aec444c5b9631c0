"""Leaf loops over bytes that several rooms share, each in pure Python and, where it was built, compiled.

`GANTRY_CORE` chooses: `auto` (default: compiled where it is there), `c` (an error where it is not), `python`.
`ACCEL` says which is in use: "c" or "python".
"""

from __future__ import annotations

import os
from importlib.machinery import PathFinder

from gantry.errors import ConfigError

TWINS = (
    "_core/_leaf_c",
    "store/_pending_keys_c",
    "store/_append_c",
    "broker/hot/_headers_c",
    "broker/hot/_pull_c",
    "broker/hot/_hot_c",
)
"""Compiled modules of the package. They rely on each other, so all of them are used or none."""


def missing_twins(package: str) -> list[str]:
    """Those that were not built. `package` is the folder of the package."""
    missing = []
    for twin in TWINS:
        room, _, name = twin.rpartition("/")
        # Found, not imported: the rooms they live in stand above this one.
        if PathFinder.find_spec(name, [os.path.join(package, room)]) is None:
            missing.append(twin)
    return missing


_missing = missing_twins(os.path.dirname(__path__[0]))
_wanted = os.environ.get("GANTRY_CORE", "auto")
if _wanted not in ("auto", "c", "python"):
    raise ConfigError(f"GANTRY_CORE is {_wanted!r}; use auto, c or python")

try:
    if _wanted == "python":
        raise ImportError("the pure twin was asked for")
    if _missing:
        raise ImportError(f"not built: {', '.join(_missing)}")
    from gantry._core import _leaf_c as _leaf

    ACCEL = "c"
except ImportError as error:
    if _wanted == "c":
        raise ConfigError(
            f"GANTRY_CORE=c, but the compiled core is not there ({error}); install with a C compiler and GANTRY_BUILD_CORE=1"
        ) from error
    from gantry._core import _leaf_py as _leaf  # type: ignore[no-redef]

    ACCEL = "python"

java_string_hash = _leaf.java_string_hash
scan_records = _leaf.scan_records

__all__ = ["ACCEL", "java_string_hash", "scan_records"]
