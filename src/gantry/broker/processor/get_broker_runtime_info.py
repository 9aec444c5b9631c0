"""GET_BROKER_RUNTIME_INFO (28): how the broker is doing, as a table of texts."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING

from gantry.errors import DiskError
from gantry.model import topic_validator
from gantry.protocol.remoting.body.route import KVTable
from gantry.protocol.remoting.command import RemotingCommand

from ..schedule.delay_level import level_queue_id
from .json_reply import json_reply

if TYPE_CHECKING:
    from gantry.runtime.remoting_server import RequestContext

    from ..context import BrokerContext

log = logging.getLogger(__name__)

VERSION_DESC = "V5_5_0"
"""The release whose protocol this broker speaks; tools show it beside the broker."""
NO_TRANSIENT_POOL = 2**31 - 1
"""What the original says when its pool of transient buffers is off: as many as one likes."""


class GetBrokerRuntimeInfoProcessor:
    """Every key that official tools read is there, whatever the broker is doing; a missing one makes them fail.

    What this broker does not have (thread pools with queues, a transient pool, timers) is told as idle.
    Source: AdminBrokerProcessor.prepareRuntimeInfo, StoreStatsService.getRuntimeInfo (5.5).
    """

    def __init__(self, broker: BrokerContext) -> None:
        self._broker = broker

    async def __call__(self, ctx: RequestContext, request: RemotingCommand, header: None) -> RemotingCommand:
        table = self._broker.store.runtime_info()
        table.update(self._statistics())
        table.update(self._queues())
        table.update(self._timers())
        table.update(self._disk(table))
        table["earliestMessageTimeStamp"] = str(await self._broker.store.earliest_message_time())
        return json_reply(request, KVTable(table))

    def _statistics(self) -> dict[str, str]:
        broker, stats = self._broker, self._broker.stats
        put = max(stats.put_total, 1)
        size = stats.totals.put_size
        return {
            "brokerActive": "true",
            "brokerVersionDesc": VERSION_DESC,
            "startAcceptSendRequestTimeStamp": str(broker.config.start_accept_send_request_time_stamp),
            "bootTimestamp": str(stats.boot_timestamp),
            "runtime": uptime_text(stats.uptime_ms),
            "msgPutTotalYesterdayMorning": str(stats.put_total_yesterday_morning),
            "msgPutTotalTodayMorning": str(stats.put_total_today_morning),
            "msgPutTotalTodayNow": str(stats.user_put_total),
            "msgGetTotalYesterdayMorning": str(stats.get_total_yesterday_morning),
            "msgGetTotalTodayMorning": str(stats.get_total_today_morning),
            "msgGetTotalTodayNow": str(stats.user_get_total),
            "putMessageEntireTimeMax": str(stats.put_elapsed_max_ms),
            "putMessageTimesTotal": str(put),
            "putMessageFailedTimes": str(stats.put_failed),
            "putMessageSizeTotal": str(size),
            "putMessageAverageSize": str(size / put),
            "putMessageDistributeTime": stats.put_latency.distribution_text(),
            "putLatency99": f"{stats.put_latency.percentile(0.99):.2f}",
            "putLatency999": f"{stats.put_latency.percentile(0.999):.2f}",
            "subscriptionConflictGroups": str(len(broker.consumers.conflicting_groups())),
            "putTps": stats.rates_text("put_times"),
            "getFoundTps": stats.rates_text("get_found"),
            "getMissTps": stats.rates_text("get_miss"),
            "getTotalTps": stats.rates_text("get_found", "get_miss"),
            "getTransferredTps": stats.rates_text("get_transferred"),
        }

    def _queues(self) -> dict[str, str]:
        """Requests are served as they come; nothing waits in a queue, and the bounds stand at the connections."""
        config = self._broker.config
        table = {"pageCacheLockTimeMills": "0", "dispatchMaxBuffer": "0"}
        capacities = {
            "send": config.send_wait_count_max,
            "pull": config.pull_hold_count_max,
            "litePull": config.pull_hold_count_max,
            "query": config.send_wait_count_max,
            "ack": config.send_wait_count_max,
        }
        for name, capacity in capacities.items():
            table[f"{name}ThreadPoolQueueSize"] = "0"
            table[f"{name}ThreadPoolQueueCapacity"] = str(capacity)
            table[f"{name}ThreadPoolQueueHeadWaitTimeMills"] = "0"
        table["EndTransactionQueueSize"] = "0"
        table["EndTransactionThreadPoolQueueCapacity"] = str(config.send_wait_count_max)
        return table

    def _timers(self) -> dict[str, str]:
        broker = self._broker
        entered_tps, fired_tps = broker.timer.rates()
        table = {
            "timerReadBehind": str(broker.timer.fire_behind_ms // 1000),
            "timerOffsetBehind": str(broker.timer.enter_behind_count),
            "timerCongestNum": str(broker.timer.account.metrics.pending_count),
            "timerEnqueueTps": f"{entered_tps:.1f}",
            "timerDequeueTps": f"{fired_tps:.1f}",
        }
        for level, offset in broker.schedule.offset_table.items():
            end = max(broker.store.max_offset(topic_validator.SCHEDULE_TOPIC, level_queue_id(level)), 0)
            # The original knows no offset of a level that was never used, and shows no line for it.
            if offset or end:
                table[f"scheduleMessageOffset_{level}"] = f"{offset},{end}"
        return table

    def _disk(self, known: dict[str, str]) -> dict[str, str]:
        broker = self._broker
        store = broker.store
        table = {
            "commitLogMinOffset": str(store.min_physical_offset),
            "dispatchBehindBytes": str(store.dispatch_behind_bytes()),
            "commitLogMaxOffset": str(store.max_physical_offset),
            "remainTransientStoreBufferNumbs": str(NO_TRANSIENT_POOL),
            "remainHowManyDataToCommit": human_readable_bytes(0),
            "remainHowManyDataToFlush": human_readable_bytes(max(store.max_physical_offset - store.flushed_offset, 0)),
            "commitLogDirCapacity": "Total : 0 B, Free : 0 B.",
        }
        root = broker.config.store_path_root_dir
        ratio = "-1"
        try:
            usage = broker.disk.usage(root)
        except DiskError as error:
            log.warning("the store's disk does not say how full it is: %s", error)
        else:
            total, free = human_readable_bytes(usage.total), human_readable_bytes(usage.free)
            table["commitLogDirCapacity"] = f"Total : {total}, Free : {free}."
            ratio = str(usage.ratio)
        for name in ("commitLogDiskRatio", "consumeQueueDiskRatio"):
            if name not in known:
                table[name] = ratio
        return table


def uptime_text(elapsed_ms: int) -> str:
    """Source: StoreStatsService.getFormatRuntime (5.5)."""
    seconds = elapsed_ms // 1000
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    return f"[ {days} days, {hours} hours, {minutes} minutes, {seconds} seconds ]"


def human_readable_bytes(count: int) -> str:
    """`1023 B`, `1.0 KiB`, `12.3 GiB`. Source: MixAll.humanReadableByteCount (5.5)."""
    if count < 1024:
        return f"{count} B"
    power = min(int(math.log(count) / math.log(1024)), 6)
    return f"{count / 1024**power:.1f} {'KMGTPE'[power - 1]}iB"
