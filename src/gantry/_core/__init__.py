"""Leaf loops over bytes that several rooms share, each in pure Python and, where it was built, compiled.

`GANTRY_CORE` chooses: `auto` (default: compiled where it is there), `c` (an error where it is not), `python`.
`ACCEL` says which is in use: "c" or "python".
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.machinery import EXTENSION_SUFFIXES, ModuleSpec, PathFinder
from importlib.util import spec_from_file_location
from types import ModuleType

from gantry.errors import ConfigError

TWINS = (
    "_core/_leaf_c",
    "runtime/_cached_read_c",
    "store/_pending_keys_c",
    "store/_append_c",
    "store/_bulk_dispatch_c",
    "broker/hot/_headers_c",
    "broker/hot/_pull_c",
    "broker/hot/_transactions_c",
    "broker/hot/_hot_c",
)
"""Compiled modules of the package. They rely on each other, so all of them are used or none."""

COMPILED_AS_THEY_STAND = (
    "runtime/clock",
    "runtime/system_file",
    "runtime/channel",
    "runtime/connection",
    "store/disk_state",
    "store/stats",
    "store/commit_log",
    "store/appender",
    "broker/replicas",
    "broker/waiting_sends",
    "broker/long_polling/pull_request_hold",
    "broker/hot/gates",
    "broker/hot/turn",
    "broker/hot/ingest",
    "broker/hot/busy_poll",
)
"""Modules that have no twin: their Python source is what is compiled, with the types that stand in a .pxd beside it."""


def missing_twins(package: str) -> list[str]:
    """Those of both kinds that were not built. `package` is the folder of the package."""
    missing, compiled = [], tuple(EXTENSION_SUFFIXES)
    for module in TWINS + COMPILED_AS_THEY_STAND:
        room, _, name = module.rpartition("/")
        # Found, not imported: the rooms they live in stand above this one.
        spec = PathFinder.find_spec(name, [os.path.join(package, room)])
        if spec is None or spec.origin is None or not spec.origin.endswith(compiled):
            missing.append(module)
    return missing


class _SourceFirst:
    """Finds the source of what was compiled as it stands, where otherwise the compiled module goes first."""

    _names = frozenset("gantry." + module.replace("/", ".") for module in COMPILED_AS_THEY_STAND)

    @classmethod
    def find_spec(cls, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if fullname not in cls._names or not path:
            return None
        return spec_from_file_location(fullname, os.path.join(path[0], fullname.rpartition(".")[2] + ".py"))


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
    sys.meta_path.insert(0, _SourceFirst)

java_string_hash = _leaf.java_string_hash
scan_records = _leaf.scan_records

__all__ = ["ACCEL", "java_string_hash", "scan_records"]
