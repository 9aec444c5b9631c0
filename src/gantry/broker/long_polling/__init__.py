"""Requests that wait for a message: pulls of one queue, and pops of several."""

from .pop_hold import HeldPop, PopHold
from .pull_request_hold import HeldPull, PullRequestHold
from .watches import Watches

__all__ = ["HeldPop", "HeldPull", "PopHold", "PullRequestHold", "Watches"]
