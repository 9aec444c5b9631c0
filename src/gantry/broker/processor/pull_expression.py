"""The part of a pull that deals with expressions over properties: where the filter comes from, and what refuses it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from gantry.errors import BrokerError, FilterExpressionError, ProtocolError
from gantry.model import SubscriptionData, names
from gantry.protocol.remoting.codes import ResponseCode
from gantry.protocol.remoting.header.pull_message import PullMessageRequestHeader

from ..consumer_filter import NO_FILTER, PullFilter, compile_expression, retry_filter, sql_filter
from .remarks import FILTER_DATA_NOT_EXIST

if TYPE_CHECKING:
    from gantry.protocol.filter.sql92 import SqlFilter

    from ..context import BrokerContext

log = logging.getLogger(__name__)


def registered_filter(broker: BrokerContext, header: PullMessageRequestHeader) -> SqlFilter:
    """What the group's heartbeats said. Raises: BrokerError."""
    filters = broker.consumer_filters
    data = filters.find(header.topic, header.consumer_group)
    compiled = None if data is None else filters.compiled(data)
    if data is None or compiled is None:
        raise BrokerError(ResponseCode.FILTER_DATA_NOT_EXIST, FILTER_DATA_NOT_EXIST)
    if data.client_version < header.sub_version:
        log.warning(
            "The broker's consumer filter data is not latest, group: %s, topic: %s, serverV: %d, clientV: %d",
            header.consumer_group, header.topic, data.client_version, header.sub_version,
        )  # fmt: skip
        raise BrokerError(ResponseCode.FILTER_DATA_NOT_LATEST, "the consumer's consumer filter data not latest")
    return compiled


def expression_filter(
    broker: BrokerContext, header: PullMessageRequestHeader, subscription: SubscriptionData, compiled: SqlFilter | None
) -> PullFilter:
    """The registered filter, already `compiled`, else that of the expression which came with the pull. Raises: BrokerError."""
    if compiled is None:
        try:
            compiled = compile_expression(subscription.sub_string, subscription.expression_type)
        except FilterExpressionError as error:
            # The original serves such a pull without any filter; its client would take messages it never asked for.
            raise not_parsed(header, error) from None
    if subscription.class_filter_mode:
        return NO_FILTER
    if broker.config.filter_support_retry and names.is_retry_topic(header.topic):
        return retry_filter(broker.consumer_filters, header.topic[len(names.RETRY_GROUP_TOPIC_PREFIX) :])
    return sql_filter(compiled)


def not_parsed(header: PullMessageRequestHeader, error: ProtocolError) -> BrokerError:
    log.warning("Parse the consumer's subscription failed, group: %s: %s", header.consumer_group, error)
    return BrokerError(ResponseCode.SUBSCRIPTION_PARSE_FAILED, f"parse the consumer's subscription failed: {error}")
