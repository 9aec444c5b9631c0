"""Acknowledgements of orderly pops, which commit as they go."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from .order_info import NOT_OUT, OTHER_POP

if TYPE_CHECKING:
    from ..context import BrokerContext

log = logging.getLogger(__name__)


def ack_in_order(
    broker: BrokerContext, topic: str, group: str, queue_id: int, offset: int, pop_time: int, client_host: str
) -> str | None:
    """One message of an orderly pop is done; the remark of a refusal, None when it was taken or did not matter.

    Source: AckMessageProcessor.ackOrderly, ConsumerOrderInfoManager.commitAndNext (5.3). Raises: StoreError.
    """
    infos, offsets = broker.pop.order_infos, broker.offsets
    committed = offsets.query(group, topic, queue_id)
    if offset < committed:
        return None
    info = infos.find(topic, group, queue_id)
    if info is None:
        # Nothing is known of the pop: the consumer is believed, as the original does.
        following = offset + 1
    else:
        following = info.ack(offset, pop_time)
        if following == OTHER_POP:
            log.warning("%s@%s queue %d: the acknowledgement of %d is of an earlier pop", topic, group, queue_id, offset)
            return None
        if following == NOT_OUT:
            return (
                f"offset is illegal, key:{topic}@{group}@{queue_id}, old:{committed}, commit:{offset}, next:{following}, "
                f"/{client_host}"
            )
        infos.put(topic, group, queue_id, info, following, new=False)
    if not offsets.has_reset(group, topic, queue_id):
        offsets.commit(group, topic, queue_id, following, client_host)
    if not infos.blocks(topic, group, queue_id, None):
        broker.pop.queue_is_free(topic, group, queue_id)
    return None
