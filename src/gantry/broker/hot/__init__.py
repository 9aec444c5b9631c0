"""The engine of the common path: plain sends, one call per socket read.

`HotIngest` is what the remoting server puts in front of its request table, one per connection. It lets the engine lay out
a plan from the bytes, writes the plan's part of the log, and makes it real or gives it up; every frame the engine leaves
alone goes on to the Python processors, which know all the rules. So there is one behaviour at two speeds.

The engine is chosen once, by GANTRY_CORE: the pure one here, its compiled twin where that was built.
"""

from ._hot_py import HotEngine, HotPlan
from .ingest import HotIngest

__all__ = ["HotEngine", "HotIngest", "HotPlan"]
