"""The doors: the only place with sockets, files, threads, clocks and randomness.

Modules are imported by name (`from gantry.runtime.disk import Disk`); this package imports none of them by itself, so
that a tool that needs the configuration reader does not load the network.
"""

from __future__ import annotations
