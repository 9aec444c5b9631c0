"""How many copies a send waits for, and what is answered when they are not there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gantry.store import PutStatus

from .config import SYNC_MASTER

if TYPE_CHECKING:
    from .config import BrokerConfig

_OK = PutStatus.PUT_OK


class Replicas:
    """The copies of this broker's log that are in sync, its own included.

    This version accepts no slaves, so there is one copy; a master that promises more says so in every answer (promises
    P1 and P2 of the reliability page): weak code 11, or a refusal below minInSyncReplicas.
    """

    def __init__(self, config: BrokerConfig) -> None:
        self._config = config

    @property
    def in_sync_count(self) -> int:
        return 1

    @property
    def too_few(self) -> bool:
        """Sends are refused before anything is stored."""
        return self._config.broker_role == SYNC_MASTER and self.in_sync_count < self._config.min_in_sync_replicas

    @property
    def weak_status(self) -> PutStatus:
        """How a put ends that waits for the copies: PUT_OK, or what is missing."""
        config = self._config
        enough = config.broker_role != SYNC_MASTER or self.in_sync_count >= config.replicas_awaited
        return _OK if enough else PutStatus.SLAVE_NOT_AVAILABLE
