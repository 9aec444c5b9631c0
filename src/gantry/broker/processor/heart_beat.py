"""HEART_BEAT (34): a client tells of itself and its groups."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterator
from typing import TYPE_CHECKING

from gantry.errors import BrokerError
from gantry.model import perm_name, sys_flag
from gantry.model.heartbeat import HeartbeatData
from gantry.model.names import retry_topic
from gantry.protocol.remoting.body.heartbeat import decode_heartbeat
from gantry.protocol.remoting.codes import LanguageCode, ResponseCode
from gantry.protocol.remoting.command import RemotingCommand

from ..client_manager.client_channel import ClientChannelInfo

if TYPE_CHECKING:
    from gantry.runtime.remoting_server import RequestContext

    from ..context import BrokerContext


GROUP_COUNT_MAX = 2_000
"""Groups of one heartbeat. A client that has so many producers and consumers has more threads than a machine can run."""

GROUPS_AT_ONCE = 200
"""Groups registered before others have their turn: each may create a group and a retry topic, and write log lines."""

REJECT = "reject"
"""Value of subscriptionConflictPolicy."""

IS_SUPPORT_HEART_BEAT_V2 = "IS_SUPPORT_HEART_BEAT_V2"
IS_SUB_CHANGE = "IS_SUB_CHANGE"


class HeartBeatProcessor:
    """Registers the connection under every group named, stores subscriptions, makes retry topics.

    A heartbeat with a fingerprint (V2) may leave the subscriptions out; the answer's IS_SUB_CHANGE asks for them.
    V1 answers always say so: that is how a client learns that V2 is understood.
    Source: ClientManageProcessor.heartBeat (5.3).
    """

    def __init__(self, broker: BrokerContext) -> None:
        self._broker = broker

    def __call__(
        self, ctx: RequestContext, request: RemotingCommand, header: None
    ) -> RemotingCommand | Awaitable[RemotingCommand]:
        data = decode_heartbeat(request.body)
        group_count = len(data.producer_data_set) + len(data.consumer_data_set)
        if group_count > GROUP_COUNT_MAX:
            raise BrokerError(
                ResponseCode.SYSTEM_ERROR, f"the heartbeat names {group_count} groups, a client has {GROUP_COUNT_MAX} at most"
            )
        info = ClientChannelInfo(
            channel=ctx.channel,
            client_id=data.client_id,
            language=language_name(request.language),
            version=request.version,
            last_update_monotonic_ms=self._broker.clock.monotonic_ms(),
            last_update_timestamp=self._broker.clock.now_ms(),
        )
        refused: list[str] = []
        steps = self._register(data, info, refused)
        if group_count > GROUPS_AT_ONCE:
            return self._slowly(request, data, steps, info, refused)
        return _answer(request, data, any([*steps]), refused)

    async def _slowly(
        self,
        request: RemotingCommand,
        data: HeartbeatData,
        steps: Iterator[bool],
        info: ClientChannelInfo,
        refused: list[str],
    ) -> RemotingCommand:
        send_subscriptions = False
        for count, wanted in enumerate(steps, 1):
            send_subscriptions |= wanted
            if not count % GROUPS_AT_ONCE:
                await asyncio.sleep(0)
                if info.channel.closed:
                    break  # its end was told to the groups it was in by then; it must not join further ones
        return _answer(request, data, send_subscriptions, refused)

    def _register(self, data: HeartbeatData, info: ClientChannelInfo, refused: list[str]) -> Iterator[bool]:
        """Registers group by group; each step says whether the client is to send its subscriptions.

        `refused` gets a sentence for each group that does not take the client in.
        """
        broker = self._broker
        without_sub = bool(data.heartbeat_fingerprint) and data.without_sub
        for consumer in data.consumer_data_set:
            group_config = broker.subscriptions.find(consumer.group_name)
            if group_config is None:
                # Not refused as a whole: the client's other groups are in the same heartbeat.
                continue
            if broker.config.subscription_conflict_policy == REJECT and not without_sub:
                members = broker.consumers.conflict_with_members(consumer, info.channel)
                if members is not None:
                    change = broker.consumers.unregister(consumer.group_name, info.channel)
                    if change is not None:
                        broker.client_manager.announce([change])
                    refused.append(
                        f"group {consumer.group_name} does not take {info.client_id} in: its members listen to something else "
                        f"({members}); give it equal subscriptions, or a group of its own"
                    )
                    yield False
                    continue
            broker.topics.create_retry(
                retry_topic(consumer.group_name),
                group_config.retry_queue_nums,
                perm_name.PERM_READ_WRITE,
                sys_flag.TOPIC_UNIT_SUB if consumer.unit_mode else 0,
            )
            change = broker.consumers.register(
                consumer,
                info,
                notify_enabled=group_config.notify_consumer_ids_changed_enable,
                with_subscriptions=not without_sub,
            )
            if not without_sub:
                broker.consumer_filters.register(consumer.group_name, consumer.subscription_data_set)
            send_subscriptions = broker.consumers.note_fingerprint(
                consumer.group_name, data.heartbeat_fingerprint, without_sub=without_sub
            )
            if change is not None:
                broker.client_manager.announce([change])
            yield send_subscriptions
        for producer in data.producer_data_set:
            broker.producers.register(producer.group_name, info)
            yield False


def _answer(request: RemotingCommand, data: HeartbeatData, send_subscriptions: bool, refused: list[str]) -> RemotingCommand:
    """The client's other groups are registered when one of them refuses it; the code tells that something is wrong."""
    answer = request.reply(ResponseCode.NO_PERMISSION, "; ".join(refused)) if refused else request.reply()
    answer.ext_fields = {
        IS_SUPPORT_HEART_BEAT_V2: "true",
        IS_SUB_CHANGE: "true" if send_subscriptions or not data.heartbeat_fingerprint else "false",
    }
    return answer


def language_name(language: int) -> str:
    """The official name of a command's language code; OTHER for one we do not know."""
    try:
        return LanguageCode(language).name
    except ValueError:
        return LanguageCode.OTHER.name
