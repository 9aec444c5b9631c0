"""The engine of the common path: plain sends, one call per socket read.

`HotIngest` is what the remoting server puts in front of its request table, one per connection. It lets the engine lay out
the sends of each read in the plan of the turn (`HotTurn`), which writes them and makes them real or gives them up; every frame
the engine leaves alone goes on to the Python processors, which know all the rules. So there is one behaviour at two speeds.

The engine is chosen once, by GANTRY_CORE: the pure one here, its compiled twin where that was built.
"""

from typing import TYPE_CHECKING

from gantry._core import ACCEL

from .busy_poll import BusyPoll
from .ingest import HotIngest
from .turn import HotTurn

if TYPE_CHECKING or ACCEL == "python":
    from ._hot_py import HotEngine
    from ._plan_py import HotPlan
else:
    from ._hot_c import HotEngine, HotPlan

__all__ = ["BusyPoll", "HotEngine", "HotIngest", "HotPlan", "HotTurn"]
