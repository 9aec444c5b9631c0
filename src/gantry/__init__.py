"""Gantry: a message platform that speaks Apache RocketMQ's wire, disk and operator's language."""

__version__ = "0.1.0"

from gantry import _core  # noqa: F401 - decides which modules are compiled ones, before any of them is imported
