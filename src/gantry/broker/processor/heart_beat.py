"""HEART_BEAT (34): a client tells of itself and its groups."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gantry.model import perm_name, sys_flag
from gantry.model.heartbeat import HeartbeatData
from gantry.model.names import retry_topic
from gantry.protocol.remoting.body.heartbeat import decode_heartbeat
from gantry.protocol.remoting.codes import LanguageCode
from gantry.protocol.remoting.command import RemotingCommand

from ..client_manager.client_channel import ClientChannelInfo

if TYPE_CHECKING:
    from gantry.runtime.remoting_server import RequestContext

    from ..context import BrokerContext


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

    def __call__(self, ctx: RequestContext, request: RemotingCommand, header: None) -> RemotingCommand:
        data = decode_heartbeat(request.body)
        info = ClientChannelInfo(
            channel=ctx.channel,
            client_id=data.client_id,
            language=language_name(request.language),
            version=request.version,
            last_update_monotonic_ms=self._broker.clock.monotonic_ms(),
            last_update_timestamp=self._broker.clock.now_ms(),
        )
        send_subscriptions = self._register_consumers(data, info)
        for producer in data.producer_data_set:
            self._broker.producers.register(producer.group_name, info)
        answer = request.reply()
        answer.ext_fields = {
            IS_SUPPORT_HEART_BEAT_V2: "true",
            IS_SUB_CHANGE: "true" if send_subscriptions or not data.heartbeat_fingerprint else "false",
        }
        return answer

    def _register_consumers(self, data: HeartbeatData, info: ClientChannelInfo) -> bool:
        broker = self._broker
        without_sub = bool(data.heartbeat_fingerprint) and data.without_sub
        send_subscriptions = False
        for consumer in data.consumer_data_set:
            group_config = broker.subscriptions.find(consumer.group_name)
            if group_config is None:
                # Not refused as a whole: the client's other groups are in the same heartbeat.
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
            if broker.consumers.note_fingerprint(
                consumer.group_name, data.heartbeat_fingerprint, without_sub=without_sub
            ):
                send_subscriptions = True
            if change is not None:
                broker.client_manager.announce([change])
        return send_subscriptions


def language_name(language: int) -> str:
    """The official name of a command's language code; OTHER for one we do not know."""
    try:
        return LanguageCode(language).name
    except ValueError:
        return LanguageCode.OTHER.name
