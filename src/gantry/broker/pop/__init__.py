"""POP consumption: the ledger of what is out, its files, revival of what came due, and orderly pops."""

from .room import PopRoom

__all__ = ["PopRoom"]
