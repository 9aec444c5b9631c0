"""A simulated world for tests, ours and users': virtual clock, memory network, faulty disk, seeded randomness."""

from __future__ import annotations
