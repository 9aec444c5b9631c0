"""Gantry: a message platform that speaks Apache RocketMQ's wire, disk and operator's language."""

__version__ = "0.1.0"
