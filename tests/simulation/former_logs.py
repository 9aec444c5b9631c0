"""C11, as far as one machine goes: the log a broker comes back with is, byte for byte, the one it went with.

What certainly lay on its disk when it went is kept here; what it has after the next start must begin with that, apart from
whole files that retention took from the front.
"""

from __future__ import annotations

from gantry.errors import MQError
from gantry.testing.simulated_cluster import SimulatedBroker

from .trace import Trace

LOG = "/store/commitlog"


class FormerLogs:
    """The logs of brokers that are down. `compared` counts bytes."""

    def __init__(self, trace: Trace, seed: int) -> None:
        self.compared = 0
        self._trace = trace
        self._seed = seed
        self._kept: dict[str, tuple[int, dict[int, bytes]]] = {}

    def goes(self, broker: SimulatedBroker, *, power: bool) -> None:
        """To be called before the broker is gone. A kill loses nothing; a power cut what was not synced."""
        store = broker.controller.context.store
        end = store.flushed_offset if power else store.max_physical_offset
        self._kept[broker.name] = end, _read_log(broker, end)

    def comes(self, broker: SimulatedBroker) -> None:
        """To be called after its start. Raises: AssertionError."""
        end, before = self._kept.pop(broker.name, (0, {}))
        after = _read_log(broker, end)
        where = f"seed {self._seed}, {broker.name}"
        minimum = broker.controller.context.store.min_physical_offset
        for start, data in before.items():
            now = after.get(start)
            if now is None and start < minimum:
                continue
            assert now is not None, f"C11: {where}: the file of the log at {start} is gone, the log begins at {minimum}"
            if now != data:
                at = next(i for i, (old, new) in enumerate(zip(data, now, strict=False)) if old != new) if now else 0
                raise AssertionError(f"C11: {where}: byte {start + at} of the log, synced up to {end}, is not what it was")
            self.compared += len(data)


def _read_log(broker: SimulatedBroker, end: int) -> dict[int, bytes]:
    """The log's files below `end`, by their start."""
    found: dict[int, bytes] = {}
    disk = broker.disk
    for name in disk.list_dir(LOG) if disk.exists(LOG) else []:
        if not name.isdigit() or int(name) >= end:
            continue
        file = disk.open(f"{LOG}/{name}", writable=False)
        try:
            found[int(name)] = file.pread(min(end - int(name), file.size), 0)
        except MQError as error:
            raise AssertionError(f"the test cannot read {name}: {error}") from error
        finally:
            file.close()
    return found
