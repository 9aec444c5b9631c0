"""Pull requests that wait for a message."""

from .pull_request_hold import HeldPull, PullRequestHold

__all__ = ["HeldPull", "PullRequestHold"]
