"""UPDATE_AND_CREATE_SUBSCRIPTIONGROUP (200): makes or changes one consumer group."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from gantry.errors import BrokerError
from gantry.model import SubscriptionGroupConfig
from gantry.model.topic_validator import validate_group
from gantry.protocol import json_dialect
from gantry.protocol.remoting.codes import ResponseCode
from gantry.protocol.remoting.command import RemotingCommand

from ..attributes import SUBSCRIPTION_GROUP_ATTRIBUTES, alter_attributes
from .update_and_create_topic import QUEUE_NUMS_MAX

if TYPE_CHECKING:
    from gantry.runtime.remoting_server import RequestContext

    from ..context import BrokerContext

log = logging.getLogger(__name__)


class UpdateAndCreateSubscriptionGroupProcessor:
    """Returns after the group is on disk. Source: AdminBrokerProcessor.updateAndCreateSubscriptionGroup (5.5)."""

    def __init__(self, broker: BrokerContext) -> None:
        self._broker = broker

    async def __call__(self, ctx: RequestContext, request: RemotingCommand, header: None) -> RemotingCommand:
        config = json_dialect.decode_request(request.body, SubscriptionGroupConfig)
        log.info("updateAndCreateSubscriptionGroup %s called by %s", config.group_name, ctx.channel.remote_address)
        await update_groups(self._broker, [config])
        return request.reply()


async def update_groups(broker: BrokerContext, configs: list[SubscriptionGroupConfig]) -> None:
    """Makes or changes groups, whose attributes carry the signs of a change; all or none.

    Returns after they are on disk. Raises: BrokerError, StoreError.
    """
    for config in configs:
        remark = validate_group(config.group_name)
        if remark is not None:
            raise BrokerError(ResponseCode.INVALID_PARAMETER, remark)
        if not 0 <= config.retry_queue_nums <= QUEUE_NUMS_MAX:
            raise BrokerError(
                ResponseCode.INVALID_PARAMETER,
                f"The group[{config.group_name}] has retryQueueNums {config.retry_queue_nums}, "
                f"allowed are 0 to {QUEUE_NUMS_MAX}.",
            )
        known = broker.subscriptions.table.get(config.group_name)
        config.attributes = alter_attributes(
            SUBSCRIPTION_GROUP_ATTRIBUTES, None if known is None else known.attributes, config.attributes
        )
    broker.subscriptions.update_all(configs)
    await broker.subscriptions.file.flush()
