"""Whether sends, and whether pulls, may take the short way now: asked for each read. Compiled as it stands (`gates.pxd`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gantry.model import perm_name
from gantry.store import PutStatus

if TYPE_CHECKING:
    from ..context import BrokerContext

_READ = perm_name.PERM_READ
_WRITE = perm_name.PERM_WRITE


def sends_are_common(broker: BrokerContext) -> bool:
    """False sends all of them the long way, where each is refused with its own words or waits for what it must."""
    config = broker.config
    return not (
        config.start_accept_send_request_time_stamp
        or not config.broker_permission & _WRITE
        or broker.replicas.too_few
        or broker.waiting_sends.full
        or broker.store.state.reason is not None
    )


def ends_are_common(broker: BrokerContext) -> bool:
    """Whether ends of transactions may, beside what sends ask: nobody has to hear of copies that are missing."""
    return not broker.config.is_slave and broker.replicas.weak_status is PutStatus.PUT_OK


def pulls_are_common(broker: BrokerContext) -> bool:
    """False sends all of them the long way."""
    config = broker.config
    return not (
        not config.broker_permission & _READ
        or config.reject_pull_consumer_enable
        or config.slave_read_enable
        or broker.subscriptions.forbidden_table
        or broker.offsets.reset_table
    )
