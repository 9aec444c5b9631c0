"""pytest plugin: fixtures for code that uses Gantry."""

from __future__ import annotations
